"""Options of a set of scenes."""

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.data.scenes import set_options
from mmgrad_explain.data.scenes.set_options import SceneSetOptions
from mmgrad_explain.errors import InputError


def test_the_generator_gets_the_options_of_the_set():
    options = SceneSetOptions(
        pairs="all", templates="held-out", objects=(2, 3), relations=0.4, places=0.1
    ).scene_options()
    assert (options.pairs, options.templates, options.objects) == ("all", "held-out", (2, 3))
    assert (options.relations, options.places, options.backdrops, options.noise) == (0.4, 0.1, (), True)


def test_backdrops_are_read_once(tmp_path, monkeypatch):
    Image.new("RGB", (6, 5), (200, 180, 90)).save(tmp_path / "sand.png")
    opened = []
    read = set_options.open_image
    monkeypatch.setattr(set_options, "open_image", lambda file: opened.append(file) or read(file))
    options = SceneSetOptions(backdrops=(str(tmp_path / "sand.png"),))
    first, again = options.scene_options().backdrops, options.scene_options().backdrops
    assert first is again
    assert opened == [str(tmp_path / "sand.png")]
    assert np.array_equal(first[0], np.full((5, 6, 3), (200, 180, 90)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "gif"}, "format must be 'png', 'jpg' or 'npy', got 'gif'"),
        ({"size": 513}, "size must be between 32 and 512 pixels, got 513"),
        ({"edits": 17}, "edits must be between 1 and 16, got 17"),
        ({"seed": -1}, "seed must not be negative, got -1"),
        ({"pairs": "some"}, "pairs must be 'training', 'held-out' or 'all', got 'some'"),
        ({"backdrops": ("nowhere.png",)}, "nowhere.png"),
    ],
)
def test_wrong_values_are_named(options, message):
    SceneSetOptions().check()
    with pytest.raises(InputError, match=message):
        SceneSetOptions(**options).check()
