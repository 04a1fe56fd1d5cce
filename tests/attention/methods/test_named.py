"""Methods by name."""

import pytest

from mmgrad_explain import InputError
from mmgrad_explain.attention.methods.attention.legrad import LeGrad
from mmgrad_explain.attention.methods.base import Method
from mmgrad_explain.attention.methods.named import (
    METHODS,
    choose_argument,
    ensure_differentiable,
    ensure_method,
    list_differentiable,
    list_names,
)
from mmgrad_explain.attention.methods.weighted import Weighted
from mmgrad_explain.attention.weighting import WEIGHTINGS, layercam


@pytest.mark.parametrize("name", METHODS)
def test_every_name_makes_a_method_of_that_name(name):
    method = ensure_method(name)
    assert isinstance(method, Method)
    assert method.name == name


def test_weightings_are_methods():
    assert set(WEIGHTINGS) <= set(METHODS)
    assert isinstance(ensure_method("layercam"), Weighted)


def test_a_method_and_a_callable_are_taken():
    method = ensure_method("hirescam")
    assert ensure_method(method) is method
    assert ensure_method(layercam).name == "layercam"


def test_anything_else_is_refused():
    with pytest.raises(InputError, match="method: there is no 'gradcan'; did you mean 'gradcam'"):
        ensure_method("gradcan")
    with pytest.raises(TypeError, match="method must be a name, a method or a callable, not int"):
        ensure_method(3)
    with pytest.raises(TypeError, match=r"not its class: LeGrad\(\)"):
        ensure_method(LeGrad)


def test_one_alone_is_a_list_of_one():
    assert list_names("gradcam") == ["gradcam"]
    assert list_names(layercam) == [layercam]
    assert list_names(("gradcam", layercam)) == ["gradcam", layercam]
    assert list_names(()) == []


def test_method_and_weighting_name_one_thing():
    assert choose_argument("legrad", None) == "legrad"
    assert choose_argument(None, "layercam").name == "layercam"
    assert [each.name for each in choose_argument(None, ["gradcam", "hirescam"])] == ["gradcam", "hirescam"]
    assert choose_argument(None, None) is None
    with pytest.raises(InputError, match="give one of them"):
        choose_argument("legrad", "layercam")
    for weightings in ("legrad", ["gradcam", "legrad"]):
        with pytest.raises(InputError, match="'legrad' is a method and no weighting: pass it as method='legrad'"):
            choose_argument(None, weightings)
    with pytest.raises(InputError, match="weighting: there is no 'gradcan'"):
        choose_argument(None, "gradcan")


def test_methods_say_whether_a_loss_can_train_their_maps():
    assert set(list_differentiable()) == {*WEIGHTINGS, "legrad", "grad-eclip", "relevancy", "attention-rollout"}
    assert ensure_differentiable("legrad").name == "legrad"
    assert ensure_differentiable(layercam).name == "layercam"
    for method in ("rise", METHODS["rise"]()):
        with pytest.raises(
            InputError, match=r"mine: 'rise' makes maps that cannot be .* take one of gradcam, .*, legrad"
        ):
            ensure_differentiable(method, "mine")
