"""Retrieval, localization and faithfulness of a composer on fresh procedural scenes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmgrad_explain.data.batches.scenes import scene_batch
from mmgrad_explain.data.edit_sides import is_on_target_only
from mmgrad_explain.data.scenes.text import find_qualifier
from mmgrad_explain.evaluation.faithfulness import Faithfulness, collect_candidates, measure_faithfulness
from mmgrad_explain.evaluation.figures import TripletFigures, mean_by_kind, measure_recall
from mmgrad_explain.evaluation.maps import (
    MapDrawer,
    MapKind,
    default_kind,
    find_disjoint_pairs,
    unit_embeddings,
)
from mmgrad_explain.explanation.fusion import resize_maps
from mmgrad_explain.metrics.localization import contrast_accuracy
from mmgrad_explain.metrics.map_figures import figure_names, measure_maps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmgrad_explain.composers.reference.composer import ReferenceComposer
    from mmgrad_explain.data.batches.scenes import SceneBatch
    from mmgrad_explain.data.scenes.options import SceneOptions


@dataclass(frozen=True, kw_only=True)
class SceneFigures(TripletFigures):
    """Per-triplet figures on fresh scenes, ``N`` triplets.

    A map is named by its method where the score is the composer's default, else by score and method. The map of
    an ``add`` is measured on the target, where the new object is; all others on the reference.

    Attributes:
        named_by: What names the edited object in each text, for example ``"size, shape"``.
        covered: Share of the image that each mask covers, ``(N,)``: pointing of a random pixel, energy of a flat map.
    """

    named_by: list[str]
    covered: Tensor

    def by_name(self, values: Tensor) -> dict[str, float]:
        """Take the mean of per-triplet values for each way of naming the object, without ``add``: its object is new."""
        keep = [i for i, edit in enumerate(self.edits) if not is_on_target_only(edit)]
        return mean_by_kind(values[keep], [self.named_by[i] for i in keep])

    def contrast_by_edit(self, values: Tensor) -> dict[str, float]:
        """Take the mean of per-pair values for each kind of edit of the first text."""
        return mean_by_kind(values, [self.edits[i] for i in self.contrast_of.tolist()])


def evaluate_scenes(
    composer: ReferenceComposer,
    *,
    seed: int,
    scenes: int,
    edits: int = 4,
    methods: Sequence[str] | None = None,
    others: Sequence[MapKind] = (),
    options: SceneOptions | None = None,
    batch: int = 25,
) -> SceneFigures:
    """Evaluate on ``scenes`` scenes of the series ``seed``.

    Args:
        composer: The composer.
        seed: Scene series; take one that was never trained on.
        scenes: Number of scenes.
        edits: Edits of each scene; they are one another's hard negatives.
        methods: Names of the methods of maps of the composer's default score, also of those that run the model again
            (``"occlusion"``, ``"rise"``, ``"integrated-gradients"``); its default when None.
        others: Further maps, of other scores.
        options: Which scenes; those of training when None.
        batch: Scenes that go through the composer together.
    """
    default = default_kind(composer)
    kinds = {name: MapKind(default.score, name) for name in methods or (default.method,)}
    kinds.update({kind.name: kind for kind in others})
    names: list[str] = []
    edit_kinds: list[str] = []
    queries, targets, references, sides, scene_of, contrast_of, covered = [], [], [], [], [], [], []
    maps: dict[str, dict[str, list[Tensor]]] = {name: {figure: [] for figure in figure_names()} for name in kinds}
    contrast: dict[str, list[Tensor]] = {name: [] for name in kinds}
    drawer = MapDrawer(composer, list(kinds.values()))
    for start in range(0, scenes, batch):
        count = min(batch, scenes - start)
        part = scene_batch(seed, start, count, composer.processor, edits=edits, options=options)
        on_target = torch.tensor([is_on_target_only(edit) for edit in part.edits])
        masks = torch.where(on_target[:, None, None], part.target_masks, part.reference_masks)
        grids, output = drawer.draw(model_inputs(part), on_target)
        pairs = find_disjoint_pairs(masks, part.scene, ~on_target)
        for name, kind in kinds.items():
            drawn = resize_maps(grids[kind], (masks.shape[1], masks.shape[2]))
            for figure, values in measure_maps(drawn, masks).items():
                maps[name][figure].append(values)
            contrast[name].append(contrast_accuracy(drawn[pairs[:, 0]], masks[pairs[:, 0]], masks[pairs[:, 1]]))
        query, target, reference = unit_embeddings(output)
        queries.append(query)
        targets.append(target)
        references.append(reference[::edits])
        sides.append(on_target)
        contrast_of.append(pairs[:, 0] + start * edits)
        scene_of.append(part.scene + start)
        covered.append(masks.float().mean((1, 2)))
        edit_kinds += part.edits
        names += map(find_qualifier, part.subjects)
    recall, sibling_recall = measure_recall(
        torch.cat(queries), torch.cat(targets), torch.cat(references), torch.cat(scene_of), torch.arange(scenes)
    )
    return SceneFigures(
        edits=edit_kinds,
        named_by=names,
        on_target=torch.cat(sides),
        recall=recall,
        sibling_recall=sibling_recall,
        maps={name: {figure: torch.cat(values) for figure, values in of.items()} for name, of in maps.items()},
        gallery=len(recall) + scenes,
        covered=torch.cat(covered),
        contrast={name: torch.cat(values) for name, values in contrast.items()},
        contrast_of=torch.cat(contrast_of),
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
    """Measure the faithfulness of maps on ``scenes`` scenes of the series ``seed``, without ``add``.

    Args:
        composer: The composer.
        seed: Scene series; take one that was never trained on.
        scenes: Number of scenes; about ``scenes * edits * steps * 4`` forwards are run for each kind of map.
        edits: Edits of each scene; a query chooses among their targets and the reference.
        kinds: The maps to measure; the composer's default when None.
        steps: Steps of the curves.
    """
    part = scene_batch(seed, 0, scenes, composer.processor, edits=edits)
    tensors = model_inputs(part)
    with torch.no_grad():
        _, targets, references = unit_embeddings(composer(**tensors))
    rows = torch.tensor([i for i, edit in enumerate(part.edits) if not is_on_target_only(edit)])
    candidates = collect_candidates(targets, references, part.scene)[rows]
    chosen = {name: value[rows] for name, value in tensors.items()}
    return measure_faithfulness(composer, chosen, list(kinds or [default_kind(composer)]), candidates, steps=steps)


def model_inputs(part: SceneBatch) -> dict[str, Tensor]:
    """Return the arguments of a composer's ``forward``, one sample a triplet."""
    return {
        "pixel_values": part.references[part.scene],
        "input_ids": part.input_ids,
        "attention_mask": part.attention_mask,
        "target_pixel_values": part.targets,
    }
