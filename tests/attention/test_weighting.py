"""The weightings against formulas written out by hand in float64, and what they do at the edges."""

import math

import pytest
import torch

from mmgrad_explain.attention.weighting import WEIGHTINGS, ensure_weighting
from mmgrad_explain.errors import InputError


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    shape = (2, 3, 4, 5)
    return torch.randn(shape, generator=generator).double(), torch.randn(shape, generator=generator).double()


BY_HAND = {
    "gradcam": lambda a, g: [math.fsum(g) / len(g)] * len(g),
    "gradcam++": lambda a, g: [
        math.fsum(
            (0.0 if v == 0 else v**2 / (2 * v**2 + math.fsum(a) * v**3)) * max(v, 0.0) for v in g
        )
    ] * len(g),
    "xgradcam": lambda a, g: [math.fsum(v * x for v, x in zip(g, a, strict=True)) / math.fsum(a)] * len(g),
    "layercam": lambda a, g: [max(v, 0.0) for v in g],
    "hirescam": lambda a, g: g,
}  # fmt: skip
"""The weight of each place of a channel, of its activations and gradients, as the papers write it."""


def test_every_weighting_has_a_formula():
    assert list(BY_HAND) == list(WEIGHTINGS)


def by_hand(name, activation, gradient):
    """Each formula as its paper writes it, one number after the other."""
    batch, channels, height, width = activation.shape
    places = [(y, x) for y in range(height) for x in range(width)]
    result = torch.zeros(batch, height, width, dtype=torch.float64)
    for b in range(batch):
        for k in range(channels):
            a = [float(activation[b, k, y, x]) for y, x in places]
            g = [float(gradient[b, k, y, x]) for y, x in places]
            for (y, x), w, value in zip(places, BY_HAND[name](a, g), a, strict=True):
                result[b, y, x] += w * value
    return result


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_formula(name, pair):
    activation, gradient = pair
    made = WEIGHTINGS[name](activation, gradient)
    assert made.shape == (2, 4, 5)
    assert torch.allclose(made, by_hand(name, activation, gradient), rtol=1e-9, atol=1e-12)
    assert made.min() < 0, "the ReLU is the caller's"


def test_gradcam_plus_plus_leaves_out_places_without_gradient(pair):
    activation, gradient = pair
    gradient[:, :, 0] = 0
    made = WEIGHTINGS["gradcam++"](activation, gradient)
    assert torch.allclose(made, by_hand("gradcam++", activation, gradient), rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-12, 1e-4, 1e4])
def test_tiny_gradients_do_not_change_the_shape_of_gradcam_plus_plus(pair, scale):
    activation, gradient = (value.float() for value in pair)
    activation = activation / scale  # g * sum(a) stays what it is
    made = WEIGHTINGS["gradcam++"](activation, gradient * scale)
    exact = by_hand("gradcam++", activation, gradient * scale)
    assert torch.allclose(made.double() / exact.abs().max(), exact / exact.abs().max(), atol=1e-4)


@pytest.mark.parametrize("name", WEIGHTINGS)
@pytest.mark.parametrize("what", ["zero activation", "zero gradient", "cancelling sum", "almost cancelling sum"])
def test_no_division_by_zero(name, what):
    activation, gradient = torch.ones(1, 2, 2, 2), torch.ones(1, 2, 2, 2)
    if what == "zero activation":
        activation.zero_()
    elif what == "zero gradient":
        gradient.zero_()
    elif what == "almost cancelling sum":
        activation.zero_()[:, :, 0, 0] = -torch.finfo(torch.float32).eps
    else:  # xgradcam: the activations cancel out; gradcam++: 2 + g * sum(a) = 0
        activation[:, 0] = torch.tensor([[1.0, -1.0], [1.0, -1.0]])
        activation[:, 1] = -0.5
    activation.requires_grad_()
    gradient.requires_grad_()
    made = WEIGHTINGS[name](activation, gradient)
    assert made.isfinite().all()
    for grad in torch.autograd.grad(made.sum(), [activation, gradient], allow_unused=True):
        assert grad is None or grad.isfinite().all()


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_second_derivatives(name, pair):
    activation, gradient = (value[:1, :2, :2, :2].clone().requires_grad_() for value in pair)
    assert torch.autograd.gradcheck(WEIGHTINGS[name], (activation, gradient))
    assert torch.autograd.gradgradcheck(WEIGHTINGS[name], (activation, gradient))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", WEIGHTINGS)
def test_dtype_is_kept(name, dtype, pair):
    activation, gradient = (value.to(dtype) for value in pair)
    assert WEIGHTINGS[name](activation, gradient).dtype == dtype


def test_ensure_by_name_and_callable(pair):
    name, function = ensure_weighting("layercam")
    assert (name, function) == ("layercam", WEIGHTINGS["layercam"])

    def mine(activation, gradient):
        return (activation * gradient).amax(1)

    name, function = ensure_weighting(mine)
    assert name == "mine"
    assert torch.equal(function(*pair), mine(*pair))


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(
        InputError, match=r"there is no 'grad-cam'; did you mean 'gradcam'\? Known: gradcam, gradcam\+\+"
    ):
        ensure_weighting("grad-cam")


def test_wrong_type():
    with pytest.raises(TypeError, match="weighting must be a name or a callable, not int"):
        ensure_weighting(3)


def test_a_callable_must_give_a_map(pair):
    with pytest.raises(InputError, match=r"must return a map of shape \(B, h, w\) = \(2, 4, 5\), not \(2, 3, 4, 5\)"):
        ensure_weighting(lambda a, g: a * g)[1](*pair)
    with pytest.raises(TypeError, match="weighting must return a tensor, not float"):
        ensure_weighting(lambda a, g: 1.0)[1](*pair)
