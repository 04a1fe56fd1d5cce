"""Maps of several methods side by side: figure, table, records, methods that refuse the model."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from mmgrad_explain.errors import OutputExistsError
from mmgrad_explain.explanation import ComparedMap, Comparison, Explanation
from mmgrad_explain.explanation.map_check import MapCheck
from mmgrad_explain.images import read_provenance
from mmgrad_explain.images.placement import fit
from mmgrad_explain.notes import Note


def checked(verdict, occlusion, deletion, text):
    return MapCheck(0, False, verdict, occlusion=occlusion, deletion=deletion, text=text)


def explained(picture, grid):
    maps = torch.tensor(grid, dtype=torch.float32)[None]
    return Explanation(
        calls=(maps,), score=torch.tensor([0.5]), score_name="shift", method="gradcam", layers={"visual": [maps]},
        signed={"visual": [maps]}, layouts={"visual": ("grid",)}, flat=(maps.amax((1, 2)) <= maps.amin((1, 2))),
        clipped=torch.tensor([False]), texts=("make it red",), images=(picture,),
        placements=(fit(picture, 32)[1],),
    )  # fmt: skip


@pytest.fixture
def comparison(picture):
    return Comparison(
        picture,
        "make it red",
        (
            ComparedMap("gradcam", explained(picture, [[0, 1], [0, 0]]), checked("fails", 0.1, 0.02, 0.5)),
            ComparedMap("hirescam", explained(picture, [[1, 0], [0, 0]]), checked("good", 0.7, 0.2, None)),
            ComparedMap("layercam", explained(picture, [[0, 0], [0, 0]]), reason="the model has changed"),
            ComparedMap("legrad", None, reason="this model has no attention | none"),
        ),
    )


def test_the_table_has_every_method(comparison):
    assert comparison.table().splitlines() == [
        "| method | occlusion | deletion | other text | check |",
        "|---|---|---|---|---|",
        "| gradcam | 0.10 | 0.02 | 0.50 | fails |",
        "| hirescam | 0.70 | 0.20 | – | good |",
        "| layercam | – | – | – | the model has changed |",
        "| legrad | – | – | – | no map: this model has no attention \\| none |",
    ]
    assert repr(comparison) == "Comparison('make it red': gradcam, hirescam, layercam; no map of legrad)"


def test_the_best_agrees_best_with_occlusion(comparison, picture):
    assert comparison.best().name == "hirescam"
    assert Comparison(picture, "a", comparison.maps[2:]).best() is None
    occluded = replace(comparison.maps[1].explanation, method="occlusion")
    itself = replace(comparison.maps[1], explanation=occluded)
    assert Comparison(picture, "a", (comparison.maps[0], itself)).best().name == "gradcam"
    no_text = ComparedMap("rollout", comparison.maps[1].explanation, checked("doubtful", 0.9, 0.2, 0.0))
    assert Comparison(picture, "a", (*comparison.maps, no_text)).best().name == "hirescam"
    assert comparison.refused == {"legrad": "this model has no attention | none"}


def test_records_are_json(comparison):
    records = json.loads(json.dumps(comparison.records(), allow_nan=False))
    assert [record["method"] for record in records] == ["gradcam", "hirescam", "layercam", "legrad"]
    assert records[0]["occlusion"] == 0.1
    assert records[0]["verdict"] == "fails"
    assert records[2]["flat"] is True
    assert records[3] == {
        "method": "legrad", "drawn": False, "occlusion": None, "deletion": None, "text": None, "verdict": None,
        "reason": "this model has no attention | none",
    }  # fmt: skip


def test_the_figure_shows_the_maps_and_says_what_is_wrong(comparison, picture):
    sheet = np.asarray(comparison.figure(columns=4, side=200)).astype(int)
    alone = np.asarray(Comparison(picture, "make it red", comparison.maps[:3]).figure(side=200))
    assert sheet.shape[0] > alone.shape[0]  # the method without a map is named below
    hot = (sheet[..., 0] - sheet[..., 2] > 90) & (sheet[..., 1] < 140)
    columns = np.nonzero(hot.any(0))[0]
    assert len(columns)
    remark = abs(sheet - (0x7A, 0, 0x19)).sum(2) < 30
    assert remark.any()
    two_rows = comparison.figure(columns=2, side=200)
    assert two_rows.width < sheet.shape[1]
    assert two_rows.height > sheet.shape[0]
    assert comparison.figure(columns=3, side=200).width == two_rows.width  # four tiles: two and two


def test_maps_that_are_not_to_be_trusted_are_marked(comparison, picture):
    def bands(*maps):
        sheet = np.asarray(Comparison(picture, "make it red", maps).figure(side=200)).astype(int)
        return [int((abs(sheet - colour).sum(2) == 0).sum()) for colour in ((0x7A, 0, 0x19), (0xF2, 0xB7, 0x05))]

    failed, good, unchecked, _ = comparison.maps
    dark_red, yellow = bands(failed)
    assert dark_red > 190 * 20  # a band and a frame, not letters
    assert yellow == 0
    assert bands(good) == [0, 0]
    warned = replace(good.explanation, notes=(Note("unfamiliar-image", "the image is unlike"),))
    dark_red, yellow = bands(ComparedMap("hirescam", warned))
    assert (dark_red, yellow > 190 * 20) == (0, True)
    notes = Comparison(picture, "a", (ComparedMap("a", warned), ComparedMap("b", warned), unchecked)).notes()
    assert notes == ["a: the image is unlike", "b: the image is unlike"]
    assert Comparison(picture, "a", (ComparedMap("a", warned),)).notes() == ["the image is unlike"]


def test_it_is_saved_and_shown(comparison, tmp_path):
    comparison.save(tmp_path / "a.png", side=120)
    assert read_provenance(tmp_path / "a.png")["maps"][1]["method"] == "hirescam"
    with pytest.raises(OutputExistsError):
        comparison.save(tmp_path / "a.png")
    assert comparison._repr_png_().startswith(b"\x89PNG")
