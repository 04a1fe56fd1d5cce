"""Figures on scenes."""

import pytest
import torch

from mmgrad_explain.data.scenes.options import SceneOptions
from mmgrad_explain.evaluation.maps import IMAGE_ONLY, MapKind, default_kind
from mmgrad_explain.evaluation.scenes import evaluate_scenes, scene_faithfulness
from mmgrad_explain.metrics.map_figures import figure_names

BLIND = MapKind(IMAGE_ONLY, "gradcam")


@pytest.fixture(scope="module")
def figures(tiny_folder):
    from mmgrad_explain.composers.load import load_composer

    tiny = load_composer(tiny_folder)
    return evaluate_scenes(tiny, seed=9, scenes=5, edits=3, methods=("gradcam", "hirescam"), others=[BLIND], batch=2)


def test_one_value_a_triplet(figures):
    assert len(figures.edits) == len(figures.named_by) == 15
    assert figures.gallery == 20
    assert figures.recall.shape == figures.sibling_recall.shape == (15,)
    assert (figures.sibling_recall >= figures.recall).all()
    assert figures.covered.shape == (15,)
    assert 0.001 < float(figures.covered.mean()) < 0.2
    assert list(figures.maps) == ["gradcam", "hirescam", "image only, gradcam"]
    for of in figures.maps.values():
        assert tuple(of) == figure_names()
        assert all(values.shape == (15,) and ((values >= 0) & (values <= 1)).all() for values in of.values())


def test_groups(figures):
    pointing = figures.maps["gradcam"]["pointing"]
    assert set(figures.by_edit(pointing)) == set(figures.edits)
    edit = figures.edits[0]
    expected = float(pointing[[other == edit for other in figures.edits]].mean())
    assert figures.by_edit(pointing)[edit] == pytest.approx(expected)
    added = {name for name, edit in zip(figures.named_by, figures.edits, strict=True) if edit != "add"}
    assert set(figures.by_name(pointing)) == added


def test_means(figures):
    means = figures.means("hirescam")
    assert set(means) == {*figure_names(), "contrast"}
    assert means["energy"] == pytest.approx(float(figures.maps["hirescam"]["energy"].mean()))
    assert means["contrast"] == pytest.approx(float(figures.contrast["hirescam"].mean()))


def test_contrast_is_over_ordered_pairs_and_blind_maps_are_at_the_floor(figures):
    assert set(figures.contrast) == set(figures.maps)
    assert len(figures.contrast_of) == len(figures.contrast["gradcam"]) > 0
    assert float(figures.contrast[BLIND.name].mean()) == pytest.approx(0.5, abs=0.05)  # equal but for rounding
    assert "add" not in figures.contrast_by_edit(figures.contrast["gradcam"])


def test_the_batch_does_not_matter(tiny):
    one, all_at_once = (evaluate_scenes(tiny, seed=9, scenes=4, edits=2, batch=batch) for batch in (1, 4))
    assert one.edits == all_at_once.edits
    torch.testing.assert_close(one.recall, all_at_once.recall)
    assert torch.equal(one.contrast_of, all_at_once.contrast_of)
    (name,) = one.maps
    assert name == default_kind(tiny).method
    torch.testing.assert_close(one.maps[name]["energy"], all_at_once.maps[name]["energy"], rtol=1e-3, atol=1e-5)


def test_other_scenes_than_those_of_training(tiny):
    crowded = evaluate_scenes(tiny, seed=9, scenes=2, edits=2, options=SceneOptions(objects=(7, 8)))
    usual = evaluate_scenes(tiny, seed=9, scenes=2, edits=2)
    assert crowded.maps.keys() == usual.maps.keys()
    assert not torch.equal(crowded.maps["gradcam"]["energy"], usual.maps["gradcam"]["energy"])


def test_faithfulness_leaves_out_added_objects(tiny):
    own = default_kind(tiny)
    found = scene_faithfulness(tiny, seed=9, scenes=3, edits=3, steps=2)
    usual = evaluate_scenes(tiny, seed=9, scenes=3, edits=3)
    assert list(found) == [own]
    count = sum(edit != "add" for edit in usual.edits)
    assert len(found[own].randomized) == len(found[own].areas["deletion"]) == count
    assert scene_faithfulness(tiny, seed=9, scenes=1, edits=3, kinds=[BLIND], steps=1).keys() == {BLIND}


def test_a_method_that_runs_the_model_again(tiny):
    found = evaluate_scenes(tiny, seed=9, scenes=1, edits=2, methods=("occlusion",))
    assert list(found.maps) == ["occlusion"]
    assert found.maps["occlusion"]["pointing"].shape == (2,)
