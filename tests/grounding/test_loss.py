"""The module: terms, reductions, samples without supervision, the report."""

import copy

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from mmgrad_explain.errors import InputError
from mmgrad_explain.grounding import (
    DEFAULT_WEIGHTS,
    FORMS,
    AttentionGroundingLoss,
    MaskedScores,
    PairedMaps,
    consistency_loss,
    contrast_loss,
    dice_loss,
    grounding_targets,
    hidden_loss,
    margin_loss,
    selfeq_loss,
    separation_loss,
    shown_loss,
)

ALL = {"form": 2.0, "contrast": 0.5, "margin": 0.25, "consistency": 0.125}


@pytest.fixture
def batch(live):
    """Maps, masks, and the arguments that give every term work."""
    maps, masks = live(6, 4, 5, dtype=torch.float32)
    return maps, masks, {"other_masks": torch.rand(6, 4, 5), "paired_maps": torch.randn(6, 4, 5)}


class TestValue:
    def test_the_form_alone(self, batch):
        maps, masks, _ = batch
        loss = AttentionGroundingLoss("dice", weights={"form": 3.0, "contrast": 0, "margin": 0, "consistency": 0})
        torch.testing.assert_close(loss(maps, masks), 3 * dice_loss(maps, masks).mean())

    def test_every_term(self, batch):
        maps, masks, others = batch
        expected = (
            2 * dice_loss(maps, masks)
            + 0.5 * contrast_loss(maps, masks, others["other_masks"] / others["other_masks"].amax())
            + 0.25 * margin_loss(maps, masks, 0.3)
            + 0.125 * consistency_loss(maps, others["paired_maps"])
        )
        others["other_masks"] = others["other_masks"] / others["other_masks"].amax()
        for reduction, made in (("none", expected), ("sum", expected.sum()), ("mean", expected.mean())):
            loss = AttentionGroundingLoss("dice", weights=ALL, reduction=reduction, margin=0.3)
            torch.testing.assert_close(loss(maps, masks, **others), made)

    def test_defaults(self, batch):
        maps, masks, _ = batch
        loss = AttentionGroundingLoss()
        assert loss.weights == DEFAULT_WEIGHTS
        assert loss(maps, masks).shape == ()
        assert list(loss.parameters()) == []

    def test_terms_without_their_input_are_left_out(self, batch):
        maps, masks, _ = batch
        loss = AttentionGroundingLoss(weights=ALL)
        torch.testing.assert_close(
            loss(maps, masks), (2 * dice_loss(maps, masks) + 0.25 * margin_loss(maps, masks)).mean()
        )
        assert set(loss.report.terms) == {"dice", "margin"}

    def test_weights_can_be_changed_between_calls(self, batch):
        maps, masks, _ = batch
        loss = AttentionGroundingLoss(weights={"form": 1.0, "contrast": 0, "margin": 0})
        before = loss(maps, masks)
        loss.weights["form"] = 0.0
        assert loss(maps, masks) == 0
        loss.weights["form"] = 0.5
        torch.testing.assert_close(loss(maps, masks), before / 2)

    def test_several_weightings_are_averaged(self, batch):
        maps, masks, others = batch
        second = torch.randn_like(maps)
        loss = AttentionGroundingLoss(weights=ALL, reduction="none")
        paired = others.pop("paired_maps")
        one = loss(maps, masks, paired_maps=paired, **others)
        two = loss(second, masks, paired_maps=paired, **others)
        both = loss(torch.stack([maps, second]), masks, paired_maps=paired, **others)
        torch.testing.assert_close(both, (one + two) / 2)
        own = loss(torch.stack([maps, second]), masks, paired_maps=torch.stack([paired, paired]), **others)
        torch.testing.assert_close(own, both)

    def test_a_form_of_ones_own(self, batch):
        maps, masks, _ = batch

        def margin(maps, masks):
            return (maps - masks).square().mean((1, 2))

        loss = AttentionGroundingLoss(margin, weights={"form": 1.0, "margin": 0.0})
        torch.testing.assert_close(loss(maps, masks), margin(maps, masks).mean())
        assert set(loss.report.terms) == {"form"}, "a name that a term has already"

    @pytest.mark.parametrize("form", FORMS)
    def test_it_is_a_module(self, form, batch):
        maps, masks, others = batch
        loss = AttentionGroundingLoss(form, weights=ALL)
        value = loss(maps, masks, **others)
        assert repr(loss) == (
            f"AttentionGroundingLoss({form}, form=2, contrast=0.5, margin=0.25, consistency=0.125, reduction='mean')"
        )
        torch.testing.assert_close(copy.deepcopy(loss)(maps, masks, **others), value)
        assert "no weight" in repr(AttentionGroundingLoss(weights=dict.fromkeys(ALL, 0.0)))


class TestTargets:
    def test_every_kind(self, batch):
        maps = batch[0][:2]
        loss = AttentionGroundingLoss(reduction="none")
        box = torch.zeros(2, 40, 50)
        box[0, 10:20, 20:40] = 1
        by_mask = loss(maps, box)
        assert by_mask[0] > 0
        assert by_mask[1] == 0
        given = {"boxes": [[(20, 10, 40, 20)], None], "units": "pixel", "image_size": (40, 50)}
        for targets in (
            [box[0], None],
            {"boxes": [[(0.4, 0.25, 0.8, 0.5)], None]},
            given,
            grounding_targets((4, 5), masks=box),
            {"masks": box.bool()},
        ):
            torch.testing.assert_close(loss(maps, targets), by_mask)
        assert loss(maps, {"points": [None, [(0.5, 0.5)]]}).count_nonzero() == 1

    def test_partners_on_their_own_grids(self, batch):
        maps, masks, _ = batch
        loss = AttentionGroundingLoss(weights={**dict.fromkeys(ALL, 0.0), "contrast": 1.0}, reduction="none")
        other = (torch.rand(6, 8, 10) > 0.5).float()
        laid = grounding_targets((4, 5), masks=other).masks
        expected = contrast_loss(maps, masks, laid)
        torch.testing.assert_close(loss(maps, masks, other_masks=other), expected)
        torch.testing.assert_close(loss(maps, masks, other_masks=list(other)), expected)
        several = torch.stack([other, torch.zeros_like(other)], 1)
        torch.testing.assert_close(loss(maps, masks, other_masks=several), expected)

    def test_a_partner_with_nothing_of_its_own_does_not_count(self, batch):
        maps, _, _ = batch
        masks = (torch.rand(6, 4, 5) > 0.5).float()
        others = masks.roll(1, 2)
        others[1], others[2] = masks[1], 0
        loss = AttentionGroundingLoss(weights={**dict.fromkeys(ALL, 0.0), "contrast": 1.0})
        keep = [0, 3, 4, 5]
        expected = contrast_loss(maps, masks, others)[keep].mean()
        torch.testing.assert_close(loss(maps, masks, other_masks=others), expected)
        assert loss.report.counts["contrast"] == 4
        assert loss(maps, masks, other_masks=[None] * 6) == 0


class TestNoSupervision:
    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("poison", [0.0, float("nan"), float("inf"), 1e30])
    def test_loss_and_gradient_are_exactly_0(self, form, poison, batch):
        maps, masks, others = batch
        maps = maps.clone()
        maps[2] = poison
        others["paired_maps"][2] = poison
        maps.requires_grad_()
        supervised = torch.tensor([True, True, False, True, True, False])
        loss = AttentionGroundingLoss(form, weights=ALL, reduction="none")
        value = loss(maps, masks, supervised=supervised, **others)
        value.sum().backward()
        assert (value != 0).tolist() == supervised.tolist()
        assert (maps.grad.abs().amax((1, 2)) > 0).tolist() == supervised.tolist()
        assert maps.grad.isfinite().all()

    def test_the_mean_is_over_the_others(self, batch):
        maps, masks, others = batch
        keep = torch.tensor([True, False, False, True, False, True])
        loss = AttentionGroundingLoss(weights=ALL)
        together = loss(maps, masks, supervised=keep, **others)
        alone = loss(maps[keep], masks[keep], **{name: value[keep] for name, value in others.items()})
        torch.testing.assert_close(together, alone)

    def test_none_at_all(self, batch):
        maps, _, others = batch
        maps = maps.clone().requires_grad_()
        loss = AttentionGroundingLoss(weights=ALL)
        value = loss(maps, [None] * 6, **others)
        value.backward()
        assert value == 0
        assert maps.grad.count_nonzero() == 0
        assert loss.report.figures() == {
            "dice": 0, "contrast": 0, "margin": 0, "consistency": 0, "dead": 0, "supervised": 0
        }  # fmt: skip

    def test_an_empty_batch(self):
        loss = AttentionGroundingLoss(weights=ALL)
        assert loss(torch.zeros(0, 2, 2), grounding_targets((2, 2), masks=[])) == 0
        assert loss.report.samples == 0
        assert loss.report.figures()["supervised"] == 0

    def test_pairs_may_be_judged_without_a_mask(self, batch):
        maps, masks, others = batch
        loss = AttentionGroundingLoss(weights={**dict.fromkeys(ALL, 0.0), "consistency": 1.0})
        valid = torch.tensor([True, True, False, False, False, False])
        value = loss(maps, [None] * 6, paired_maps=others["paired_maps"], paired_valid=valid)
        torch.testing.assert_close(value, consistency_loss(maps[:2], others["paired_maps"][:2]).mean())
        cut = torch.zeros(6, 4, 5)
        cut[:, 0] = 1
        value = loss(maps, masks, paired_maps=others["paired_maps"], paired_valid=valid, excluded=cut)
        expected = consistency_loss(maps[:2], others["paired_maps"][:2], cut[:2]).mean()
        torch.testing.assert_close(value, expected)


class TestReport:
    def test_figures(self, dead):
        maps = torch.cat([dead, torch.rand(3, 4, 4)])
        masks = torch.eye(4).expand(6, 4, 4)
        loss = AttentionGroundingLoss(weights={"form": 2.0, "margin": 1.0, "contrast": 1.0})
        assert loss.report is None
        loss(maps, masks, supervised=[True, True, False, True, True, False])
        report = loss.report
        assert report.supervised == 4
        assert report.samples == 6
        figures = report.figures()
        assert figures["dead"] == 0.5, "the dead map without supervision is not counted"
        assert figures["supervised"] == pytest.approx(4 / 6)
        assert figures["dice"] == pytest.approx(float(dice_loss(maps, masks)[[0, 1, 3, 4]].mean())), (
            "without its weight"
        )
        assert list(figures) == ["dice", "margin", "dead", "supervised"]
        assert report.counts["dice"] == 4

    def test_it_holds_no_graph(self, batch):
        maps, masks, others = batch
        loss = AttentionGroundingLoss(weights=ALL)
        loss(maps.requires_grad_(), masks, **others)
        tensors = [*loss.report.terms.values(), *loss.report.counts.values(), loss.report.dead, loss.report.supervised]
        assert not any(tensor.requires_grad for tensor in tensors)

    def test_of_several_weightings(self, dead):
        maps = torch.stack([dead, torch.rand(3, 4, 4)])
        loss = AttentionGroundingLoss()
        loss(maps, torch.eye(4).expand(3, 4, 4))
        assert loss.report.figures()["dead"] == 0.5


class TestDerivatives:
    @pytest.mark.parametrize("form", ["dice", "kl"])  # of rectified and of signed maps
    def test_first_and_second(self, form, live, held_constant):
        maps, masks = live(2, 3, 3)
        paired = torch.randn(2, 3, 3, dtype=torch.float64)
        loss = AttentionGroundingLoss(form, weights=ALL)
        others = torch.rand_like(masks)

        def value(x, y):
            return loss(x, masks, other_masks=others, paired_maps=y)

        with held_constant(maps, paired):
            inputs = (maps.clone().requires_grad_(), paired.clone().requires_grad_())
            assert gradcheck(value, inputs)
            assert gradgradcheck(value, inputs)

    @pytest.mark.parametrize("form", FORMS)
    def test_under_autocast_in_bfloat16(self, form, batch):
        maps, masks, others = batch
        maps = maps.bfloat16().requires_grad_()
        loss = AttentionGroundingLoss(form, weights=ALL)
        with torch.autocast("cpu", torch.bfloat16):
            value = loss(maps, masks, **others)
        assert value.dtype == torch.float32
        value.backward()
        assert maps.grad.isfinite().all()
        torch.testing.assert_close(value, loss(maps.detach().float(), masks, **others))


class TestWrongUse:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"form": "dicee"}, "form: there is no 'dicee'; did you mean 'dice'"),
            (
                {"weights": {"contrst": 1}},
                r"weights: there is no term 'contrst'; did you mean 'contrast'\? Known: form, contr",
            ),
            ({"weights": {"form": -1}}, "weights: form must be a number of at least 0, got -1"),
            ({"weights": {"margin": float("nan")}}, "weights: margin must be a number of at least 0, got nan"),
            ({"reduction": "avg"}, "reduction: there is no 'avg'; Known: mean, sum, none"),
            ({"margin": 0}, "margin must be above 0 and at most 1"),
        ],
    )
    def test_options(self, options, message):
        with pytest.raises(InputError, match=message):
            AttentionGroundingLoss(**options)

    def test_types(self):
        with pytest.raises(TypeError, match="form must be a name or a callable"):
            AttentionGroundingLoss(None)
        with pytest.raises(TypeError, match=r"maps must be a floating tensor \(B, h, w\), not list"):
            AttentionGroundingLoss()([0.0], [None])
        with pytest.raises(TypeError, match=r"not torch\.int64"):
            AttentionGroundingLoss()(torch.zeros(1, 2, 2, dtype=torch.int64), [None])

    @pytest.mark.parametrize(
        ("maps", "targets", "options", "message"),
        [
            ((2, 2), [None], {}, r"maps must be \(B, h, w\), or \(W, B, h, w\) of several weightings; got \(2, 2\)"),
            ((2, 3, 3), [None], {}, r"targets are for maps of shape \(1, 3, 3\), the maps are \(2, 3, 3\)"),
            ((1, 3, 3), torch.full((1, 9, 9), 2.0), {}, r"masks must lie in \[0, 1\], got 2 to 2"),
            ((1, 3, 3), torch.full((1, 9, 9), torch.nan), {}, "it holds NaN"),
            ((1, 3, 3), [None], {"supervised": [1]}, r"supervised must be \(1,\) bool, got \(1,\) int64"),
            (
                (1, 3, 3),
                [None],
                {"other_masks": torch.zeros(2, 3, 3)},
                "other_masks must be of 1 samples like the maps, got 2",
            ),
            ((1, 3, 3), [None], {"other_masks": torch.full((1, 3, 3), 5.0)}, r"masks must lie in \[0, 1\]"),
            (
                (1, 3, 3),
                [None],
                {"paired_maps": torch.zeros(1, 2, 2)},
                r"paired_maps must be like maps, \(1, 3, 3\), got",
            ),
            (
                (1, 3, 3),
                [None],
                {"paired_maps": torch.zeros(1, 3, 3), "excluded": torch.zeros(3, 3)},
                r"excluded must be \(1, 3, 3\), like the maps, got \(3, 3\)",
            ),
            (
                (1, 3, 3),
                [None],
                {"paired_maps": torch.zeros(1, 3, 3), "paired_valid": torch.ones(1)},
                r"paired_valid must be \(1,\) bool, got \(1,\) torch.float32",
            ),
        ],
    )
    def test_inputs(self, maps, targets, options, message):
        with pytest.raises(InputError, match=message):
            AttentionGroundingLoss(weights=ALL)(torch.rand(maps), targets, **options)

    def test_values_need_not_be_looked_at(self):
        loss = AttentionGroundingLoss(validate=False)
        assert loss(torch.rand(1, 3, 3), torch.full((1, 9, 9), 2.0)).isfinite()


ALONE = {"form": 0.0, "selfeq": 1.0, "mirror": 0.5, "texts": 0.25, "hidden": 2.0, "shown": 3.0}


class TestTermsWithoutMasks:
    def given(self):
        maps, others = torch.randn(4, 3, 5), {name: torch.randn(4, 3, 5) for name in ("selfeq", "mirror", "texts")}
        scores = MaskedScores(torch.tensor([1.0, 2.0, -1.0, 4.0]), *torch.rand(2, 4))
        return maps, others, scores

    def test_every_one(self):
        maps, others, scores = self.given()
        loss = AttentionGroundingLoss(weights=ALONE)
        made = loss(maps, None, other_maps={n: PairedMaps(one) for n, one in others.items()}, scores=scores)
        above = scores.whole > 0  # of a score of 0 or less no share can be told
        expected = (
            selfeq_loss(maps, others["selfeq"]).mean()
            + 0.5 * selfeq_loss(maps, others["mirror"]).mean()
            + 0.25 * separation_loss(maps, others["texts"]).mean()
            + 2 * hidden_loss(scores.whole, scores.hidden)[above].mean()
            + 3 * shown_loss(scores.whole, scores.shown)[above].mean()
        )
        torch.testing.assert_close(made, expected)
        assert {name: int(count) for name, count in loss.report.counts.items()} == {
            "selfeq": 4, "mirror": 4, "texts": 4, "hidden": 3, "shown": 3,
        }  # fmt: skip
        assert loss.report.supervised == 0

    def test_samples_that_do_not_count_have_no_loss_and_no_gradient(self):
        maps, others, _ = self.given()
        maps[3] = float("nan")
        maps.requires_grad_()
        valid = torch.tensor([True, False, True, False])
        loss = AttentionGroundingLoss(weights=ALONE, reduction="none")
        made = loss(maps, None, other_maps={"selfeq": PairedMaps(others["selfeq"], valid)})
        assert (made[~valid] == 0).all()
        torch.testing.assert_close(made[valid], selfeq_loss(maps[valid], others["selfeq"][valid]))
        made.sum().backward()
        assert not maps.grad[~valid].any()

    def test_the_dead_among_them_are_reported(self):
        maps, others, _ = self.given()
        maps[0] = -1
        loss = AttentionGroundingLoss(weights=ALONE)
        valid = torch.tensor([True, True, False, False])
        loss(maps, None, other_maps={"mirror": PairedMaps(others["mirror"], valid)})
        assert loss.report.dead == 0.5

    def test_without_any_term_the_loss_is_0_and_differentiable(self):
        maps = torch.randn(2, 3, 3, requires_grad=True)
        loss = AttentionGroundingLoss(weights=ALONE)(maps, None)
        loss.backward()
        assert loss == 0
        assert not maps.grad.any()

    def test_wrong_use(self):
        maps, others, _ = self.given()
        loss = AttentionGroundingLoss(weights=ALONE)
        with pytest.raises(InputError, match=r"other_maps: there is no term 'selfeg'; did you mean 'selfeq'\?"):
            loss(maps, None, other_maps={"selfeg": PairedMaps(others["selfeq"])})
        with pytest.raises(InputError, match=r"other_maps\['selfeq'\] must be like maps, \(4, 3, 5\), got \(4, 2, 2\)"):
            loss(maps, None, other_maps={"selfeq": PairedMaps(torch.zeros(4, 2, 2))})
        with pytest.raises(InputError, match=r"other_maps\['texts'\].valid must be \(4,\) bool, got \(2,\) torch.bool"):
            loss(maps, None, other_maps={"texts": PairedMaps(maps, torch.ones(2, dtype=torch.bool))})
        with pytest.raises(InputError, match="scores must be of 4 samples like the maps, not 3"):
            loss(maps, None, scores=MaskedScores(*torch.rand(3, 3)))
