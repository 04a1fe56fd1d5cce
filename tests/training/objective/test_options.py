"""Options of the loss."""

import pytest

from mmgrad_explain.errors import InputError
from mmgrad_explain.grounding import DEFAULT_WEIGHTS, FORMS
from mmgrad_explain.training.objective.options import DenseOptions, GroundingOptions, RetrievalOptions


def test_the_schedule():
    options = GroundingOptions(warm_start=0.2, ramp=0.2, anneal=0.4, final=0.5)
    factors = [options.schedule(step, 10) for step in range(10)]
    assert factors == pytest.approx([0, 0, 0.5, 1, 1, 1, 1, 0.875, 0.75, 0.625])
    assert [GroundingOptions().schedule(step, 4) for step in range(4)] == [0, 1, 1, 1]


def test_sides_of_edits():
    shares = GroundingOptions(target_side={"move": 0.7}).target_shares(["add", "move", "recolour", "blur"])
    assert shares.tolist() == [1.0, 0.7, 0.1, 0.0]
    both = GroundingOptions(score="pair", target_side={"move": 0.7}).target_shares(["add", "move", "blur", "remove"])
    assert both.tolist() == [1.0, 0.7, 1.0, 0.0]


def test_every_differentiable_method_can_be_supervised_and_no_other():
    assert GroundingOptions(method="relevancy").methods == ("relevancy",)
    assert GroundingOptions(weightings=("layercam",)).methods == ("layercam",)
    with pytest.raises(InputError, match=r"grounding.method: 'occlusion' makes maps that .* gradcam, .*, relevancy"):
        GroundingOptions(method="occlusion")
    with pytest.raises(InputError, match=r"grounding.method: there is no 'relevance'; did you mean 'relevancy'"):
        GroundingOptions(method="relevance")


def test_the_weight_of_the_change_is_not_negative():
    with pytest.raises(InputError, match=r"retrieval\.change must be at least 0, got -1"):
        RetrievalOptions(change=-1.0)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_list_can_be_chosen(form):
    assert GroundingOptions(form=form).form == form


def test_an_unknown_form_is_refused_with_the_list():
    with pytest.raises(InputError, match=", ".join(FORMS)):
        GroundingOptions(form="rice")


def test_weights_have_the_names_of_the_grounding_loss():
    numbers = range(1, 1 + len(DEFAULT_WEIGHTS))
    names = ["weight" if name == "form" else name for name in DEFAULT_WEIGHTS]
    options = GroundingOptions(**dict(zip(names, numbers, strict=True)))
    assert options.map_weights == dict(zip(DEFAULT_WEIGHTS, numbers, strict=True))
    assert options.supervises_maps
    assert options.looks_without_masks
    assert not GroundingOptions(contrast=1.0).looks_without_masks
    assert not GroundingOptions(weight=0.0).supervises_maps


def test_label_heads_are_alone_in_the_first_steps():
    options = DenseOptions(weight=0.5, first=0.25)
    assert [options.is_alone(step, 8) for step in range(8)] == [True, True, *[False] * 6]
