"""Figures on held-out batches: the same as the evaluation of scenes gives."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from mmgrad_explain.data.batches.batch import encode_batch
from mmgrad_explain.data.batches.facts import Facts
from mmgrad_explain.evaluation.maps import MapKind, draw_maps
from mmgrad_explain.evaluation.scenes import evaluate_scenes
from mmgrad_explain.explanation.fusion import resize_maps
from mmgrad_explain.metrics.map_figures import measure_maps
from mmgrad_explain.training.held_out_figures import evaluate_batches, inputs_of, sample_maps, trained_kind
from mmgrad_explain.training.objective.options import GroundingOptions
from mmgrad_explain.training.sources.scenes import SceneSource, SceneSourceOptions

SOURCE = SceneSource(32, SceneSourceOptions(pictures=3, edits=3))


@pytest.fixture
def batches(tiny):
    return [encode_batch(SOURCE.batch(9, step), tiny.processor) for step in range(2)]


def test_figures_of_scenes_equal_those_of_evaluate_scenes(tiny, batches):
    figures = evaluate_batches(tiny, batches)
    expected = evaluate_scenes(tiny, seed=9, scenes=6, edits=3)
    (maps,) = expected.maps.values()
    assert figures["r1"] == pytest.approx(float(expected.recall.mean()))
    assert figures["sibling_r1"] == pytest.approx(float(expected.sibling_recall.mean()))
    for name, values in maps.items():
        assert figures[name] == pytest.approx(float(values.mean()), abs=1e-5), name
    (contrast,) = expected.contrast.values()
    assert figures["contrast"] == pytest.approx(float(contrast.mean()))
    by_edit = expected.by_edit(maps["pointing"])
    assert {name: figures[f"pointing_{name}"] for name in by_edit} == pytest.approx(by_edit)


def test_figures_without_a_sample_are_left_out(tiny, batches):
    blind = [replace(batch, supervised=torch.zeros_like(batch.supervised)) for batch in batches]
    assert set(evaluate_batches(tiny, blind)) == {"r1", "sibling_r1"}


def test_maps_of_some_samples(tiny, batches):
    batch = replace(batches[0], edits=["add", *batches[0].edits[1:]])
    maps, on_target = sample_maps(tiny, batch, torch.tensor([0, 4]))
    assert maps.shape == (2, 8, 8)
    assert on_target.tolist() == [True, batch.edits[4] == "add"]
    again, _ = sample_maps(tiny, batch, torch.tensor([4]))
    torch.testing.assert_close(maps[1:], again, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("score", ["similarity", "pair"])
def test_another_score_has_other_maps_and_figures(tiny, batches, score):
    kind = trained_kind(tiny, GroundingOptions(score=score))
    assert kind == MapKind(score, "gradcam")
    batch = replace(batches[0], edits=["recolour"] * len(batches[0].edits))
    grids, _ = draw_maps(tiny, inputs_of(batch), torch.zeros(len(batch.edits), dtype=torch.bool), [kind])
    maps, _ = sample_maps(tiny, batch, torch.arange(len(batch.edits)), kind)
    torch.testing.assert_close(maps, grids[kind])
    expected = measure_maps(resize_maps(grids[kind], (32, 32)), batch.reference_masks)
    figures = evaluate_batches(tiny, [batch], kind)
    for name, values in expected.items():
        assert figures[name] == pytest.approx(float(values.mean())), name
    assert figures["energy"] != pytest.approx(evaluate_batches(tiny, [batch])["energy"], rel=1e-3)


def test_the_weighting_that_is_judged_is_one_that_is_trained(tiny, monkeypatch):
    def kind(**options):
        return trained_kind(tiny, GroundingOptions(**options))

    assert kind() == MapKind("shift", "gradcam")
    assert kind(weightings=("layercam", "hirescam")) == MapKind("shift", "layercam")
    assert kind(score="pair", method="legrad") == MapKind("pair", "legrad")
    monkeypatch.setattr(tiny, "default_method", "hirescam", raising=False)
    assert kind() == MapKind("shift", "hirescam")
    assert kind(weightings=("layercam",), weight=0.0) == MapKind("shift", "hirescam")  # no map is trained
    assert kind(weightings=("layercam",), weight=0.0, margin=0.1) == MapKind("shift", "layercam")


def test_the_search_among_other_photographs(tiny, batches):
    """Of the references that are what a text asks for, the share among as many first hits; its own does not count."""
    batch = batches[0]
    count, texts = len(batch.references), len(batch.texts)
    shows = (torch.arange(count) % 2 == 0).to(torch.int8)[:, None]
    asks = torch.ones(texts, 1, dtype=torch.int8)
    known = replace(batch, facts=Facts(shows, asks, asks, torch.arange(count), batch.picture))
    output = tiny(**inputs_of(batch))
    first = [int((batch.picture == i).nonzero()[0]) for i in range(count)]
    alone = F.normalize((output.embedding - output.shift)[first], dim=-1)
    similar = F.normalize(output.embedding, dim=-1) @ alone.T
    shares = []
    for text, own in enumerate(batch.picture.tolist()):
        right = [i for i in range(0, count, 2) if i != own]
        hits = [i for i in similar[text].argsort(descending=True).tolist() if i != own][: len(right)]
        shares.append(len(set(hits) & set(right)) / len(right))
    figures = evaluate_batches(tiny, [known, known])  # a photograph that comes twice counts once
    assert figures["search"] == pytest.approx(sum(shares) / len(shares))
    assert "search" not in evaluate_batches(tiny, [known, batch])
