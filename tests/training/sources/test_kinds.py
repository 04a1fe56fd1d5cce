"""Building the sources of a config."""

from mmgrad_explain.training.sources.kinds import build_source


def test_held_out_sources_are_shown_together(micro, photo_folder):
    photos = {"folder": str(photo_folder), "pictures": 1, "edits": 2, "holdout": 0.3}
    config = micro(sources={"photos": photos, "scenes": {"pictures": 2, "edits": 2}})
    assert build_source(config.sources, 32).mix == "step"
    held_out = build_source(config.sources, 32, held_out=True)
    assert held_out.mix == "batch"
    assert held_out.sources["photos"].held_out
