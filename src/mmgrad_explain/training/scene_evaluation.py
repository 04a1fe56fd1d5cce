"""Retrieval and localization of a composer on fresh procedural scenes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgrad_explain.attention import MultiModalGradAttention, TextShift
from mmgrad_explain.data.scene_text import named_by
from mmgrad_explain.evaluation.localization import energy_inside, intersection_over_union, pointing_game
from mmgrad_explain.evaluation.retrieval import recall_at, target_rank
from mmgrad_explain.training.scene_batches import scene_batch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mmgrad_explain.composers.reference_composer import ReferenceComposer

FIGURES = ("pointing", "energy", "iou", "dead")


@dataclass(frozen=True)
class SceneFigures:
    """Per-triplet figures on fresh scenes, ``N`` triplets.

    Attributes:
        edits: Kind of each edit.
        named_by: What names the edited object in each text, for example ``"size, shape"``.
        recall: R@1 against all targets and references, ``(N,)``.
        sibling_recall: R@1 against the scene's own targets and reference, ``(N,)``.
        maps: For every weighting: :data:`FIGURES` by name, each ``(N,)``. The map of an ``add`` is judged on the
            target picture, where the new object is; all others on the reference.
        gallery: Number of gallery pictures.
    """

    edits: list[str]
    named_by: list[str]
    recall: Tensor
    sibling_recall: Tensor
    maps: dict[str, dict[str, Tensor]]
    gallery: int

    def by_edit(self, values: Tensor) -> dict[str, float]:
        """Mean of per-triplet values for each kind of edit."""
        return _means(values, self.edits)

    def by_name(self, values: Tensor) -> dict[str, float]:
        """Mean of per-triplet values for each way of naming the object, without ``add``, whose object is new."""
        keep = [i for i, edit in enumerate(self.edits) if edit != "add"]
        return _means(values[keep], [self.named_by[i] for i in keep])


def _means(values: Tensor, kinds: list[str]) -> dict[str, float]:
    return {kind: float(values[[k == kind for k in kinds]].mean()) for kind in sorted(set(kinds))}


def evaluate_scenes(
    composer: ReferenceComposer,
    *,
    seed: int,
    scenes: int,
    edits: int = 4,
    weightings: Sequence[str] = ("gradcam",),
    batch: int = 25,
) -> SceneFigures:
    """Evaluate on ``scenes`` scenes of the series ``seed``.

    Args:
        composer: The model.
        seed: Scene series; take one that was never trained on.
        scenes: Number of scenes.
        edits: Edits of each scene; they are one another's hard negatives.
        weightings: Names of the weightings to draw maps with.
        batch: Scenes that go through the model together.
    """
    kinds: list[str] = []
    names: list[str] = []
    queries, targets, references, scene_of = [], [], [], []
    maps: dict[str, dict[str, list[Tensor]]] = {w: {f: [] for f in FIGURES} for w in weightings}
    for start in range(0, scenes, batch):
        count = min(batch, scenes - start)
        part = scene_batch(seed, start, count, composer.processor, edits=edits)
        seen = part.references[part.scene]
        text = {"input_ids": part.input_ids, "attention_mask": part.attention_mask}
        with torch.inference_mode():
            output = composer(seen, target_pixel_values=part.targets, **text)
            queries.append(F.normalize(output.embedding, dim=-1))
            targets.append(F.normalize(output.target, dim=-1))
            references.append(F.normalize(output.embedding - output.shift, dim=-1)[::edits])
        on_target = torch.tensor([edit == "add" for edit in part.edits])
        looked = torch.where(on_target[:, None, None, None], part.targets, seen)
        masks = torch.where(on_target[:, None, None], part.target_masks, part.reference_masks)
        for weighting, figures in _figures(composer, looked, text, masks, weightings):
            for name, values in figures.items():
                maps[weighting][name].append(values)
        kinds += part.edits
        names += map(named_by, part.subjects)
        scene_of.append(part.scene + start)
    query, gallery = torch.cat(queries), torch.cat(targets + references)
    truth, scene = torch.arange(len(query)), torch.cat(scene_of)
    similarity = query @ gallery.T
    siblings = scene[:, None] == torch.cat([scene, torch.arange(scenes)])[None]
    return SceneFigures(
        edits=kinds,
        named_by=names,
        recall=recall_at(target_rank(similarity, truth), 1),
        sibling_recall=recall_at(target_rank(similarity, truth, siblings), 1),
        maps={w: {name: torch.cat(values) for name, values in figures.items()} for w, figures in maps.items()},
        gallery=len(gallery),
    )


def _figures(
    composer: ReferenceComposer, pixels: Tensor, text: dict[str, Tensor], masks: Tensor, weightings: Sequence[str]
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """The localization figures of a batch for each weighting, all from one gradient."""
    mmgrad = MultiModalGradAttention(composer)
    with mmgrad.capture(math_attention=False) as seen:
        output = composer(pixels, **text)
    every = mmgrad.attend(TextShift()(output), seen, retain_graph=False, weighting=list(weightings)).detach()
    for weighting, grids in zip(weightings, every, strict=True):
        maps = F.interpolate(grids[:, None], size=masks.shape[-2:], mode="bilinear")[:, 0]
        yield (
            weighting,
            {
                "pointing": pointing_game(maps, masks),
                "energy": energy_inside(maps, masks),
                "iou": intersection_over_union(maps, masks),
                "dead": (grids.amax((1, 2)) <= grids.amin((1, 2))).float(),
            },
        )
