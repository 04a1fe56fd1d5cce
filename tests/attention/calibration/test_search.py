"""Calibrating: the layers and methods that agree with occlusion are found, and what knows nothing is said."""

import itertools

import pytest
import torch

from mmgrad_explain import InputError, MMGrad, calibrate


def score(output):
    return output


def test_the_right_methods_come_first_and_the_useless_one_last(calibration):
    best, worst = calibration.rows[0], calibration.rows[-1]
    assert best.method in {"layercam", "hirescam"}
    assert best.agreement.mean > 0.6
    assert calibration.beats_floors
    assert worst.method in {"gradcam", "xgradcam", "gradcam++"}
    assert worst.agreement.mean < 0.3
    assert best.tied
    assert not worst.tied


def test_the_result_is_ready_to_use(calibration, quadrants, calls):
    made = calibration.mmgrad(*calls[1])
    heat = made.resize(8)[0]
    assert float(heat[:4, 4:].sum() / heat.sum()) > 0.95
    assert calibration.mmgrad.model is quadrants


def test_methods_that_do_not_fit_are_named(calibration):
    assert "legrad" in calibration.refused
    assert "layercam" not in calibration.refused


def test_maps_that_are_equal_are_listed_once(calibration):
    names = [row.name for row in calibration.rows]
    assert len(names) == len(set(names))
    assert not {"hirescam at cut", "hirescam at mix"} <= set(names)  # mix passes its input on


def test_positional_and_named_arguments_mean_the_same(quadrants, calls, calibration):
    named = [{"pixels": pixels, "quadrant": quadrant} for pixels, quadrant in calls]
    found = calibrate(MMGrad(quadrants, score=score), named, progress=False)
    assert found.rows == calibration.rows


def test_a_batch_counts_as_its_samples(quadrants, calls):
    twice = [(torch.cat([pixels, pixels.flip(3)]), quadrant.repeat(2)) for pixels, quadrant in calls]
    found = calibrate(MMGrad(quadrants, score=score), twice, methods=["layercam"], layers=["mix"], progress=False)
    assert found.samples == 18


def test_only_what_is_named_is_compared(quadrants, calls):
    found = calibrate(
        MMGrad(quadrants, score=score), calls, methods=["gradcam", "hirescam"], layers=["mix"], progress=False
    )
    assert {row.name for row in found.rows} == {"gradcam at mix", "hirescam at mix"}
    assert found.chosen == (("hirescam", "mix"),)


def test_rise_is_a_reference_too(quadrants, calls):
    found = calibrate(
        MMGrad(quadrants, score=score), calls, methods=["gradcam", "hirescam"], layers=["mix"], reference="rise",
        progress=False,
    )  # fmt: skip
    assert found.rows[0].method == "hirescam"
    assert found.reference == "rise"


def test_nothing_beats_the_floors_where_the_maps_know_nothing(quadrants, calls):
    found = calibrate(
        MMGrad(quadrants, score=score), calls, methods=[lambda a, _: torch.rand_like(a[:, 0])], layers=["mix"],
        progress=False,
    )  # fmt: skip
    assert not found.beats_floors
    assert "better than a map that knows nothing" in found.verdict
    assert "'occlusion'" in found.verdict


def test_the_model_comes_back_as_it_was(quadrants, calls):
    before = {name: value.clone() for name, value in quadrants.state_dict().items()}
    quadrants.train()
    state = torch.random.get_rng_state()
    calibrate(MMGrad(quadrants, score=score), calls, methods=["layercam"], layers=["mix"], progress=False)
    assert quadrants.training
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in quadrants.state_dict().items())
    assert all(not module._forward_hooks for module in quadrants.modules())
    quadrants.eval()


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"calls": 7}, InputError, "8 to 64 are needed, not 7"),
        ({"calls": 65}, InputError, "8 to 64 are needed, not more than 64"),
        ({"reference": "layercam"}, InputError, "no causal reference: take 'occlusion' or 'rise'"),
        ({"methods": []}, InputError, "methods: the list is empty"),
        ({"layers": []}, InputError, "layers: the list is empty"),
        ({"methods": ["legrad"]}, InputError, "none of them fits this model"),
        ({"methods": ["gradcan"]}, InputError, "did you mean 'gradcam'"),
        ({"layers": ["nix"]}, InputError, "has no layer 'nix'"),
        ({"layers": ["mix", "mix"]}, InputError, "layers: 'mix' is given twice"),
        ({"methods": ["gradcam", "gradcam"]}, InputError, "methods: 'gradcam' is given twice"),
        ({"methods": [lambda a, g: a.sum(1), lambda a, g: g.sum(1)]}, InputError, "'<lambda>' is given twice"),
    ],
)
def test_what_cannot_be_calibrated(quadrants, calls, changes, error, said):
    options = {"methods": ["layercam"], "layers": ["mix"], "progress": False} | changes
    count = options.pop("calls", 9)
    with pytest.raises(error, match=said):
        calibrate(MMGrad(quadrants, score=score), (calls * 8)[:count], **options)


def test_calls_without_an_end_are_refused(quadrants, calls):
    with pytest.raises(InputError, match="not more than 64"):
        calibrate(MMGrad(quadrants, score=score), itertools.cycle(calls), methods=["layercam"], progress=False)


def test_wrong_types(quadrants, calls):
    with pytest.raises(TypeError, match="mmgrad must be an MMGrad"):
        calibrate(quadrants, calls)
    with pytest.raises(TypeError, match="a call is a tuple or a mapping"):
        calibrate(MMGrad(quadrants), ["a"] * 9)
