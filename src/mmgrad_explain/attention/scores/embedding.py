"""Scores of embeddings: what the text changes, or how similar the output is to a target.

Each score is a callable ``score(output) -> (B,)``, computed in float32 (float64 stays float64). Which to choose:

- ``"shift"`` (:class:`TextShift`) measures what the text changes. It needs no target.
- ``"similarity"`` (:class:`Similarity`) measures how similar the output is to one target embedding.
- ``"pair"`` and ``"pair-different"`` (:class:`PairScore`) compare reference and target, both composed with the text.

The scores for an image and a text, or an image and an answer, are in :mod:`~mmgrad_explain.attention.scores.matching`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

from torch import Tensor

from mmgrad_explain.attention.scores.base import NamedScore
from mmgrad_explain.attention.scores.outputs import (
    as_rows,
    as_tensor,
    ensure_embedding,
    find_tensor,
    fits_embedding,
    get_field,
    is_embedding,
    match_embedding,
    normalize,
)
from mmgrad_explain.errors import InputError


@dataclass(frozen=True, eq=False)
class Similarity:
    """The cosine between the output embedding and a target embedding: ``s = <f, t> / (|f| |t|)``, in [-1, 1].

    Where the output's target is several vectors of an image, ``(B, Q, D)``, the largest of their cosines.

    Attributes:
        target: (D,) or (B, D), held constant. None takes the ``target`` of the model's output with its gradient, so
            that a target image gets its own map.
    """

    target: Tensor | None = None

    @property
    def name(self) -> str:
        """``similarity``."""
        return "similarity"

    def __call__(self, output: Any) -> Tensor:
        """Compute (B,) cosines.

        Raises:
            InputError: there is no target, or it has another size.
        """
        embedding = ensure_embedding(as_tensor(output), "the output embedding")
        target = as_rows(self.target).detach() if self.target is not None else get_field(output, "target")
        if not isinstance(target, Tensor):
            raise InputError(
                "score 'similarity' needs a target embedding: pass Similarity(target=...) or a target image to the "
                f"model{_recommend_shift(output)}"
            )
        if _is_of_several_vectors(embedding, target):
            return (normalize(embedding)[:, None] * normalize(target.to(embedding))).sum(-1).amax(1)
        target = match_embedding(embedding, target, "score 'similarity': the target")
        return (normalize(embedding) * normalize(target)).sum(-1)

    def fits(self, output: Any) -> bool:
        """Return whether the output holds an embedding and a target for it."""
        embedding, target = find_tensor(output), self.target if self.target is not None else get_field(output, "target")
        return is_embedding(embedding) and (
            fits_embedding(embedding, target) or _is_of_several_vectors(embedding, target)
        )


def _is_of_several_vectors(embedding: Tensor, target: Any) -> TypeGuard[Tensor]:
    """Return whether the target of embeddings ``(B, D)`` is several vectors of each image, ``(B, Q, D)``."""
    return isinstance(target, Tensor) and target.ndim == 3 and target.shape[::2] == embedding.shape


@dataclass(frozen=True, eq=False)
class TextShift:
    """What the text changes in the composed embedding: ``s = <d, stop_gradient(d)>``.

    ``d`` is the output's ``shift`` if there is one, else ``embedding - stop_gradient(empty)``, with ``empty``
    the embedding of the same image composed with an empty text. The value of s is ``|d|^2``; its gradient points along
    the change that this text makes. Where the output also has a ``target_shift``, the same of a target
    image is added: ``s = <d_r, stop_gradient(d_r)> + <d_t, stop_gradient(d_t)>``. Each image's map comes from its
    own term, so that a target does not change the map of the reference.

    Attributes:
        empty: (D,) or (B, D). None takes the ``empty`` of the model's output.
    """

    empty: Tensor | None = None

    @property
    def name(self) -> str:
        """``shift``."""
        return "shift"

    def __call__(self, output: Any) -> Tensor:
        """Compute (B,) squared lengths.

        Raises:
            InputError: the output has neither ``shift`` nor ``empty``, and ``empty`` was not passed.
        """
        first, *others = ((change * change.detach()).sum(-1) for change in self._find_changes(output))
        return first + others[0] if others else first

    def _find_changes(self, output: Any) -> list[Tensor]:
        """Return the shift, and the target's where the output has one."""
        shift = get_field(output, "shift")
        if self.empty is None and isinstance(shift, Tensor):
            change = ensure_embedding(shift, "the output's shift")
        else:
            empty = self.empty if self.empty is not None else get_field(output, "empty")
            if not isinstance(empty, Tensor):
                raise InputError(
                    "score 'shift' needs an output with .shift or .empty (the embedding for an empty text), or "
                    "TextShift(empty=...)"
                )
            embedding = ensure_embedding(as_tensor(output), "the output embedding")
            change = embedding - match_embedding(embedding, as_rows(empty).detach(), "score 'shift': empty")
        of_target = get_field(output, "target_shift")
        if self.empty is None and isinstance(of_target, Tensor):
            return [change, ensure_embedding(of_target, "the output's target_shift")]
        return [change]

    def fits(self, output: Any) -> bool:
        """Return whether the output holds a shift, or an embedding and that for an empty text."""
        shift, of_target = get_field(output, "shift"), get_field(output, "target_shift")
        if self.empty is None and isinstance(shift, Tensor):
            return is_embedding(shift) and (not isinstance(of_target, Tensor) or is_embedding(of_target))
        embedding, empty = find_tensor(output), self.empty if self.empty is not None else get_field(output, "empty")
        return is_embedding(embedding) and fits_embedding(embedding, empty)


@dataclass(frozen=True)
class PairScore:
    """Reference and target, both composed with the text, compared channel by channel.

    ``s = <w, f_r> + <w, f_t>`` with the unit vectors ``f_r = embedding`` and ``f_t = target_composed``, and
    ``w = stop_gradient(1 - |f_r - f_t|)`` (alike) or ``w = stop_gradient(|f_r - f_t|)`` (different). One gradient
    gives both maps: the reference's comes through f_r, the target's through f_t.

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
        """Compute (B,).

        Args:
            output: An output with ``embedding`` and ``target_composed``, or a pair of tensors, each (B, D).

        Raises:
            InputError: there is no second embedding, or it has another shape.
        """
        first, second = self._find_unit_vectors(output)
        weights = self._weigh_channels(first, second)
        return (weights * first).sum(-1) + (weights * second).sum(-1)

    def _weigh_channels(self, first: Tensor, second: Tensor) -> Tensor:
        difference = (first - second).abs().detach()
        return difference if self.mode == "different" else 1 - difference

    def _find_unit_vectors(self, output: Any) -> tuple[Tensor, Tensor]:
        reference, target = self._find_pair(output)
        if not isinstance(reference, Tensor) or not isinstance(target, Tensor):
            raise InputError(
                f"score {self.name!r} needs both the reference and the target composed with the text: an output with "
                f".embedding and .target_composed, or two tensors; pass a target to the model{_recommend_shift(output)}"
            )
        first, second = ensure_embedding(reference, "embedding"), ensure_embedding(target, "target_composed")
        if first.shape != second.shape:
            raise InputError(
                f"score {self.name!r}: the two embeddings have shapes {tuple(first.shape)} and {tuple(second.shape)}"
            )
        return normalize(first), normalize(second)

    def fits(self, output: Any) -> bool:
        """Return whether the output holds two embeddings of one shape."""
        reference, target = self._find_pair(output)
        return is_embedding(reference) and is_embedding(target) and reference.shape == target.shape

    @staticmethod
    def _find_pair(output: Any) -> tuple[Any, Any]:
        reference, target = get_field(output, "embedding"), get_field(output, "target_composed")
        if isinstance(output, (tuple, list)) and len(output) == 2 and not isinstance(target, Tensor):
            reference, target = output
        return reference, target


EMBEDDING_SCORES: dict[str, Callable[[], NamedScore]] = {
    "similarity": Similarity,
    "shift": TextShift,
    "pair": PairScore,
    "pair-different": lambda: PairScore("different"),
}
"""The scores of this module by name."""


def _recommend_shift(output: Any) -> str:
    """Recommend the score that needs no target, if the output holds what that needs."""
    can_shift = any(isinstance(get_field(output, name), Tensor) for name in ("shift", "empty"))
    return ", or use score='shift', which needs none" if can_shift else ""
