"""Procedural scenes as a source of training data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from mmgrad_explain.data.batches.batch import ImageBatch
from mmgrad_explain.data.scenes.context import draw_context_mask
from mmgrad_explain.data.scenes.contrast import find_contrast_partners
from mmgrad_explain.data.scenes.options import SceneOptions
from mmgrad_explain.data.scenes.scene import LABELS, scenes
from mmgrad_explain.data.scenes.text import VOCABULARY

if TYPE_CHECKING:
    from mmgrad_explain.images.placement import FitImage


@dataclass(frozen=True)
class SceneSourceOptions:
    """Options of procedural scenes.

    Attributes:
        weight: How often the source is drawn, relative to the others.
        pictures: Scenes in a batch.
        edits: Edits of each scene.
        objects: Smallest and largest number of objects in a scene.
        pairs: Combinations of shape and colour: ``training``, ``held-out`` or ``all``.
        templates: Sentences: ``training`` or ``held-out``.
        relations: How often a text names an object by its place beside another one, if it can.
        places: How often a text names an object by its side of the image, if it can.
    """

    weight: float = 1.0
    pictures: int = 24
    edits: int = 4
    objects: tuple[int, int] = (1, 6)
    pairs: str = "training"
    templates: str = "training"
    relations: float = SceneOptions.relations
    places: float = SceneOptions.places

    knows_context: ClassVar[bool] = True
    knows_facts: ClassVar[bool] = False
    knows_regions: ClassVar[bool] = True
    compares_maps: ClassVar[bool] = False
    knows_paraphrases: ClassVar[bool] = False
    has_own_edits: ClassVar[bool] = False
    draws_images: ClassVar[bool] = True

    def build(
        self,
        name: str,  # noqa: ARG002
        size: int,
        *,
        labels: bool,
        held_out: bool,  # noqa: ARG002
        fit_image: FitImage | None = None,  # noqa: ARG002
    ) -> SceneSource:
        """See :class:`~mmgrad_explain.training.sources.source.SourceOptions`; held-out scenes have another seed."""
        return SceneSource(size, self, labels=labels)


class SceneSource:
    """Batches of procedural scenes.

    Args:
        size: Side of the square images, pixels.
        options: See :class:`SceneSourceOptions`.
        labels: Whether the batches have label maps.
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
        """Number of colours, shapes and sizes, background included; empty without label maps."""
        return {name: 1 + len(values) for name, values in LABELS.items()} if self.labels else {}

    @property
    def facts(self) -> int:
        """No facts are known of scenes."""
        return 0

    def batch(self, seed: int, step: int) -> ImageBatch:
        """Draw the scenes ``step * pictures`` to ``(step + 1) * pictures - 1`` of the series ``seed``."""
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
            found = np.array(find_contrast_partners(before[own], after[own], kinds[own]))
            partner[own] = np.where(found < 0, -1, found + start)
        names = list(LABELS) if self.labels else []
        shown = [scene.labels for scene in drawn if scene.labels is not None]
        wanted = [triplet.labels for triplet in triplets if triplet.labels is not None]
        return ImageBatch(
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
                [draw_context_mask(one.subject, scene.objects, self.size) for scene in drawn for one in scene.triplets]
            ),
        )
