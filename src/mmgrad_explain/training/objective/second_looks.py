"""What the terms without masks need: maps of the same images seen or asked for another way, and of masked images.

- ``selfeq``: the maps of paraphrases, where a batch has them;
- ``mirror``: the maps of mirrored references, mirrored back, where the text means the same of them;
- ``texts``: the maps of another text about the same reference, with another target; of those that are there;
- ``hidden`` and ``shown``: the scores of references without what their map shows, and of nothing but it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from mmgrad_explain.attention.scores.held_constants import HeldConstants
from mmgrad_explain.composers.outputs import convert_parts
from mmgrad_explain.data.edit_sides import names_side
from mmgrad_explain.grounding.maps import rectify
from mmgrad_explain.grounding.masking import MaskedScores, soft_mask, split_images
from mmgrad_explain.grounding.self_supervision import PairedMaps
from mmgrad_explain.training.objective.forward_pass import take_texts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mmgrad_explain.data.batches.batch import TripletBatch
    from mmgrad_explain.training.objective.forward_pass import Forward, ForwardPass, Record
    from mmgrad_explain.training.objective.supervision import Rows


def compare_maps(
    passes: ForwardPass, batch: TripletBatch, rows: Rows, forward: Forward, weights: Mapping[str, float]
) -> dict[str, PairedMaps]:
    """Make the maps that those of a batch are compared with.

    Args:
        passes: Runs the composer.
        batch: The batch.
        rows: The triplets with a map; those on the reference are compared.
        forward: What the composer gave for the batch, with its maps ``(W, R, h, w)``.
        weights: Weights by term; only terms with a weight are computed.

    Returns:
        Maps of each such term, shaped like the batch's. A term without a valid sample is among them.
    """
    if forward.maps is None:
        return {}
    found: dict[str, PairedMaps] = {}
    if weights["selfeq"]:
        chosen = batch.paraphrased[rows.reference] if batch.paraphrased is not None else _none(rows)
        found["selfeq"] = _spread(forward.maps, chosen, _paraphrase(passes, batch, rows, forward, chosen))
    if weights["mirror"]:
        chosen = find_mirrorable(batch)[rows.reference]
        found["mirror"] = _spread(forward.maps, chosen, _mirror(passes, batch, rows, chosen))
    if weights["texts"]:
        partner = find_other_texts(batch, rows.reference)
        others = forward.maps[:, partner.clamp(min=0)]
        found["texts"] = _spread(forward.maps, partner >= 0, others[:, partner >= 0])
    return found


def score_masked(
    passes: ForwardPass, batch: TripletBatch, rows: Rows, forward: Forward, weights: Mapping[str, float]
) -> MaskedScores | None:
    """Score the references of the rows without what their map shows, and what it shows alone.

    The mask is of the mean of the maps, if several methods make them. What the score holds constant, such as the
    direction of a shift, keeps the value that it has for the whole image.

    Args and what is left out as in :func:`compare_maps`.

    Returns:
        Scores of all maps' samples, those on the reference valid; None if neither term has a weight.
    """
    wanted = [name for name in ("hidden", "shown") if weights[name]]
    if forward.maps is None or not wanted:
        return None
    total, own = forward.maps.shape[1], rows.reference
    pixels = batch.references[batch.picture[own]]
    maps = torch.stack([rectify(one[: len(own)].float()) for one in forward.maps]).mean(0)
    size = (pixels.shape[2], pixels.shape[3])
    parts = dict(zip(("hidden", "shown"), split_images(pixels, soft_mask(maps, size)), strict=True))
    whole = maps.new_zeros(total)
    scores: dict[str, Tensor] = {}
    if len(own):
        once, of_parts = _score_images(passes, batch, rows, forward, torch.cat([parts[name] for name in wanted]))
        whole[: len(own)] = once.to(whole)
        for name, values in zip(wanted, of_parts.float().chunk(len(wanted)), strict=True):
            scores[name] = torch.cat([values, whole.new_zeros(total - len(own))])
    valid = torch.arange(total, device=whole.device) < len(own)
    for name in wanted:  # no row is on a reference
        scores.setdefault(name, whole)
    return MaskedScores(whole, scores.get("hidden"), scores.get("shown"), valid)


def find_mirrorable(batch: TripletBatch) -> Tensor:
    """Find the triplets whose text means the same of mirrored images, ``(N,)`` bool; by its words if nobody says."""
    if batch.mirrorable is not None:
        return batch.mirrorable
    return torch.tensor([not names_side(text) for text in batch.texts], device=batch.picture.device)


def find_other_texts(batch: TripletBatch, rows: Tensor) -> Tensor:
    """Find for each row another one with another text and another target, about the same reference image.

    Args:
        batch: The batch.
        rows: Indices of triplets, ``(R,)``.

    Returns:
        ``(R,)``, the next such row in cyclic order, as an index into ``rows``; -1 where there is none.
    """
    count = len(rows)
    if not count:
        return rows
    pictures = batch.picture[rows]
    same = pictures[:, None] == pictures[None]
    if batch.reference_ids is not None:
        images = batch.reference_ids[pictures]
        same = same | ((images[:, None] == images[None]) & (images >= 0)[:, None])
    if batch.target_ids is not None:
        targets = batch.target_ids[rows]
        same = same & ~((targets[:, None] == targets[None]) & (targets >= 0)[:, None])
    numbers: dict[str, int] = {}
    every = [numbers.setdefault(batch.texts[row], len(numbers)) for row in rows.tolist()]
    text = torch.tensor(every, device=rows.device)
    same = same & (text[:, None] != text[None])
    place = torch.arange(count, device=rows.device)
    ahead = (place[None] - place[:, None] - 1) % count
    nearest = ahead.masked_fill(~same, count).argmin(1)
    return torch.where(same.any(1), nearest, -1)


def _none(rows: Rows) -> Tensor:
    return torch.zeros_like(rows.reference, dtype=torch.bool)


def _spread(like: Tensor, chosen: Tensor, maps: Tensor | None) -> PairedMaps:
    """Put maps ``(W, C, h, w)`` in the places of the chosen rows, among those of all maps ``(W, R, h, w)``."""
    valid = torch.zeros(like.shape[1], dtype=torch.bool, device=like.device)
    valid[: len(chosen)] = chosen
    spread = torch.zeros_like(like)
    return PairedMaps(spread if maps is None else spread.index_copy(1, valid.nonzero()[:, 0], maps.to(like)), valid)


def _paraphrase(
    passes: ForwardPass, batch: TripletBatch, rows: Rows, forward: Forward, chosen: Tensor
) -> Tensor | None:
    """Make the maps of the chosen rows' paraphrases."""
    own = rows.reference[chosen]
    if not len(own) or batch.paraphrase_ids is None or batch.paraphrase_attention is None:
        return None
    ids, mask = batch.paraphrase_ids[own], batch.paraphrase_attention[own]
    if forward.features is not None:
        return passes.compose(forward.features.take(batch.picture[own]), passes.encode_text(ids, mask), maps=True)[0]
    return _maps_of_whole(passes, batch, own, batch.references, ids, mask)


def _mirror(passes: ForwardPass, batch: TripletBatch, rows: Rows, chosen: Tensor) -> Tensor | None:
    """Make the maps of the chosen rows' mirrored references, mirrored back."""
    own = rows.reference[chosen]
    if not len(own):
        return None
    ids, mask = batch.input_ids[own], batch.attention_mask[own]
    if passes.in_stages(maps=True) is not None:
        pictures, place = torch.unique(batch.picture[own], return_inverse=True)
        features = passes.encode(batch.references[pictures].flip(-1))
        drawn = passes.compose(features.take(place), passes.encode_text(ids, mask), maps=True)[0]
    else:
        drawn = _maps_of_whole(passes, batch, own, batch.references.flip(-1), ids, mask, mirrored=True)
    return None if drawn is None else drawn.flip(-1)


def _maps_of_whole(
    passes: ForwardPass,
    batch: TripletBatch,
    own: Tensor,
    references: Tensor,
    ids: Tensor,
    mask: Tensor,
    *,
    mirrored: bool = False,
) -> Tensor:
    """Make maps on references by the composer's ``forward``."""
    targets = batch.targets[own]
    inputs = {
        "pixel_values": references[batch.picture[own]], "input_ids": ids, "attention_mask": mask,
        "target_pixel_values": targets.flip(-1) if mirrored else targets,
    }  # fmt: skip
    output, record = passes.compose_whole(inputs, maps=True)
    return passes.attend(passes.measure(output), cast("Record", record), 0)


def _score_images(
    passes: ForwardPass, batch: TripletBatch, rows: Rows, forward: Forward, pixels: Tensor
) -> tuple[Tensor, Tensor]:
    """Score the rows' references as they are, ``(R,)``, and masked ones, several for each row, ``(k R,)``."""
    own = rows.reference
    times = len(pixels) // len(own)
    again = own.repeat(times)
    ids, mask = batch.input_ids[again], batch.attention_mask[again]
    if forward.features is not None and passes.stages is not None:
        direction = forward.shift[own].detach()
        text = passes.encode_text(batch.input_ids[own], batch.attention_mask[own])
        every = take_texts(text, torch.arange(len(own), device=own.device).repeat(times))
        features = passes.encode(pixels).values
        with passes.autocast(pixels.device, "bf16-composer"):
            shift = passes.stages.shift(features, every)
        return direction.square().sum(-1), (shift.float() * direction.repeat(times, 1)).sum(-1)
    inputs = {"pixel_values": pixels, "input_ids": ids, "attention_mask": mask}
    scored = forward.output
    if passes.score.name == "shift":  # the target's part of it is none of the reference's
        scored = convert_parts(scored, lambda part: part)._replace(target=None, target_shift=None, target_composed=None)
    else:
        inputs["target_pixel_values"] = batch.targets[again]
    held = HeldConstants(passes.measure, scored)
    output, _ = passes.compose_whole(inputs, maps=False)
    return held.score[own], held(output, again)
