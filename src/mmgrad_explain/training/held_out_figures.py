"""Evaluate a composer on held-out batches of any source, during training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mmgrad_explain.composers.model_capabilities import has_maps_of
from mmgrad_explain.data.batches.batch import MARKED
from mmgrad_explain.data.batches.facts import match_facts, same_photo
from mmgrad_explain.data.edit_sides import is_on_target_only
from mmgrad_explain.evaluation.figures import measure_recall
from mmgrad_explain.evaluation.maps import (
    MapDrawer,
    MapKind,
    default_kind,
    find_disjoint_pairs,
    unit_embeddings,
)
from mmgrad_explain.explanation.fusion import resize_maps
from mmgrad_explain.metrics.first_hits import share_of_right_hits
from mmgrad_explain.metrics.localization import contrast_accuracy
from mmgrad_explain.metrics.map_figures import CONTRAST, measure_maps
from mmgrad_explain.metrics.similarities import similarities
from mmgrad_explain.training.figures import BY_EDIT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.data.batches.batch import TripletBatch
    from mmgrad_explain.training.objective.options import GroundingOptions


def trained_kind(composer: Composer, options: GroundingOptions) -> MapKind:
    """Return the kind of maps that these options train: the kind to measure and to show.

    It has the options' score, and the composer's default method if that is trained, else the first trained one. If no
    map is trained, the method is the composer's default; so is the score if the composer has no maps of the
    options' score.
    """
    own = default_kind(composer)
    if not options.supervises_maps:
        return MapKind(options.score if has_maps_of(composer, options.score) else own.score, own.method)
    return MapKind(options.score, own.method if own.method in options.methods else options.methods[0])


def evaluate_batches(
    composer: Composer, batches: Iterable[TripletBatch], kind: MapKind | None = None
) -> dict[str, float]:
    """Measure retrieval and localization on batches; the images of all batches form one gallery.

    Args:
        composer: The model; it is left unchanged.
        batches: Batches on the composer's device.
        kind: Kind of maps; the composer's default if None.

    Returns:
        :data:`~mmgrad_explain.training.figures.HELD_OUT` by name, in [0, 1]: ``r1`` is recall at 1 among all targets
        and references, ``sibling_r1`` among those of the same reference; ``search``, where it is known what images
        show, is the share of right ones in the first hits among the references of other photographs
        (:func:`~mmgrad_explain.metrics.first_hits.share_of_right_hits`); the others are of the maps, of ``add`` on the
        target. In addition ``pointing_EDIT`` for each kind of edit. A figure without a sample is left out.
    """
    kind = kind or default_kind(composer)
    queries, targets, references, of_target, of_reference = [], [], [], [], []
    values_of: dict[str, list[Tensor]] = {}
    edits: list[str] = []
    contrast: list[Tensor] = []
    asked: list[Tensor] = []
    shown: list[Tensor] = []
    count = 0
    drawer = MapDrawer(composer, [kind])
    for batch in batches:
        on_target = torch.tensor([*map(is_on_target_only, batch.edits)], device=batch.picture.device)
        masks = torch.where(on_target[:, None, None], batch.target_masks, batch.reference_masks) >= MARKED
        grids, output = drawer.draw(inputs_of(batch), on_target)
        maps = resize_maps(grids[kind], (masks.shape[1], masks.shape[2]))
        known = batch.supervised & masks.flatten(1).any(1)
        for name, values in measure_maps(maps, masks).items():
            values_of.setdefault(name, []).append(values[known].cpu())
        edits += [edit for edit, one in zip(batch.edits, known.tolist(), strict=True) if one]
        pairs = find_disjoint_pairs(masks, batch.picture, ~on_target & known)
        if len(pairs):
            own, other = masks[pairs[:, 0]], masks[pairs[:, 1]]
            contrast.append(contrast_accuracy(maps[pairs[:, 0]], own, other).cpu())
        first = torch.from_numpy(np.unique(batch.picture.cpu().numpy(), return_index=True)[1])
        query, target, reference = (one.cpu() for one in unit_embeddings(output))
        queries.append(query)
        targets.append(target)
        references.append(reference[first])
        of_target.append(batch.picture.cpu() + count)
        of_reference.append(batch.picture.cpu()[first] + count)
        count += len(batch.references)
        if batch.facts is not None:
            facts = batch.facts.to("cpu")
            asked.append(torch.cat([facts.reference_photos[batch.picture.cpu()][:, None], facts.asks.long()], 1))
            shown.append(torch.cat([facts.reference_photos[:, None], facts.references.long()], 1))
    recall, sibling_recall = measure_recall(
        torch.cat(queries), torch.cat(targets), torch.cat(references), torch.cat(of_target), torch.cat(of_reference)
    )
    figures = {"r1": float(recall.mean()), "sibling_r1": float(sibling_recall.mean())}
    if len(shown) == len(queries):
        found = _search(similarities(torch.cat(queries), torch.cat(references)), torch.cat(asked), torch.cat(shown))
        figures.update({} if found.isnan().all() else {"search": float(found.nanmean())})
    if edits:
        every = {name: torch.cat(values) for name, values in values_of.items()}
        figures.update({name: float(values.mean()) for name, values in every.items()})
        for edit in sorted(set(edits)):
            figures[f"{BY_EDIT}{edit}"] = float(every["pointing"][[one == edit for one in edits]].mean())
    if contrast:
        figures[CONTRAST] = float(torch.cat(contrast).mean())
    return figures


def _search(similar: Tensor, asks: Tensor, known: Tensor) -> Tensor:
    """Return the share of right hits of each query; a photograph that was shown several times counts once."""
    first = torch.tensor([photo not in known[:i, 0] for i, photo in enumerate(known[:, 0])])
    right, wrong = match_facts(asks[:, 1:], known[first, 1:])
    return share_of_right_hits(similar[:, first], right, (right | wrong) & ~same_photo(asks[:, 0], known[first, 0]))


def sample_maps(
    composer: Composer, batch: TripletBatch, rows: Tensor, kind: MapKind | None = None
) -> tuple[Tensor, Tensor]:
    """Compute maps of some triplets of a batch.

    Returns:
        Maps ``(n, h, w)`` on the CPU, and whether each is on the target, ``(n,)`` bool.
    """
    on_target = torch.tensor([*map(is_on_target_only, batch.edits)], device=batch.picture.device)
    chosen = {name: value[rows] for name, value in inputs_of(batch).items()}
    kind = kind or default_kind(composer)
    grids, _ = MapDrawer(composer, [kind]).draw(chosen, on_target[rows])
    return grids[kind].cpu(), on_target[rows].cpu()


def inputs_of(batch: TripletBatch) -> dict[str, Tensor]:
    """Return the arguments of a composer's ``forward``, one sample for each triplet."""
    return {
        "pixel_values": batch.references[batch.picture],
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask,
        "target_pixel_values": batch.targets,
    }
