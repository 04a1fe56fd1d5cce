"""What is asked of a model in training, and when."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mmgrad_explain.attention.weighting import ensure_weighting
from mmgrad_explain.errors import InputError
from mmgrad_explain.grounding.forms import ensure_form

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

TARGET_SIDE = {"add": 1.0, "recolour": 0.1, "reshape": 0.1, "resize": 0.1, "move": 0.15, "swap": 0.1}
"""How often an edit's map is supervised on the target picture, too."""

TARGET_ONLY = ("add",)
"""Edits whose object is not in the reference yet."""


@dataclass(frozen=True)
class RetrievalOptions:
    """What is added to InfoNCE.

    Attributes:
        memory: How many embeddings of the latest batches' pictures are negatives as well, so that a picture is found in
            a large gallery, not only in its batch. For sources that always show new pictures, such as scenes: a picture
            that comes again before it is forgotten would be its own negative.
        change: Weight of the loss of the change: which of the picture's own edits a text asks for, told by the
            direction of the shift alone. A small object in a full picture changes its embedding little, and the
            whole embeddings hardly differ in direction; this teaches such edits, too.
    """

    memory: int = 0
    change: float = 0.0

    def __post_init__(self) -> None:
        if self.memory < 0:
            raise InputError(f"retrieval.memory must be at least 0, got {self.memory}")
        if not self.change >= 0:
            raise InputError(f"retrieval.change must be at least 0, got {self.change}")


@dataclass(frozen=True)
class GroundingOptions:
    """The grounding loss.

    Attributes:
        weight: Of the form; 0 leaves it out.
        form: How far a map is from its mask: ``dice``, ``bce``, ``softmax``, ``softplus`` or ``kl``.
        contrast: Weight of the contrast term: not to light what another text of the picture is about.
        margin: Weight of the margin between inside and outside.
        consistency: Weight of the likeness of the maps of reference and target.
        score: What the maps explain. ``shift`` is the quick one; others need the composer's whole forward.
        weightings: The maps that are supervised, all from one gradient.
        pooling: Weight of the share of the composer's own attention pooling that misses the region, where it names a
            ``pooling_layer``; from the first step on that has retrieval, without warm start.
        context: Weight of the share of the composer's attention to the context (``context_layer``) that misses what
            else a text speaks of, where a source says what that is; from the same step on.
        pooling_heads: How many heads of the poolings are asked for it.
        share: Share of the maps that are supervised.
        warm_start: Share of the steps before the loss comes in.
        ramp: Share of the steps during which it grows to its weight.
        anneal: Share of the steps, at the end, during which it goes to ``final``.
        final: Factor of the weights at the very end; read where ``anneal`` is above 0.
        target_side: How often a kind of edit is supervised on the target picture, too; kinds that are not named keep
            :data:`TARGET_SIDE`, or 0. ``add`` is supervised on the target alone.
    """

    weight: float = 2.0
    form: str = "dice"
    contrast: float = 0.0
    margin: float = 0.0
    consistency: float = 0.0
    score: str = "shift"
    weightings: tuple[str, ...] = ("gradcam", "hirescam")
    pooling: float = 0.0
    context: float = 0.0
    pooling_heads: int = 2
    share: float = 1.0
    warm_start: float = 0.25
    ramp: float = 0.0
    anneal: float = 0.0
    final: float = 1.0
    target_side: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ensure_form(self.form)
        if not self.weightings:
            raise InputError("grounding.weightings: name at least one")
        for name in self.weightings:
            ensure_weighting(name)
        for name in ("weight", "contrast", "margin", "consistency", "pooling", "context", "final"):
            if not getattr(self, name) >= 0:
                raise InputError(f"grounding.{name} must be at least 0, got {getattr(self, name)}")
        for name in ("warm_start", "ramp", "anneal"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"grounding.{name} is a share of the steps, 0 to 1, got {getattr(self, name)}")
        if self.pooling_heads < 1:
            raise InputError(f"grounding.pooling_heads must be at least 1, got {self.pooling_heads}")
        if not 0 < self.share <= 1:
            raise InputError(f"grounding.share must be above 0 and at most 1, got {self.share}")
        for edit, share in self.target_side.items():
            if not 0 <= share <= 1:
                raise InputError(f"grounding.target_side.{edit} must be between 0 and 1, got {share}")

    @property
    def supervises_maps(self) -> bool:
        """Whether any term of the loss asks something of the maps."""
        return any((self.weight, self.contrast, self.margin, self.consistency))

    def schedule(self, step: int, steps: int) -> float:
        """Factor of the weights at a step: 0 during the warm start, then rising, then 1, then going to ``final``."""
        done = step / steps
        if done < self.warm_start:
            return 0.0
        factor = 1.0
        if self.ramp:
            factor = min(1.0, (step + 1 - self.warm_start * steps) / (self.ramp * steps))
        if self.anneal and done > 1 - self.anneal:
            factor *= 1 + (self.final - 1) * (done - (1 - self.anneal)) / self.anneal
        return factor

    def target_shares(self, edits: Sequence[str]) -> npt.NDArray[np.float64]:
        """How often each edit is supervised on the target picture, ``(N,)``."""
        shares = {**TARGET_SIDE, **self.target_side}
        return np.array([shares.get(edit, 0.0) for edit in edits])


@dataclass(frozen=True)
class DenseOptions:
    """Labels on the feature grid.

    Attributes:
        weight: Of the loss; 0 leaves it out.
        first: Share of the steps, at the start, in which nothing else is trained.
    """

    weight: float = 0.0
    first: float = 0.0

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise InputError(f"dense.weight must be at least 0, got {self.weight}")
        if not 0 <= self.first < 1:
            raise InputError(f"dense.first is a share of the steps, at least 0 and below 1, got {self.first}")
        if self.first and not self.weight:
            raise InputError("dense.first: there is nothing to train first while dense.weight is 0")


PRECISIONS = ("bf16", "bf16-composer", "float32")


def check_precision(name: str) -> None:
    """Raise InputError where there is no such precision."""
    if name not in PRECISIONS:
        raise InputError(f"precision must be one of {', '.join(PRECISIONS)}, not {name!r}")


@dataclass(frozen=True)
class ObjectiveOptions:
    """All of it.

    Attributes:
        grounding: The grounding loss.
        dense: Labels on the feature grid.
        retrieval: What is added to InfoNCE.
        precision: ``bf16``: the model runs in bfloat16 (autocast), maps and losses in float32. ``float32``: all of it.
        gradient_checkpointing: Compute the encoder's activations anew in the backward pass instead of keeping them.
    """

    grounding: GroundingOptions = field(default_factory=GroundingOptions)
    dense: DenseOptions = field(default_factory=DenseOptions)
    retrieval: RetrievalOptions = field(default_factory=RetrievalOptions)
    precision: str = "bf16"
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        check_precision(self.precision)
