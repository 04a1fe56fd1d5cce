"""Retrieval, localization and faithfulness of a composer on fresh procedural scenes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmgrad_explain.data.batches.scenes import scene_batch
from mmgrad_explain.data.scenes.text import named_by
from mmgrad_explain.evaluation.maps import (
    FIGURES,
    Faithfulness,
    MapKind,
    default_kind,
    disjoint_pairs,
    draw_maps,
    embeddings,
    faithfulness,
    judge,
    resized,
    sibling_candidates,
)
from mmgrad_explain.metrics.localization import contrast_accuracy
from mmgrad_explain.metrics.report import mean_of
from mmgrad_explain.metrics.retrieval import recall_at, target_rank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmgrad_explain.composers.reference.composer import ReferenceComposer
    from mmgrad_explain.data.batches.scenes import SceneBatch
    from mmgrad_explain.data.scenes.options import SceneOptions

__all__ = ["FIGURES", "SceneFigures", "evaluate_scenes", "scene_faithfulness"]


@dataclass(frozen=True)
class SceneFigures:
    """Per-triplet figures on fresh scenes, ``N`` triplets.

    Attributes:
        edits: Kind of each edit.
        named_by: What names the edited object in each text, for example ``"size, shape"``.
        recall: R@1 against all targets and references, ``(N,)``.
        sibling_recall: R@1 against the scene's own targets and reference, ``(N,)``.
        maps: :data:`~mmgrad_explain.evaluation.maps.FIGURES` by name, each ``(N,)``, for every map: by the name of its
            weighting where the score is the composer's own, else by score and weighting. The map of an ``add`` is
            judged on the target picture, where the new object is; all others on the reference.
        gallery: Number of gallery pictures.
        covered: Share of the picture that each mask covers, ``(N,)``: pointing of a random pixel, energy of a flat map.
        contrast: For every map, whether it tells the texts of two disjoint regions of one scene apart: ``(P,)`` over
            ordered pairs, without ``add``; the floor is 0.5.
        contrast_of: Which triplet the first text of each pair belongs to, ``(P,)``.
    """

    edits: list[str]
    named_by: list[str]
    recall: Tensor
    sibling_recall: Tensor
    maps: dict[str, dict[str, Tensor]]
    gallery: int
    covered: Tensor
    contrast: dict[str, Tensor] = field(default_factory=dict)
    contrast_of: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))

    def means(self, name: str) -> dict[str, float]:
        """Means of one map's figures, contrast among them."""
        means = {figure: mean_of(values) for figure, values in self.maps[name].items()}
        return {**means, "contrast": mean_of(self.contrast[name])}

    def by_edit(self, values: Tensor) -> dict[str, float]:
        """Mean of per-triplet values for each kind of edit."""
        return _means(values, self.edits)

    def by_name(self, values: Tensor) -> dict[str, float]:
        """Mean of per-triplet values for each way of naming the object, without ``add``, whose object is new."""
        keep = [i for i, edit in enumerate(self.edits) if edit != "add"]
        return _means(values[keep], [self.named_by[i] for i in keep])

    def contrast_by_edit(self, values: Tensor) -> dict[str, float]:
        """Mean of per-pair values for each kind of edit of the first text."""
        return _means(values, [self.edits[i] for i in self.contrast_of.tolist()])


def _means(values: Tensor, kinds: list[str]) -> dict[str, float]:
    return {kind: float(values[[k == kind for k in kinds]].mean()) for kind in sorted(set(kinds))}


def evaluate_scenes(
    composer: ReferenceComposer,
    *,
    seed: int,
    scenes: int,
    edits: int = 4,
    weightings: Sequence[str] | None = None,
    others: Sequence[MapKind] = (),
    options: SceneOptions | None = None,
    batch: int = 25,
) -> SceneFigures:
    """Evaluate on ``scenes`` scenes of the series ``seed``.

    Args:
        composer: The model.
        seed: Scene series; take one that was never trained on.
        scenes: Number of scenes.
        edits: Edits of each scene; they are one another's hard negatives.
        weightings: Names of the weightings to draw maps of the composer's own score with; its own when None.
        others: Further maps, of other scores.
        options: Which scenes; those of training when None.
        batch: Scenes that go through the model together.
    """
    own = default_kind(composer)
    kinds = {name: MapKind(own.score, name) for name in weightings or (own.weighting,)}
    kinds.update({kind.name: kind for kind in others})
    names: list[str] = []
    edit_kinds: list[str] = []
    queries, targets, references, scene_of, pairs_of, covered = [], [], [], [], [], []
    maps: dict[str, dict[str, list[Tensor]]] = {name: {figure: [] for figure in FIGURES} for name in kinds}
    contrast: dict[str, list[Tensor]] = {name: [] for name in kinds}
    for start in range(0, scenes, batch):
        count = min(batch, scenes - start)
        part = scene_batch(seed, start, count, composer.processor, edits=edits, options=options)
        on_target = torch.tensor([edit == "add" for edit in part.edits])
        masks = torch.where(on_target[:, None, None], part.target_masks, part.reference_masks)
        grids, output = draw_maps(composer, model_inputs(part), on_target, list(kinds.values()))
        pairs = disjoint_pairs(masks, part.scene, ~on_target)
        for name, kind in kinds.items():
            drawn = resized(grids[kind], (masks.shape[1], masks.shape[2]))
            for figure, values in judge(drawn, masks).items():
                maps[name][figure].append(values)
            contrast[name].append(contrast_accuracy(drawn[pairs[:, 0]], masks[pairs[:, 0]], masks[pairs[:, 1]]))
        query, of_targets, of_references = embeddings(output)
        queries.append(query)
        targets.append(of_targets)
        references.append(of_references[::edits])
        pairs_of.append(pairs[:, 0] + start * edits)
        scene_of.append(part.scene + start)
        covered.append(masks.float().mean((1, 2)))
        edit_kinds += part.edits
        names += map(named_by, part.subjects)
    gallery = torch.cat(targets + references)
    scene = torch.cat(scene_of)
    similarity, truth = torch.cat(queries) @ gallery.T, torch.arange(len(scene))
    siblings = scene[:, None] == torch.cat([scene, torch.arange(scenes)])[None]
    return SceneFigures(
        edits=edit_kinds,
        named_by=names,
        recall=recall_at(target_rank(similarity, truth), 1),
        sibling_recall=recall_at(target_rank(similarity, truth, siblings), 1),
        maps={name: {figure: torch.cat(values) for figure, values in of.items()} for name, of in maps.items()},
        gallery=len(gallery),
        covered=torch.cat(covered),
        contrast={name: torch.cat(values) for name, values in contrast.items()},
        contrast_of=torch.cat(pairs_of),
    )


def scene_faithfulness(
    composer: ReferenceComposer,
    *,
    seed: int,
    scenes: int,
    edits: int = 4,
    kinds: Sequence[MapKind] | None = None,
    steps: int = 10,
) -> dict[MapKind, Faithfulness]:
    """Faithfulness of maps on ``scenes`` scenes of the series ``seed``, without ``add``.

    Args:
        composer: The model.
        seed: Scene series; take one that was never trained on.
        scenes: Number of scenes; about ``scenes * edits * steps * 4`` forwards a map are made.
        edits: Edits of each scene; a query chooses among their targets and the reference.
        kinds: Which maps; the composer's own when None.
        steps: Steps of the curves.
    """
    part = scene_batch(seed, 0, scenes, composer.processor, edits=edits)
    tensors = model_inputs(part)
    with torch.no_grad():
        _, targets, references = embeddings(composer(**tensors))
    rows = torch.tensor([i for i, edit in enumerate(part.edits) if edit != "add"])
    candidates = sibling_candidates(targets, references, part.scene)[rows]
    chosen = {name: value[rows] for name, value in tensors.items()}
    return faithfulness(composer, chosen, list(kinds or [default_kind(composer)]), candidates, steps=steps)


def model_inputs(part: SceneBatch) -> dict[str, Tensor]:
    """What a composer's ``forward`` takes, one sample a triplet."""
    return {
        "pixel_values": part.references[part.scene],
        "input_ids": part.input_ids,
        "attention_mask": part.attention_mask,
        "target_pixel_values": part.targets,
    }
