"""Options of the loss: its terms, their weights, and their schedule over the steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mmgrad_explain.attention.methods.named import ensure_differentiable
from mmgrad_explain.attention.weighting import ensure_weighting
from mmgrad_explain.data.edit_sides import find_object_side
from mmgrad_explain.errors import InputError
from mmgrad_explain.grounding.forms import ensure_form
from mmgrad_explain.grounding.loss import MASKED_TERMS, PAIRED_TERMS
from mmgrad_explain.training.option_checks import check_at_least_one, check_not_negative

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

TARGET_SIDE = {"add": 1.0, "recolour": 0.1, "reshape": 0.1, "resize": 0.1, "move": 0.15, "swap": 0.1}
"""How often the map of each kind of edit is supervised on the target as well."""

TWO_SIDED = ("pair", "pair-different")
"""Scores that give the reference and the target a map each, of one gradient: both are supervised."""

UNMASKED_TERMS = (*PAIRED_TERMS, *MASKED_TERMS)
"""Options that weigh the terms on maps for which no source has to know a mask."""

MASK_TERMS = ("weight", "contrast", "margin", "consistency")
"""Options that weigh the terms on maps that compare them with masks."""

MAP_TERMS = (*MASK_TERMS, *UNMASKED_TERMS)
"""Options that weigh the terms on maps."""

ATTENTION_TERMS = ("pooling", "context")
"""Options that weigh the terms on the composer's own attention, which need no map."""


@dataclass(frozen=True)
class RetrievalOptions:
    """Additions to the InfoNCE loss.

    Attributes:
        memory: Number of embeddings from the latest batches that serve as further negatives, so that the model learns
            to find an image in a large gallery. Use it with sources that always show new images, such as scenes, that
            know what their images show, or that number them, as benchmarks do: else an image that returns while it is
            in the memory is its own negative.
        change: Weight of the change loss: it classifies which edit of the image a text asks for, by the direction of
            the shift alone. It teaches edits of small objects, which hardly change the embedding of a full image.
        direction: Weight of the distance in direction between a text's shift and what its edit changed in the
            embedding, over edits that change nothing else.
        across: Weight of the loss across images: for sources that know what their images show, every image of another
            photograph that is what the text asks for should be nearer to the query than every one that is not.
        facts: Weight of a linear head that reads from embeddings what their images show, and from a query what its text
            asks for; for the same sources.
        prompt: Weight of InfoNCE of a learned prompt with the text, without the reference; for ``sprc`` (SPRC, arXiv
            2310.05473, there 0.4 on CIRR).
        align: Weight of the squared distance of the prompt that is made of an image from the learned one; for the same.
        temperature: That of InfoNCE, by which cosines are divided, at least 0.01. Null learns it, from the composer's
            own or 0.07 on.
    """

    memory: int = 0
    change: float = 0.0
    direction: float = 0.0
    across: float = 0.0
    facts: float = 0.0
    prompt: float = 0.0
    align: float = 0.0
    temperature: float | None = None

    def __post_init__(self) -> None:
        check_not_negative("retrieval.", self, "memory", "change", "direction", "across", "facts", "prompt", "align")
        if self.temperature is not None and self.temperature < 0.01:
            raise InputError(f"retrieval.temperature must be at least 0.01, got {self.temperature}")


@dataclass(frozen=True)
class GroundingOptions:
    """The grounding loss.

    Attributes:
        weight: Weight of the form; 0 leaves it out.
        form: How far a map is from its mask: a name from :data:`~mmgrad_explain.grounding.forms.FORMS`.
        contrast: Weight of the contrast term: a map should be dark where another text of the image belongs.
        margin: Weight of the margin term: the brightest cell inside should stand out from the brightest one outside.
        consistency: Weight of the consistency term: the maps on reference and target should be alike.
        selfeq: Weight of the SelfEQ term, which needs no masks: the maps of a text and of its paraphrase should be
            alike. Costs another composition of the image.
        mirror: Weight of the mirror term, which needs no masks: mirroring the image should mirror its map, unless the
            text names a side. Costs another encoding and composition of the references.
        texts: Weight of the term between texts, which needs no masks: the maps of two texts about one reference, with
            different targets, should not overlap by more than half.
        hidden: Weight of GAIN's term, which needs no masks: without what its map shows, an image should have no score.
            Costs another encoding and composition of the references.
        shown: Weight of its counterpart: what the map shows alone should have the score of the whole image. The same
            cost.
        score: What the maps explain, by the names of ``explain``. ``shift`` is the quickest; others need the composer's
            whole forward. ``pair`` and ``pair-different`` give both images of a triplet a map.
        method: Name of the method whose maps are supervised, in place of ``weightings``: any that can be
            differentiated. Methods on attention need the composer's whole forward.
        weightings: The maps that are supervised, all from one gradient.
        pooling: Weight of the share of the composer's attention pooling (``pooling_layer``) that misses the region,
            without warm start.
        context: Weight of the share of the composer's attention to the context (``context_layer``) that misses the
            other objects in the text, for sources that know them; without warm start.
        pooling_heads: Number of attention heads that ``pooling`` and ``context`` count.
        share: Share of the maps that are supervised, or that a term without masks looks at.
        warm_start: Share of the steps before the loss starts.
        ramp: Share of the steps during which it rises to its weight.
        anneal: Share of the steps, at the end, during which its factor changes from 1 to ``final``.
        final: Factor of the weights after the last step; used if ``anneal`` is above 0.
        target_side: How often each kind of edit is supervised on the target as well; kinds that are left out keep
            their default: always for the scores of both images, rarely for others. ``add`` is supervised on the target
            only.
    """

    weight: float = 2.0
    form: str = "dice"
    contrast: float = 0.0
    margin: float = 0.0
    consistency: float = 0.0
    selfeq: float = 0.0
    mirror: float = 0.0
    texts: float = 0.0
    hidden: float = 0.0
    shown: float = 0.0
    score: str = "shift"
    method: str | None = None
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
        if self.method is not None:
            ensure_differentiable(self.method, "grounding.method")
        check_not_negative("grounding.", self, *MAP_TERMS, *ATTENTION_TERMS, "final")
        for name in ("warm_start", "ramp", "anneal"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"grounding.{name} is a share of the steps, 0 to 1, got {getattr(self, name)}")
        check_at_least_one("grounding.", self, "pooling_heads")
        if not 0 < self.share <= 1:
            raise InputError(f"grounding.share must be above 0 and at most 1, got {self.share}")
        for edit, share in self.target_side.items():
            if not 0 <= share <= 1:
                raise InputError(f"grounding.target_side.{edit} must be between 0 and 1, got {share}")

    @property
    def supervises_maps(self) -> bool:
        """Whether any term on maps has a weight."""
        return any(getattr(self, name) for name in MAP_TERMS)

    @property
    def looks_without_masks(self) -> bool:
        """Whether any term on maps that needs no masks has a weight."""
        return any(getattr(self, name) for name in UNMASKED_TERMS)

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods whose maps are supervised."""
        return self.weightings if self.method is None else (self.method,)

    @property
    def map_weights(self) -> dict[str, float]:
        """Weights of the terms on maps, by the names in ``mmgrad_explain.grounding.DEFAULT_WEIGHTS``."""
        return {"form" if name == "weight" else name: getattr(self, name) for name in MAP_TERMS}

    def schedule(self, step: int, steps: int) -> float:
        """Return the factor of the weights at a step: 0 in the warm start, then up to 1, at the end to ``final``."""
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
        """Return how often each edit is supervised on the target, ``(N,)`` in [0, 1]."""
        shares = {**({} if self.score in TWO_SIDED else TARGET_SIDE), **self.target_side}
        return np.array([shares.get(edit, self._usual_share(edit)) for edit in edits])

    def _usual_share(self, edit: str) -> float:
        return float(self.score in TWO_SIDED and find_object_side(edit) != "reference")


@dataclass(frozen=True)
class DenseOptions:
    """Labels on the feature grid.

    Attributes:
        weight: Weight of the loss; 0 leaves it out.
        first: Share of the steps, at the start, that train nothing else.
        tags: Weight, in this loss, of images of which only tags are known: every cell shows one of the tags or the
            background, and every tag is somewhere.
        balance: Let things and background count half each. Otherwise every cell counts the same, which is better where
            the classifiers stay in the model and are to tell how sure they are.
        freeze: Dotted names of the model's parts that are frozen after ``first``: what the labels taught them stays.
            The labels are not used from then on, and the learning rate starts anew.
    """

    weight: float = 0.0
    first: float = 0.0
    tags: float = 0.5
    balance: bool = True
    freeze: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_not_negative("dense.", self, "weight", "tags")
        if not 0 <= self.first < 1:
            raise InputError(f"dense.first is a share of the steps, at least 0 and below 1, got {self.first}")
        if self.first and not self.weight:
            raise InputError("dense.first: there is nothing to train first while dense.weight is 0")
        if self.freeze and not self.first:
            raise InputError("dense.freeze needs dense.first above 0; to freeze parts from the start, use model.freeze")

    def steps_alone(self, steps: int) -> int:
        """Return how many of ``steps``, at the start, train nothing else."""
        return math.ceil(self.first * steps)

    def is_alone(self, step: int, steps: int) -> bool:
        """Return whether nothing else is trained at a step."""
        return step < self.steps_alone(steps)


PRECISIONS = ("bf16", "bf16-composer", "float32")
"""What a training step can run in, by name."""


def check_precision(name: str) -> None:
    """Raise InputError if there is no precision of that name."""
    if name not in PRECISIONS:
        raise InputError(f"precision must be one of {', '.join(PRECISIONS)}, not {name!r}")


@dataclass(frozen=True)
class ObjectiveOptions:
    """All options of the loss of a step.

    Attributes:
        grounding: The grounding loss.
        dense: Labels on the feature grid.
        retrieval: Additions to the InfoNCE loss.
        precision: From :data:`PRECISIONS`, as in :class:`~mmgrad_explain.training.config.TrainingConfig`.
        gradient_checkpointing: Recompute the encoder's activations in the backward pass instead of keeping them.
    """

    grounding: GroundingOptions = field(default_factory=GroundingOptions)
    dense: DenseOptions = field(default_factory=DenseOptions)
    retrieval: RetrievalOptions = field(default_factory=RetrievalOptions)
    precision: str = "bf16"
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        check_precision(self.precision)
