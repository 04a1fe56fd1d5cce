"""The result of a calibration: read, drawn, saved, and refused for another model."""

import copy
import json
from dataclasses import replace

import pytest
import torch

from mmgrad_explain import Calibration, InputError, MMGrad, OutputExistsError, calibrate
from mmgrad_explain.attention.calibration.agreement import Agreement
from mmgrad_explain.attention.methods.fused import Fused
from mmgrad_explain.explanation.warning_marks import mark_of


def test_the_table_has_every_row_the_floors_and_the_verdict(calibration):
    table = calibration.table(None)
    assert all(f"| {row.method} | {row.layer or ''} |" in table for row in calibration.rows)
    assert "*random map*" in table
    assert "*centre Gaussian*" in table
    assert "- legrad: " in table
    assert table.endswith(calibration.verdict)
    assert "more kinds of maps are below these" in calibration.table(2)


def test_the_verdict_names_what_is_taken(calibration):
    for method, layer in calibration.chosen:
        assert f"{method} at {layer}" in calibration.verdict
    assert f"{calibration.agreement.mean:.2f}" in calibration.verdict


def test_what_is_saved_comes_back(calibration, quadrants, calls, tmp_path):
    calibration.save(tmp_path / "c.json")
    found = Calibration.load(tmp_path / "c.json", quadrants)
    assert replace(found, ready=None) == replace(calibration, ready=None)
    found.mmgrad.settings.score = calibration.mmgrad.settings.score  # the user's own function is not in the file
    assert torch.equal(found.mmgrad(*calls[0]).maps, calibration.mmgrad(*calls[0]).maps)
    with pytest.raises(OutputExistsError):
        calibration.save(tmp_path / "c.json")
    calibration.save(tmp_path / "c.json", overwrite=True)


def test_without_its_model_it_is_read_but_not_ready(calibration, quadrants, tmp_path):
    calibration.save(tmp_path / "c.json")
    found = Calibration.load(tmp_path / "c.json")
    assert found.table() == calibration.table()
    with pytest.raises(InputError, match="loaded without a model"):
        found.mmgrad  # noqa: B018
    assert found.use(quadrants).mmgrad.layer_names == calibration.mmgrad.layer_names


def test_another_model_is_refused(calibration, quadrants, tmp_path):
    calibration.save(tmp_path / "c.json")
    other = copy.deepcopy(quadrants)
    with torch.no_grad():
        other.mix.bias += 1
    with pytest.raises(InputError, match="has other weights: calibrate it anew"):
        Calibration.load(tmp_path / "c.json", other)
    with pytest.raises(InputError, match="is another model: calibrate it anew"):
        Calibration.load(tmp_path / "c.json", torch.nn.Linear(2, 2))


@pytest.mark.parametrize(
    "broken",
    [
        {"format": "mmgrad_explain.calibration/9"}, {"rows": 3}, {"chosen": [{"method": "nix", "layer": None}]},
        {"agreement": {"mean": 1}}, {"floors": None}, {"samples": "x"},
    ],
)  # fmt: skip
def test_a_broken_file_is_refused(calibration, tmp_path, broken):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(calibration.to_dict() | broken))
    with pytest.raises(InputError):
        Calibration.load(path)


def test_no_file_and_no_json(tmp_path):
    with pytest.raises(InputError, match="there is no calibration"):
        Calibration.load(tmp_path / "none.json")
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        Calibration.load(tmp_path / "c.json")


def test_a_method_of_ones_own_is_not_saved(quadrants, calls, tmp_path):
    def double(activation, gradient):
        return 2 * (activation * gradient).sum(1)

    found = calibrate(
        MMGrad(quadrants, score=lambda output: output), calls, methods=[double], layers=["mix"], progress=False
    )
    with pytest.raises(InputError, match="cannot hold 'double': it names methods of METHODS"):
        found.save(tmp_path / "c.json")
    assert found.method is found.mmgrad.settings.method  # in memory it is there


def test_several_methods_are_fused(calibration):
    both = replace(calibration, chosen=(("layercam", "mix"), ("hirescam", "cut")), ready=None)
    assert isinstance(both.method, Fused)
    assert both.layers == ["mix", "cut"]
    assert "fused by their geometric mean" in both.verdict
    assert both.table().splitlines()[2].startswith("| geometric mean | of the first 2 |")


def test_a_model_that_carries_its_calibration_uses_it(calibration, quadrants, calls):
    model = copy.deepcopy(quadrants)
    model.calibration = calibration

    def brightness(output):
        return output

    assert MMGrad(model, score=brightness).layer_names == ()  # this score is another one than was calibrated for
    model.calibration = replace(calibration, score="brightness")
    made = MMGrad(model, score=brightness)
    assert made.layer_names == calibration.mmgrad.layer_names
    assert made.settings.method == calibration.method
    assert MMGrad(model, "cut", lambda output: output).layer_names == ("cut",)
    model.default_score = "image-text"  # what None means for this model
    assert MMGrad(model).layer_names == ()
    model.calibration = torch.nn.Linear(2, 2)  # something else of this name
    assert MMGrad(model).layer_names == ()


def test_no_agreement_is_said(calibration):
    nothing = replace(calibration, beats_floors=False, floors={"random map": Agreement(0.5, 0.4, 0.6)})
    assert "No map agrees with occlusion clearly better than a map that knows nothing" in nothing.verdict
    assert "the random map 0.50" in nothing.verdict


def test_maps_of_a_calibration_that_found_none_say_so(calibration, quadrants, calls, tmp_path):
    assert calibration.beats_floors
    assert not calibration.mmgrad(*calls[0]).notes
    weak = replace(calibration, beats_floors=False, ready=None)
    weak.save(tmp_path / "c.json")
    found = Calibration.load(tmp_path / "c.json", quadrants).mmgrad
    found.settings.score = calibration.mmgrad.settings.score
    made = found(*calls[0])
    assert [note.kind for note in made.notes] == ["weak-calibration"]
    assert made.method == calibration.mmgrad(*calls[0]).method
    assert torch.equal(made.maps, calibration.mmgrad(*calls[0]).maps)
    assert mark_of(made).text == "Calibration found no map better than one that knows nothing"
