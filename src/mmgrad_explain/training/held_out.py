"""Figures of a composer on held-out batches of any source, during training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mmgrad_explain.composers.stages import has_maps_of
from mmgrad_explain.evaluation.figures import measure_recall
from mmgrad_explain.evaluation.maps import (
    MapKind,
    default_kind,
    disjoint_pairs,
    draw_maps,
    embeddings,
    resized,
)
from mmgrad_explain.metrics.localization import contrast_accuracy
from mmgrad_explain.metrics.map_figures import CONTRAST, measure_maps

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.data.batches.batch import TripletBatch
    from mmgrad_explain.training.objective.options import GroundingOptions


def trained_kind(composer: Composer, options: GroundingOptions) -> MapKind:
    """The maps that a training with these options teaches, to be judged and shown.

    They have the options' score, and the composer's own weighting where that is trained, else the first that is. Where
    no map is trained the weighting is the composer's own, and so is the score of a composer without maps of that score.
    """
    own = default_kind(composer)
    if not options.supervises_maps:
        return MapKind(options.score if has_maps_of(composer, options.score) else own.score, own.weighting)
    return MapKind(options.score, own.weighting if own.weighting in options.weightings else options.weightings[0])


def evaluate_batches(
    composer: Composer, batches: Iterable[TripletBatch], kind: MapKind | None = None
) -> dict[str, float]:
    """Retrieval and localization on some batches, which make one gallery.

    Args:
        composer: The model; comes back as it was.
        batches: On the composer's device.
        kind: Which maps; the composer's own if None.

    Returns:
        ``r1`` and ``sibling_r1`` (against all targets and references, and against the picture's own), ``pointing``,
        ``energy``, ``iou``, ``dead`` and ``contrast`` of the maps, by name, all in [0, 1]; the map of an ``add`` is
        judged on the target. ``pointing_EDIT`` for each kind of edit. What cannot be measured is left out.
    """
    kind = kind or default_kind(composer)
    queries, targets, references, of_target, of_reference = [], [], [], [], []
    judged: dict[str, list[Tensor]] = {}
    edits: list[str] = []
    contrast: list[Tensor] = []
    pictures = 0
    for batch in batches:
        on_target = torch.tensor([edit == "add" for edit in batch.edits], device=batch.picture.device)
        masks = torch.where(on_target[:, None, None], batch.target_masks, batch.reference_masks)
        grids, output = draw_maps(composer, inputs_of(batch), on_target, [kind])
        maps = resized(grids[kind], (masks.shape[1], masks.shape[2]))
        known = batch.supervised
        for name, values in measure_maps(maps, masks).items():
            judged.setdefault(name, []).append(values[known].cpu())
        edits += [edit for edit, one in zip(batch.edits, known.tolist(), strict=True) if one]
        pairs = disjoint_pairs(masks, batch.picture, ~on_target & known)
        if len(pairs):
            own, other = masks[pairs[:, 0]], masks[pairs[:, 1]]
            contrast.append(contrast_accuracy(maps[pairs[:, 0]], own, other).cpu())
        first = torch.from_numpy(np.unique(batch.picture.cpu().numpy(), return_index=True)[1])
        query, target, reference = (one.cpu() for one in embeddings(output))
        queries.append(query)
        targets.append(target)
        references.append(reference[first])
        of_target.append(batch.picture.cpu() + pictures)
        of_reference.append(batch.picture.cpu()[first] + pictures)
        pictures += len(batch.references)
    recall, sibling_recall = measure_recall(
        torch.cat(queries), torch.cat(targets), torch.cat(references), torch.cat(of_target), torch.cat(of_reference)
    )
    figures = {"r1": float(recall.mean()), "sibling_r1": float(sibling_recall.mean())}
    if edits:
        every = {name: torch.cat(values) for name, values in judged.items()}
        figures.update({name: float(values.mean()) for name, values in every.items()})
        for edit in sorted(set(edits)):
            figures[f"pointing_{edit}"] = float(every["pointing"][[one == edit for one in edits]].mean())
    if contrast:
        figures[CONTRAST] = float(torch.cat(contrast).mean())
    return figures


def sample_maps(
    composer: Composer, batch: TripletBatch, rows: Tensor, kind: MapKind | None = None
) -> tuple[Tensor, Tensor]:
    """Maps of some triplets of a batch, with the side they are of: ``(n, h, w)`` on the CPU, ``(n,)`` bool."""
    on_target = torch.tensor([edit == "add" for edit in batch.edits], device=batch.picture.device)
    chosen = {name: value[rows] for name, value in inputs_of(batch).items()}
    kind = kind or default_kind(composer)
    grids, _ = draw_maps(composer, chosen, on_target[rows], [kind])
    return grids[kind].cpu(), on_target[rows].cpu()


def inputs_of(batch: TripletBatch) -> dict[str, Tensor]:
    """What a composer's ``forward`` takes, one sample a triplet."""
    return {
        "pixel_values": batch.references[batch.picture],
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask,
        "target_pixel_values": batch.targets,
    }
