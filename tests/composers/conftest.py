"""What tests of many families ask of every composer."""

import contextlib
from types import SimpleNamespace

import pytest
import torch

from mmgrad_explain import explain


def grad_cam(activation, gradient):
    """The textbook formula before its ReLU, for ``(B, K, h, w)``."""
    return (gradient.mean((2, 3), keepdim=True) * activation).sum(1).detach()


def same_map(found, expected, atol=1e-4, rtol=1e-3):
    """Equal in shares of the largest value."""
    top = expected.abs().max()
    assert top > 0
    torch.testing.assert_close(found / top, expected / top, atol=atol, rtol=rtol)


def state(model):
    return {
        "flags": [one.requires_grad for one in model.parameters()],
        "training": [module.training for module in model.modules()],
        "hooks": [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()],
    }


@contextlib.contextmanager
def left_alone(model):
    """Fail if the block changes the model's weights, gradients, flags or hooks, or draws random numbers."""
    values, before = {name: value.clone() for name, value in model.state_dict().items()}, state(model)
    generator = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(value, values[name]) for name, value in model.state_dict().items())
    assert all(one.grad is None for one in model.parameters())
    assert state(model) == before


def batch_is_a_loop(composer, pictures, texts):
    """A batch gives what its samples give alone, and a half frozen model in training comes back as it was."""
    flags = [one.requires_grad for one in composer.parameters()]
    for one in list(composer.parameters())[::2]:
        one.requires_grad_(False)
    composer.train()
    with left_alone(composer):
        together = explain(pictures, texts, model=composer)
        (layer,) = together.layer_names
        maps = together.signed[layer][0]
        scale = maps.abs().max()
        for index, (picture, text) in enumerate(zip(pictures, texts, strict=True)):
            alone = explain(picture, text, model=composer)
            signed = alone.signed[layer][0]
            for value, other in ((signed[0], maps[index]), (alone.score[0], together.score[index])):
                torch.testing.assert_close(value / scale, other / scale, atol=2e-3, rtol=1e-3)
    composer.eval()
    for one, flag in zip(composer.parameters(), flags, strict=True):
        one.requires_grad_(flag)


@pytest.fixture(scope="session")
def shared():
    """The helpers of this file, by name."""
    helpers = (grad_cam, same_map, left_alone, batch_is_a_loop)
    return SimpleNamespace(**{one.__name__: one for one in helpers})
