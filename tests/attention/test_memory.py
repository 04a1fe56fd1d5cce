"""Everything is freed with the last reference: there are no cycles, so that the garbage collector has nothing to do."""

import gc
import weakref
from dataclasses import replace

import pytest

from mmgrad_explain.attention import MMGrad


@pytest.fixture(autouse=True)
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_a_capture_frees_its_activations(zoo, cnn, x):
    mmgrad = MMGrad(cnn, "late")
    output, seen = zoo.captured(mmgrad, cnn, x)
    maps = mmgrad.attend(output[:, 1], seen, create_graph=True)
    activation, block = weakref.ref(seen.records["late"][0].activation), weakref.ref(seen)
    del seen
    assert block() is None
    del maps, output
    assert activation() is None


def test_an_explanation_holds_no_graph(zoo, cnn, x):
    alive = []
    cnn.head.register_forward_pre_hook(lambda _m, inputs: alive.append(weakref.ref(inputs[0])))
    made = MMGrad(cnn, "late", zoo.class_score())(x)
    assert alive[0]() is None
    tensors = [made.score, *made.calls, *made.layers["late"], *made.signed["late"]]
    assert all(tensor.grad_fn is None and not tensor.requires_grad for tensor in tensors)


def test_looking_for_a_layer_keeps_nothing(zoo, cnn, x):
    alive = []
    cnn.early.register_forward_hook(lambda _m, _i, output: alive.append(weakref.ref(output)))
    MMGrad(cnn, score=zoo.class_score())(x)
    assert len(alive) == 5
    assert all(each() is None for each in alive)


def test_the_model_can_go(zoo, x):
    model = zoo.build(zoo.CNN)
    mmgrad = MMGrad(model, "late", zoo.class_score())
    made = mmgrad(x)
    output, seen = zoo.captured(mmgrad, model, x)
    mmgrad.attend(output[:, 1], seen)
    alive = weakref.ref(model)
    del model, mmgrad, seen, output
    assert alive() is not None  # what a check needs
    made = replace(made, source=None)
    assert alive() is None
    assert made.maps.shape == (2, 4, 6)


def test_an_error_leaves_no_cycle(zoo, cnn, x):
    alive = []

    def score(output):
        alive.append(weakref.ref(output))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        MMGrad(cnn, "late", score)(x)
    assert alive[0]() is None
