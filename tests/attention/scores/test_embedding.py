"""Scores: the formulas against references written out in float64, and what they say about outputs that do not fit."""

import math
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch

from mmgrad_explain.attention.scores.embedding import (
    PairScore,
    Similarity,
    TextShift,
)
from mmgrad_explain.attention.scores.held_constants import HeldConstants
from mmgrad_explain.errors import InputError


class Pair(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor


def vectors(batch=3, width=4, seed=0):
    return torch.randn(batch, width, generator=torch.Generator().manual_seed(seed)).double()


def length(row):
    return math.sqrt(math.fsum(float(v) ** 2 for v in row))


class TestSimilarity:
    def test_is_the_cosine(self):
        embedding, target = vectors(seed=0), vectors(seed=1)
        for given, rows in (
            (target, target),
            (target[0], target[:1].expand(3, -1)),
            (target[:1], target[:1].expand(3, -1)),
        ):
            made = Similarity(given)(embedding)
            for value, e, t in zip(made, embedding, rows, strict=True):
                assert float(value) == pytest.approx(float(e @ t) / length(e) / length(t), abs=1e-12)

    def test_takes_the_outputs_own_target(self):
        output = SimpleNamespace(embedding=vectors(seed=0), target=vectors(seed=1))
        assert torch.equal(Similarity()(output), Similarity(output.target)(output.embedding))
        mapping = {"embedding": output.embedding, "target": output.target}
        assert torch.equal(Similarity()(mapping), Similarity()(output))

    def test_a_given_target_is_held_constant_and_the_models_own_is_not(self):
        embedding, target = vectors().requires_grad_(), vectors(seed=1).requires_grad_()
        score = Similarity(target)(embedding).sum()
        assert torch.autograd.grad(score, [embedding, target], allow_unused=True)[1] is None
        score = Similarity()(SimpleNamespace(embedding=embedding, target=target)).sum()
        assert torch.autograd.grad(score, target)[0].abs().max() > 0

    def test_says_what_is_missing(self):
        with pytest.raises(InputError, match=r"needs a target embedding.* or a target image to the model$"):
            Similarity()(vectors())
        with pytest.raises(InputError, match=r"needs a target embedding.*or use score='shift'"):
            Similarity()({"embedding": vectors(), "shift": vectors()})
        with pytest.raises(InputError, match=r"target has shape \(2, 4\), the output embedding \(3, 4\)"):
            Similarity(vectors(2))(vectors())
        with pytest.raises(InputError, match=r"output embedding must have shape \(B, D\), not \(3, 2, 4\)"):
            Similarity(vectors())(torch.zeros(3, 2, 4))

    def test_float32_from_half_and_zero_vector(self):
        score = Similarity(vectors())(vectors().half())
        assert score.dtype == torch.float32
        assert Similarity(vectors())(torch.zeros(3, 4)).abs().max() == 0


class TestTextShift:
    def test_value_and_gradient_by_hand(self):
        embedding, empty = vectors().requires_grad_(), vectors(seed=1).requires_grad_()
        score = TextShift()(SimpleNamespace(embedding=embedding, empty=empty))
        for value, e, o in zip(score.detach(), embedding.detach(), empty.detach(), strict=True):
            assert float(value) == pytest.approx(sum((float(a) - float(b)) ** 2 for a, b in zip(e, o, strict=True)))
        gradient, of_empty = torch.autograd.grad(score.sum(), [embedding, empty], allow_unused=True)
        assert torch.allclose(gradient, (embedding - empty).detach()), "the direction is held constant: d, not 2 d"
        assert of_empty is None

    def test_the_models_own_shift_comes_first(self):
        shift = vectors(seed=2)
        output = SimpleNamespace(embedding=vectors(), empty=vectors(seed=1), shift=shift)
        assert torch.allclose(TextShift()(output), shift.square().sum(-1))
        assert torch.allclose(TextShift(empty=torch.zeros(4))(output), vectors().square().sum(-1))

    def test_a_targets_own_shift_is_added_and_leaves_the_references_gradient_alone(self):
        shift, of_target = vectors(seed=2).requires_grad_(), vectors(seed=3).requires_grad_()
        score = TextShift()(SimpleNamespace(embedding=vectors(), shift=shift, target_shift=of_target))
        assert torch.allclose(score, shift.square().sum(-1) + of_target.square().sum(-1))
        for gradient, value in zip(
            torch.autograd.grad(score.sum(), [shift, of_target]), (shift, of_target), strict=True
        ):
            assert torch.equal(gradient, value)

    def test_says_what_is_missing(self):
        with pytest.raises(InputError, match=r"needs an output with .shift or .empty"):
            TextShift()(vectors())
        with pytest.raises(InputError, match=r"empty has shape \(5,\)"):
            TextShift(empty=torch.zeros(5))(vectors())


def pair_by_hand(reference, target, mode):
    """The weights and the score of one pair, in plain Python."""
    first = [float(v) / length(reference) for v in reference]
    second = [float(v) / length(target) for v in target]
    weights = [abs(a - b) if mode == "different" else 1 - abs(a - b) for a, b in zip(first, second, strict=True)]
    score = math.fsum(w * a for w, a in zip(weights, first, strict=True))
    score += math.fsum(w * b for w, b in zip(weights, second, strict=True))
    # d score / d reference: w through the normalization (I - f f^T) / |reference|, the weights held constant
    along = math.fsum(w * a for w, a in zip(weights, first, strict=True))
    gradient = [(w - along * a) / length(reference) for w, a in zip(weights, first, strict=True)]
    return score, gradient


class TestPairScore:
    @pytest.mark.parametrize("mode", ["alike", "different"])
    def test_value_and_gradient_by_hand(self, mode):
        reference, target = vectors(seed=0).requires_grad_(), vectors(seed=1).requires_grad_()
        made = PairScore(mode)(SimpleNamespace(embedding=reference, target_composed=target))
        gradient, other = torch.autograd.grad(made.sum(), [reference, target])
        made = made.detach()
        for row in range(3):
            score, slope = pair_by_hand(reference[row].detach(), target[row].detach(), mode)
            assert float(made[row]) == pytest.approx(score, abs=1e-12)
            assert gradient[row].tolist() == pytest.approx(slope, abs=1e-12)
            assert other[row].tolist() == pytest.approx(
                pair_by_hand(target[row].detach(), reference[row].detach(), mode)[1]
            )

    def test_a_pair_of_tensors(self):
        first, second = vectors(seed=0), vectors(seed=1)
        output = SimpleNamespace(embedding=first, target_composed=second)
        assert torch.equal(PairScore()((first, second)), PairScore()(output))

    def test_says_what_is_missing(self):
        with pytest.raises(InputError, match=r"score 'pair' needs both the reference and the target"):
            PairScore()(SimpleNamespace(embedding=vectors(), target_composed=None))
        with pytest.raises(InputError, match=r"shapes \(3, 4\) and \(2, 4\)"):
            PairScore()((vectors(3), vectors(2)))
        with pytest.raises(InputError, match="mode must be 'alike' or 'different', not 'same'"):
            PairScore("same")


class TestConstants:
    """The same score of other outputs keeps the constants of the output that is explained, row by row."""

    samples = torch.tensor([1, 0, 1])

    def rows(self, tensor):
        return tensor[self.samples]

    def test_the_explained_output_has_its_own_score(self):
        both = {name: vectors(2, seed=seed) for seed, name in enumerate(("embedding", "target_composed", "shift"))}
        output, same = SimpleNamespace(**both), SimpleNamespace(**{k: self.rows(v) for k, v in both.items()})
        for score in (TextShift(), PairScore(), PairScore("different")):
            torch.testing.assert_close(HeldConstants(score, output)(same, self.samples), self.rows(score(output)))

    def test_the_direction_of_a_shift(self):
        output, other = SimpleNamespace(shift=vectors(2, seed=0)), SimpleNamespace(shift=vectors(3, seed=1))
        expected = (self.rows(output.shift) * other.shift).sum(1)
        torch.testing.assert_close(HeldConstants(TextShift(), output)(other, self.samples), expected)
        both = [SimpleNamespace(shift=one.shift, target_shift=2 * one.shift) for one in (output, other)]
        torch.testing.assert_close(HeldConstants(TextShift(), both[0])(both[1], self.samples), 5 * expected)

    def test_the_channels_weights_of_a_pair(self):
        first, second, third, fourth = (vectors(3, seed=seed) for seed in range(4))
        held = HeldConstants(PairScore(), Pair(first, second))(Pair(third, fourth))
        unit = [one / one.norm(dim=1, keepdim=True) for one in (first, second, third, fourth)]
        torch.testing.assert_close(held, ((1 - (unit[0] - unit[1]).abs()) * (unit[2] + unit[3])).sum(1))

    @pytest.mark.parametrize("kind", [Similarity, TextShift])
    @pytest.mark.parametrize("size", [2, 4])
    def test_tensors_of_each_sample(self, kind, size):
        """(B, D), (1, D) and (D,), also where D is B."""
        targets, output, other = (vectors(2, size, seed=seed) for seed in (1, 3, 2))
        other = torch.cat([other, other[:1]])  # three samples
        for given, rows in ((targets, self.rows(targets)), (targets[0], targets[0]), (targets[:1], targets[:1])):
            held = HeldConstants(kind(given), output)(other, self.samples)
            direction = self.rows(output) - rows
            expected = kind(rows)(other) if kind is Similarity else ((other - rows) * direction).sum(-1)
            torch.testing.assert_close(held, expected)
