"""Where training data come from: scenes drawn on the fly, photographs edited on the fly, and mixtures of sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mmgrad_explain.data.batches.batch import PictureBatch, join
from mmgrad_explain.data.batches.scenes import contrast_partners
from mmgrad_explain.data.scenes.context import context_mask
from mmgrad_explain.data.scenes.scene import LABELS, VOCABULARY, SceneOptions, scenes
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Source(Protocol):
    """Gives the pictures and texts of every step."""

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every word that the texts can hold, lower-case; empty where it cannot be told beforehand."""

    @property
    def label_classes(self) -> Mapping[str, int]:
        """Number of classes, background included, of each label map that the batches bring."""

    def batch(self, seed: int, step: int) -> PictureBatch:
        """The batch of a step; equal seeds and steps give equal batches, in whatever order they are asked for."""


@dataclass(frozen=True)
class SceneSourceOptions:
    """How scenes become batches.

    Attributes:
        weight: How often the source is drawn, relative to the others.
        pictures: Scenes in a batch.
        edits: Edits of each scene.
        objects: Fewest and most objects of a scene.
        pairs: Which shapes in which colours: ``training``, ``held-out`` or ``all``.
        templates: Which sentences: ``training`` or ``held-out``.
        relations: How often an object is placed by another one, where that is possible.
        places: How often it is told by its side, where that is possible.
    """

    weight: float = 1.0
    pictures: int = 24
    edits: int = 4
    objects: tuple[int, int] = (1, 6)
    pairs: str = "training"
    templates: str = "training"
    relations: float = SceneOptions.relations
    places: float = SceneOptions.places


class SceneSource:
    """Procedural scenes.

    Args:
        size: Side of the square pictures, pixels.
        options: See :class:`SceneSourceOptions`.
        labels: Whether to give label maps.
    """

    def __init__(self, size: int, options: SceneSourceOptions | None = None, *, labels: bool = False) -> None:
        self.size = size
        self.options = options or SceneSourceOptions()
        self.labels = labels
        names = ("pairs", "templates", "objects", "relations", "places")
        self._scenes = SceneOptions(**{name: getattr(self.options, name) for name in names})

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every word that the texts can hold."""
        return VOCABULARY

    @property
    def label_classes(self) -> dict[str, int]:
        """Colours, shapes and sizes."""
        return {name: 1 + len(values) for name, values in LABELS.items()} if self.labels else {}

    def batch(self, seed: int, step: int) -> PictureBatch:
        """The scenes ``step * pictures`` to ``(step + 1) * pictures - 1`` of the series ``seed``."""
        count, edits = self.options.pictures, self.options.edits
        drawn = list(
            scenes(
                seed, count, size=self.size, edits=edits, start=step * count, labels=self.labels, options=self._scenes
            )
        )
        triplets = [triplet for scene in drawn for triplet in scene.triplets]
        kinds = [triplet.edit for triplet in triplets]
        before, after = (np.stack([getattr(t, f"{side}_mask") for t in triplets]) for side in ("reference", "target"))
        partner = np.full(len(triplets), -1, np.int64)
        for start in range(0, len(triplets), edits):
            own = slice(start, start + edits)
            found = np.array(contrast_partners(before[own], after[own], kinds[own]))
            partner[own] = np.where(found < 0, -1, found + start)
        names = list(LABELS) if self.labels else []
        shown = [scene.labels for scene in drawn if scene.labels is not None]
        wanted = [triplet.labels for triplet in triplets if triplet.labels is not None]
        return PictureBatch(
            references=np.stack([scene.reference for scene in drawn]),
            targets=np.stack([triplet.target for triplet in triplets]),
            reference_masks=before,
            target_masks=after,
            texts=[triplet.text for triplet in triplets],
            edits=kinds,
            picture=np.arange(count).repeat(edits),
            partner=partner,
            supervised=np.ones(len(triplets), bool),
            reference_labels={name: np.stack([labels[i] for labels in shown]) for i, name in enumerate(names)},
            target_labels={name: np.stack([labels[i] for labels in wanted]) for i, name in enumerate(names)},
            context_masks=np.stack(
                [context_mask(one.subject, scene.objects, self.size) for scene in drawn for one in scene.triplets]
            ),
        )


class Mixture:
    """Several sources as one.

    Args:
        sources: By name.
        weights: How often each is drawn, relatively; not used with ``mix="batch"``.
        mix: ``"step"``: each step shows one source, drawn by weight. ``"batch"``: each step shows all of them.

    Raises:
        InputError: If there are no sources, weights are not positive, or ``mix`` is unknown.
    """

    def __init__(self, sources: Mapping[str, Source], weights: Sequence[float], mix: str = "step") -> None:
        if not sources:
            raise InputError("sources: there are none; name at least one, for example scenes: {}")
        if any(not weight > 0 for weight in weights):
            raise InputError("sources: every weight must be above 0; leave a source out with NAME: null")
        if mix not in {"step", "batch"}:
            raise InputError(f"mix must be 'step' (each step shows one source) or 'batch' (all of them), not {mix!r}")
        self.sources = dict(sources)
        self.mix = mix
        self._shares = np.array(weights, float) / sum(weights)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every word of any source, in the order of the sources."""
        return tuple(dict.fromkeys(word for source in self.sources.values() for word in source.vocabulary))

    @property
    def label_classes(self) -> dict[str, int]:
        """The label maps of all sources.

        Raises:
            InputError: If two sources mean different things by one name.
        """
        found: dict[str, int] = {}
        for source in self.sources.values():
            for name, count in source.label_classes.items():
                if found.setdefault(name, count) != count:
                    raise InputError(f"sources: two of them have label maps {name!r} with different numbers of classes")
        return found

    def batch(self, seed: int, step: int) -> PictureBatch:
        """The batch of a step."""
        sources = list(self.sources.values())
        if self.mix == "batch":
            return join([source.batch(seed, step) for source in sources])
        chosen = np.random.default_rng([seed, 2, step]).choice(len(sources), p=self._shares)
        return sources[int(chosen)].batch(seed, step)
