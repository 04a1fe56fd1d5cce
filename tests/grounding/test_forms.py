"""The forms: hand values, bounds, dead maps, derivatives."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from mmgrad_explain.errors import InputError
from mmgrad_explain.grounding import FORMS, dead_maps, dice_loss, ensure_form
from mmgrad_explain.grounding.forms import SOFTNESS

every_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def worst_of(form, mask):
    """The loss of a dead map."""
    return FORMS[form](torch.zeros_like(mask)[None], mask[None]).item()


class TestHandValues:
    def test_dice(self):
        mask = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
        assert dice_loss(mask, mask).item() == pytest.approx(0.0, abs=1e-6)
        assert dice_loss(7 * mask, mask).item() == pytest.approx(0.0, abs=1e-6)
        half = torch.tensor([[[1.0, 1.0], [0.0, -3.0]]])
        assert dice_loss(half, mask).item() == pytest.approx(1 - 2 / 3, abs=1e-6)

    def test_bce(self):
        maps, mask = torch.tensor([[[1.0, -1.0, 1.0]]]), torch.tensor([[[1.0, 0.0, 0.0]]])  # of root mean square 1
        right, wrong = math.log(1 + 1 / math.e), math.log(1 + math.e)
        assert FORMS["bce"](maps, mask).item() == pytest.approx(right / 2 + (right + wrong) / 4, rel=1e-5)

    def test_softmax(self):
        maps, mask = torch.tensor([[[5.0, 3.0]]]), torch.tensor([[[1.0, 0.0]]])  # standardized: 1 and -1
        assert FORMS["softmax"](maps, mask).item() == pytest.approx(math.log(1 + math.exp(-2)), rel=1e-5)

    def test_softplus(self):
        maps, mask = torch.tensor([[[1.0, -1.0]]]), torch.tensor([[[1.0, 0.0]]])
        inside, outside = math.log(1 + math.e), math.log(1 + 1 / math.e)
        assert FORMS["softplus"](maps, mask).item() == pytest.approx(-math.log(inside / (inside + outside)), rel=1e-5)

    def test_kl(self):
        maps, mask = torch.tensor([[[2.0, 1.0, -2.0]]]), torch.tensor([[[1.0, 0.0, 1.0]]])
        lit, half, dark = 1 + SOFTNESS, 0.5 + SOFTNESS, SOFTNESS * math.exp(-1 / SOFTNESS)
        total = lit + half + dark
        expected = 0.5 * math.log(0.5 * total / lit) + 0.5 * math.log(0.5 * total / dark)
        assert FORMS["kl"](maps, mask).item() == pytest.approx(expected, rel=1e-5)

    def test_amc(self):
        """The margins of the means (0.1) and of the maxima (0.5), of the map from its minimum to its maximum."""
        maps, mask = torch.tensor([[[6.0, 4.0, 5.0, 2.0]]]), torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
        inside, outside = (1 + 0.5) / 2, (0.75 + 0) / 2
        assert FORMS["amc"](maps, mask).item() == pytest.approx(max(0, outside - inside + 0.1) + 0.75 - 1 + 0.5)
        assert FORMS["amc"](maps, 1 - mask).item() == pytest.approx(inside - outside + 0.1 + 1 - 0.75 + 0.5)
        assert FORMS["amc"](mask, mask).item() == 0
        assert FORMS["amc"](torch.zeros(1, 1, 4), mask).item() == pytest.approx(2.6)

    @every_form
    def test_scale_does_not_count(self, form, live):
        maps, masks = live()
        torch.testing.assert_close(form(1e-6 * maps, masks), form(maps, masks))
        torch.testing.assert_close(form((1e-12 * maps).float(), masks), form(maps, masks).float(), rtol=1e-4, atol=1e-4)

    @every_form
    def test_lying_on_the_mask_is_better_than_lying_beside_it(self, form):
        mask = torch.zeros(1, 6, 6)
        mask[0, 1:3, 1:3] = 1
        beside = mask.roll(2, 2)
        assert form(mask - 0.1, mask) < form(mask + beside, mask) < form(beside - 0.1, mask)

    @every_form
    def test_one_value_a_sample(self, form, live):
        maps, masks = live(5, 3, 4)
        together = form(maps, masks)
        assert together.shape == (5,)
        torch.testing.assert_close(together[2:3], form(maps[2:3], masks[2:3]))


class TestDeadMaps:
    @pytest.mark.parametrize("name", FORMS)
    def test_the_worst_value_and_a_finite_gradient(self, name, dead):
        masks = (torch.rand(3, 4, 4) > 0.5).float()
        maps = dead.requires_grad_()
        loss = FORMS[name](maps, masks)
        assert loss.tolist() == pytest.approx([worst_of(name, mask) for mask in masks])
        loss.sum().backward()
        assert maps.grad.isfinite().all()

    @pytest.mark.parametrize("name", FORMS)
    @given(data=st.data())
    @settings(max_examples=40, deadline=None)
    def test_no_live_map_is_worse(self, name, data):
        cells = st.floats(-1e6, 1e6, width=32)
        count = data.draw(st.integers(2, 12))
        maps = torch.tensor([data.draw(st.lists(cells, min_size=count, max_size=count))])[:, None]
        mask = torch.tensor([data.draw(st.lists(st.floats(0, 1, width=32), min_size=count, max_size=count))])[:, None]
        mask[0, 0, data.draw(st.integers(0, count - 1))] = 1
        loss = FORMS[name](maps, mask).item()
        assert loss <= worst_of(name, mask[0]) * (1 + 1e-5)

    @pytest.mark.parametrize("name", FORMS)
    def test_an_adversary_is_not_worse(self, name):
        """The whole light on one cell, the mask on the darkest one."""
        maps = torch.zeros(1, 24, 24)
        maps[0, 0, 0], maps[0, 5, 5] = 1.0, -1.0
        mask = torch.zeros(24, 24)
        mask[5, 5] = 1
        assert FORMS[name](maps, mask[None]).item() <= worst_of(name, mask)

    @every_form
    def test_a_signed_dead_map_is_revived(self, form):
        """Gradient steps on the map alone bring light into the mask."""
        mask = torch.zeros(1, 4, 4)
        mask[0, 1, 1:3] = 1
        maps = (-1 - torch.rand(1, 4, 4)).requires_grad_()
        for _ in range(60):
            (gradient,) = torch.autograd.grad(form(maps, mask).sum(), maps)
            maps = (maps - 0.2 * gradient / gradient.norm()).detach().requires_grad_()
            if not dead_maps(maps):
                break
        assert not dead_maps(maps)
        assert mask[0].flatten()[maps[0].argmax()] == 1

    @every_form
    def test_the_gradient_of_a_dead_map_raises_its_mask(self, form):
        mask = torch.zeros(1, 3, 3)
        mask[0, 0, 0] = 1
        maps = (-torch.ones(1, 3, 3)).requires_grad_()
        form(maps, mask).sum().backward()
        assert maps.grad[0, 0, 0] < 0


class TestDerivatives:
    @every_form
    def test_first_and_second(self, form, live, held_constant):
        maps, masks = live()
        with held_constant(maps):
            x = maps.clone().requires_grad_()
            assert gradcheck(lambda y: form(y, masks), x)
            assert gradgradcheck(lambda y: form(y, masks), x)

    @every_form
    def test_of_signed_dead_maps(self, form, live, held_constant):
        """The value of a dead map is constant, its gradient is not: the second derivative is that of the gradient."""
        maps, masks = live()
        maps = -maps.abs() - 0.1
        with held_constant(maps):
            x = maps.clone().requires_grad_()
            assert gradgradcheck(lambda y: form(y, masks), x)

    @every_form
    def test_the_scale_is_held_constant(self, form, live, held_constant):
        """The gradient given is the one with the scale frozen, not the one of the whole formula."""
        maps, masks = live()
        free = maps.clone().requires_grad_()
        (given_gradient,) = torch.autograd.grad(form(free, masks).sum(), free)
        with held_constant(maps):
            frozen = maps.clone().requires_grad_()
            (expected,) = torch.autograd.grad(form(frozen, masks).sum(), frozen)
        torch.testing.assert_close(given_gradient, expected)


class TestPrecision:
    @every_form
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
    def test_computed_in_float32(self, form, dtype, live):
        maps, masks = live()
        maps = maps.to(dtype).requires_grad_()
        loss = form(maps, masks)
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, form(maps.detach().float(), masks.float()))
        loss.sum().backward()
        assert maps.grad.dtype == dtype
        assert maps.grad.isfinite().all()

    @every_form
    def test_autocast_has_no_say(self, form, live):
        maps, masks = live(dtype=torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            loss = form(maps, masks)
        assert torch.equal(loss, form(maps, masks))

    @every_form
    def test_float64_stays(self, form, live):
        assert form(*live()).dtype == torch.float64

    @every_form
    def test_a_nan_is_passed_on(self, form, live):
        maps, masks = live()
        maps[1, 2, 2] = float("nan")
        assert form(maps, masks).isnan().tolist() == [False, True, False, False]


class TestWrongUse:
    @every_form
    @pytest.mark.parametrize(("maps", "masks"), [((1, 2, 2), (1, 3, 3)), ((2, 2), (2, 2)), ((2, 3, 3), (1, 3, 3))])
    def test_shapes_must_agree(self, form, maps, masks):
        with pytest.raises(
            InputError, match=r"maps and masks must both be \(B, h, w\), got .*grounding_targets\(\) lays"
        ):
            form(torch.zeros(maps), torch.zeros(masks))

    @pytest.mark.parametrize(
        ("maps", "kind"), [([1.0], "list"), (torch.zeros(1, 2, 2, dtype=torch.int64), "torch.int64")]
    )
    def test_maps_are_floating_tensors(self, maps, kind):
        with pytest.raises(TypeError, match=rf"maps must be a floating tensor \(B, h, w\), not {kind}"):
            dice_loss(maps, torch.zeros(1, 2, 2))


class TestEnsureForm:
    def test_names_and_callables(self):
        assert ensure_form("kl") == ("kl", FORMS["kl"])
        name, form = ensure_form(dice_loss)
        assert name == "dice_loss"
        mask = torch.eye(2)[None]
        assert torch.equal(form(mask, mask), dice_loss(mask, mask))

        class Mine:
            def __call__(self, maps, masks):
                return (maps - masks).square().mean((1, 2))

        assert ensure_form(Mine())[0] == "Mine"

    def test_unknown(self):
        with pytest.raises(InputError, match=r"form: there is no 'dise'; did you mean 'dice'\? Known: ") as caught:
            ensure_form("dise")
        assert ", ".join((*FORMS, "or any callable")) in str(caught.value)
        with pytest.raises(TypeError, match="form must be a name or a callable of maps and masks, not int"):
            ensure_form(3)

    def test_what_a_callable_gives(self):
        maps = torch.rand(3, 2, 2)
        with pytest.raises(TypeError, match="form must return a tensor, not float"):
            ensure_form(lambda maps, masks: 0.0)[1](maps, maps)
        with pytest.raises(InputError, match=r"form must return one loss a sample, shape \(3,\), not \(\)"):
            ensure_form(lambda maps, masks: maps.mean())[1](maps, maps)
