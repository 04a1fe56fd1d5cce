"""Figures of a data set: intervals over images, kinds, records and tables."""

import json
import math
from pathlib import Path

import pytest
import torch

from mmgrad_explain.data.phrases import Box, PhraseSample, PhraseSet, Region
from mmgrad_explain.evaluation import MapSetFigures
from mmgrad_explain.evaluation.map_set_figures import known
from mmgrad_explain.metrics import MAP_FIGURES, bootstrap_interval, figure_names

NAN = float("nan")


@pytest.fixture
def figures():
    """Two images with two texts each, a third with one; one method."""
    places = [("a", "dog"), ("a", "cat"), ("b", "dog"), ("b", "cat"), ("c", "a | <b>")]
    samples = tuple(
        PhraseSample(f"{image}/{kind}", f"the {kind}", kind, Path(image), image, Region((Box(0, 0, 1, 1),)))
        for image, kind in places
    )
    values = torch.tensor([1.0, 0.0, 1.0, 1.0, NAN])
    empty = torch.full((5,), 0.5)
    return MapSetFigures(
        data=PhraseSet("coco", Path("x"), "class names", samples, {"odd": ["1"]}),
        maps={"m": {name: values if name == "pointing" else empty for name in figure_names(full_size=True)}},
        contrast={"m": torch.tensor([1.0, 0.0, 1.0])},
        contrast_of=torch.tensor([0, 1, 0]),
        floors={"random pixel": {"pointing": torch.full((5,), 0.1)}},
        left_out={"c/a | <b>": "damaged"},
    )


def test_intervals_draw_whole_images(figures):
    found = figures.interval("m", "pointing")
    assert found == bootstrap_interval(torch.tensor([1.0, 0, 1, 1, NAN]), list("aabbc"), draws=1000)
    assert (found.mean, found.known) == (0.75, 4)
    assert figures.interval("m", "pointing", [0, 1]).mean == 0.5


def test_contrast_is_a_mean_over_pairs(figures):
    assert figures.interval("m", "contrast").mean == pytest.approx(2 / 3)
    assert figures.interval("m", "contrast", [1]).mean == 0
    of_samples = figures.contrast_of_samples("m").tolist()
    assert of_samples[:2] == [1, 0]
    assert all(map(math.isnan, of_samples[2:]))


def test_a_floor_without_a_figure_has_none(figures):
    assert figures.interval("random pixel", "iou").known == 0
    assert figures.interval("random pixel", "contrast").known == 0
    assert list(figures.summary()) == ["m", "random pixel"]
    assert list(figures.summary()["m"]) == [figure.name for figure in MAP_FIGURES]


def test_by_kind_the_most_frequent_first(figures):
    found = figures.by_kind()
    assert list(found) == ["cat", "dog", "a | <b>"]
    assert (found["dog"]["m"].mean, found["cat"]["m"].mean) == (1, 0.5)


def test_records_are_json(figures):
    rows = figures.rows()
    assert rows[0] == {
        "id": "a/dog", "image": "a", "text": "the dog", "kind": "dog", "method": "m", "pointing": 1.0, "energy": 0.5,
        "iou": 0.5, "auc": 0.5, "dead": 0.5, "contrast": 1.0,
    }  # fmt: skip
    assert rows[4]["pointing"] is None
    record = json.loads(json.dumps(figures.to_dict(), allow_nan=False))
    assert record["data"]["samples"] == 5
    assert record["data"]["images"] == 3
    assert record["figures"]["m"]["pointing"]["mean"] == 0.75
    assert record["pointing by kind"]["dog"]["m"]["known"] == 2
    assert record["left_out"] == {"c/a | <b>": "damaged"}


def test_texts_of_the_data_cannot_break_the_table(figures):
    lines = figures.markdown().splitlines()
    assert lines[0] == "| map | pointing | energy | IoU | AUC | contrast | dead maps |"
    assert lines[2].startswith("| m | 0.750 [")
    assert any(line.startswith(r"| a \| &lt;b> | 1 | ") for line in lines)


def test_unknown_is_none():
    assert known(torch.tensor(NAN)) is None
    assert known(torch.tensor(0.25)) == 0.25
