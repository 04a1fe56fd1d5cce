"""What the gradient is taken of: one number a sample, made of the model's output.

Each score is a callable ``score(output) -> (B,)``, computed in float32 (float64 stays float64). Which to choose:

- ``"shift"`` (:class:`TextShift`) asks what the text changes. It needs no target.
- ``"similarity"`` (:class:`Similarity`) asks what makes the output like one target embedding.
- ``"pair"`` and ``"pair-different"`` (:class:`PairScore`) compare reference and target, both composed with the text.
- ``"image-text"``, ``"match"`` and ``"answer"`` ask how well picture and text, or a picture and an answer, belong
  together; see :mod:`~mmgrad_explain.attention.scores.matching`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from mmgrad_explain._system.choices import check_callable, check_choice, name_of
from mmgrad_explain.attention.scores.matching import AnswerLikelihood, ImageTextCosine, MatchLogit
from mmgrad_explain.attention.scores.outputs import alongside, as_tensor, embedding_of, field, unit
from mmgrad_explain.errors import GradientError, InputError


@runtime_checkable
class Score(Protocol):
    """A named score: ``score(output)`` gives one number a sample."""

    @property
    def name(self) -> str:
        """What the result calls this score."""

    def __call__(self, output: Any) -> Tensor:
        """Give (B,), differentiable with respect to the output."""


@dataclass(frozen=True, eq=False)
class Similarity:
    """The cosine between the output embedding and a target embedding: ``s = <f, t> / (|f| |t|)``, in [-1, 1].

    Attributes:
        target: (D,) or (B, D), held constant. None takes the ``target`` that the model's output carries, with its
            gradient, so that a target picture gets a map of its own.
    """

    target: Tensor | None = None

    @property
    def name(self) -> str:
        """``similarity``."""
        return "similarity"

    def __call__(self, output: Any) -> Tensor:
        """Give (B,) cosines.

        Raises:
            InputError: no target, or one of another size.
        """
        embedding = embedding_of(as_tensor(output), "the output embedding")
        target = self.target.detach() if self.target is not None else field(output, "target")
        if not isinstance(target, Tensor):
            raise InputError(
                "score 'similarity' needs a target embedding: pass Similarity(target=...) or a target image to the "
                f"model{_or_shift(output)}"
            )
        target = alongside(embedding, target, "score 'similarity': the target")
        return (unit(embedding) * unit(target)).sum(-1)


@dataclass(frozen=True, eq=False)
class TextShift:
    """What the text changes in the composed embedding: ``s = <d, stop_gradient(d)>``.

    ``d`` is the output's ``shift`` where the model gives one, else ``embedding - stop_gradient(empty)``, with ``empty``
    the embedding of the same image composed with an empty text. The value of s is ``|d|^2``; its gradient points along
    the change that this text makes and no other. Where the output also has a ``target_shift``, the same of a target
    picture is added: ``s = <d_r, stop_gradient(d_r)> + <d_t, stop_gradient(d_t)>``. Each picture's map comes from its
    own term, so that a target does not change the reference's map.

    Attributes:
        empty: (D,) or (B, D). None takes the ``empty`` that the model's output carries.
    """

    empty: Tensor | None = None

    @property
    def name(self) -> str:
        """``shift``."""
        return "shift"

    def __call__(self, output: Any) -> Tensor:
        """Give (B,) squared lengths.

        Raises:
            InputError: the output has neither ``shift`` nor ``empty`` and none was given.
        """
        shift = field(output, "shift")
        if self.empty is None and isinstance(shift, Tensor):
            change = embedding_of(shift, "the output's shift")
        else:
            empty = self.empty if self.empty is not None else field(output, "empty")
            if not isinstance(empty, Tensor):
                raise InputError(
                    "score 'shift' needs an output with .shift or .empty (the embedding for an empty text), or "
                    "TextShift(empty=...)"
                )
            embedding = embedding_of(as_tensor(output), "the output embedding")
            change = embedding - alongside(embedding, empty.detach(), "score 'shift': empty")
        score = (change * change.detach()).sum(-1)
        of_target = field(output, "target_shift")
        if self.empty is None and isinstance(of_target, Tensor):
            of_target = embedding_of(of_target, "the output's target_shift")
            score = score + (of_target * of_target.detach()).sum(-1)
        return score


@dataclass(frozen=True)
class PairScore:
    """Reference and target, both composed with the text, compared channel by channel.

    ``s = <w, f_r> + <w, f_t>`` with the unit vectors ``f_r = embedding`` and ``f_t = target_composed``, and
    ``w = stop_gradient(1 - |f_r - f_t|)`` (alike) or ``w = stop_gradient(|f_r - f_t|)`` (different). One gradient
    serves both maps: the reference's comes through f_r, the target's through f_t.

    Source: the channel weights are those of Zheng et al., Visual Similarity Attention, arXiv 1911.07381, for positive
    and negative pairs; Udhayanan et al., arXiv 2308.16649, take them to composed image retrieval.

    Attributes:
        mode: ``"alike"`` weighs channels in which the two agree, ``"different"`` those in which they differ.
    """

    mode: Literal["alike", "different"] = "alike"

    def __post_init__(self) -> None:
        if self.mode not in {"alike", "different"}:
            raise InputError(f"PairScore: mode must be 'alike' or 'different', not {self.mode!r}")

    @property
    def name(self) -> str:
        """``pair`` or ``pair-different``."""
        return "pair" if self.mode == "alike" else "pair-different"

    def __call__(self, output: Any) -> Tensor:
        """Give (B,).

        Args:
            output: Something with ``embedding`` and ``target_composed``, or a pair of tensors, each (B, D).

        Raises:
            InputError: there is no second embedding, or it has another shape.
        """
        reference, target = field(output, "embedding"), field(output, "target_composed")
        if isinstance(output, (tuple, list)) and len(output) == 2 and not isinstance(target, Tensor):
            reference, target = output
        if not isinstance(reference, Tensor) or not isinstance(target, Tensor):
            raise InputError(
                f"score {self.name!r} needs both the reference and the target composed with the text: an output with "
                f".embedding and .target_composed, or two tensors; hand the model a target{_or_shift(output)}"
            )
        first, second = embedding_of(reference, "embedding"), embedding_of(target, "target_composed")
        if first.shape != second.shape:
            raise InputError(
                f"score {self.name!r}: the two embeddings have shapes {tuple(first.shape)} and {tuple(second.shape)}"
            )
        first, second = unit(first), unit(second)
        apart = (first - second).abs().detach()
        weights = apart if self.mode == "different" else 1 - apart
        return (weights * first).sum(-1) + (weights * second).sum(-1)


@dataclass(frozen=True)
class CallableScore:
    """Any function of the output, with a name.

    Attributes:
        function: Gives (B,) of the model's output.
        name: What the result calls it.
    """

    function: Callable[[Any], Any]
    name: str

    def __call__(self, output: Any) -> Tensor:
        """Give what the function gives.

        Raises:
            TypeError: that is not a tensor.
        """
        value = self.function(output)
        if not isinstance(value, Tensor):
            raise TypeError(f"score must return a tensor with one number a sample, not {type(value).__name__}")
        return value


SCORES: dict[str, Callable[[], Score]] = {
    "similarity": Similarity,
    "shift": TextShift,
    "pair": PairScore,
    "pair-different": lambda: PairScore("different"),
    "image-text": ImageTextCosine,
    "match": MatchLogit,
    "answer": AnswerLikelihood,
}
"""The scores by name.

:meta hide-value:
"""


def ensure_score(score: "str | Callable[[Any], Any]") -> Score:
    """Give a score object for a name or a callable.

    Args:
        score: A name from ``SCORES``, one of this module's objects, or any callable of the model's output.

    Raises:
        TypeError: neither a name nor a callable.
        InputError: no score of that name.
    """
    if isinstance(score, str):
        check_choice("score", score, SCORES, also="any callable")
        return SCORES[score]()
    if isinstance(score, torch.nn.Module) or not isinstance(score, Score):
        check_callable("score", score, takes="the model's output")
        return CallableScore(score, name_of(score))
    return score


def check_score(value: Tensor, batches: Sequence[int] | None = None) -> Tensor:
    """Give a score as (B,), or say why it is none.

    Args:
        value: (B,), (B, 1), or a single number when B is 1.
        batches: What B may be: the samples in each call of the target layer. None takes what the score has.

    Raises:
        TypeError: ``value`` is not a floating tensor.
        InputError: it does not hold one number a sample.
    """
    if not isinstance(value, Tensor) or not value.is_floating_point():
        kind = str(value.dtype) if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"score must be a floating tensor with one number a sample, not {kind}")
    batch = value.numel() if batches is None or value.numel() in batches else batches[0]
    count = value.numel()
    if count != batch or value.shape not in {(batch,), (batch, 1), ()}:
        shape = tuple(value.shape)
        if _loops(count, batches or []):
            raise InputError(
                f"score must have one number a sample, but it has shape {shape} while the target layer "
                f"{other_batch(count, batches or [])}"
            )
        parts = other_batch(count, [batch]).removeprefix(f"saw a batch of {batch}") if value.ndim else ""
        raise InputError(
            f"score must have one number a sample, shape ({batch},): it has shape {shape} while the target layer saw a "
            f"batch of {batch}{parts}. Do not average over the batch; repeat the image for several texts"
        )
    return value.reshape(batch)


def other_batch(samples: int, batches: Sequence[int]) -> str:
    """Say what a layer saw instead of one batch of all samples, and what to do; "" where that cannot be told.

    Args:
        samples: How many there are.
        batches: How many the layer saw in each of its calls.
    """
    if _loops(samples, batches):
        return (
            f"ran {len(batches)} times, with one sample each: the forward loops over its samples, so explain them one "
            "at a time, or choose a layer that sees all of them at once"
        )
    if not batches[0] > samples > 0 or batches[0] % samples:
        return ""
    return (
        f"saw a batch of {batches[0]}, {batches[0] // samples} for each. If that layer works on parts of pictures "
        "(windows, tiles, frames), choose the layer around it, or give layout= a callable that puts them together to "
        "(B, K, h, w)"
    )


def _loops(samples: int, batches: Sequence[int]) -> bool:
    return samples > 1 and len(batches) >= samples and set(batches) == {1}


def check_finite(score: Tensor) -> None:
    """Raise GradientError where a score is NaN or infinite, naming the samples."""
    finite = score.cpu().isfinite()
    if not bool(finite.all()):
        bad = (~finite).nonzero().flatten().tolist()
        raise GradientError(
            f"the score is not finite for samples {bad}: check the inputs; in half precision try bfloat16 or float32"
        )


def _or_shift(output: Any) -> str:
    """Advise the score that needs no target, where the output has what it does need."""
    has = any(isinstance(field(output, name), Tensor) for name in ("shift", "empty"))
    return ", or use score='shift', which needs none" if has else ""
