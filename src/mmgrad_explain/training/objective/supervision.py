"""Which triplets of a batch get a supervised map, and where these maps should be bright."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from mmgrad_explain.data.batches.batch import WholeBatch, find_unmoved
from mmgrad_explain.data.edit_sides import is_on_target_only

if TYPE_CHECKING:
    import numpy as np

    from mmgrad_explain.data.batches.batch import TripletBatch
    from mmgrad_explain.training.objective.options import GroundingOptions


class Rows(NamedTuple):
    """The triplets with a map, in ascending order: on the reference, and on the target.

    Attributes:
        reference: Indices of the triplets with a map on the reference, ``(R,)``.
        target: Of those with a map on the target, ``(T,)``.
        supervised: Whether each map is compared with its mask, references first, ``(R + T,)`` bool; the others are for
            the terms without masks.
    """

    reference: Tensor
    target: Tensor
    supervised: Tensor

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return len(self.reference) + len(self.target) > 0

    @property
    def every(self) -> Tensor:
        """The index of the triplet of each map, references first, ``(R + T,)``."""
        return torch.cat([self.reference, self.target])

    def to(self, device: torch.device) -> Rows:
        """Move the indices to a device."""
        return Rows(*(part.to(device) for part in self))


def no_rows() -> Rows:
    """Return rows without a triplet."""
    nothing = torch.zeros(0, dtype=torch.long)
    return Rows(nothing, nothing, nothing.bool())


def draw_rows(
    batch: TripletBatch, options: GroundingOptions, rng: np.random.Generator, *, without_masks: bool = False
) -> Rows:
    """Draw the maps to supervise: on the reference for every edit that shows there, for some on the target as well.

    Of a part of a step's batch these are the rows that would be drawn of the whole batch.

    Args:
        batch: The batch, or a process's part of it.
        options: How often an edit is supervised on the target, and the share of the maps that are supervised.
        rng: Equal generators draw equal rows.
        without_masks: Whether to draw maps for the terms without masks as well: on the reference for every edit that
            shows there, whether its region is known or not; supervised ones first, if only a share is drawn.
    """
    every = torch.arange(len(batch.edits))
    whole = batch.whole or WholeBatch(batch.edits, batch.supervised.cpu(), find_unmoved_triplets(batch).cpu(), every)
    on_target = torch.from_numpy(rng.random(len(whole.edits)) < options.target_shares(whole.edits))
    on_reference = torch.tensor([not is_on_target_only(edit) for edit in whole.edits])
    if options.consistency:  # it compares the two sides
        on_target = on_target | whole.unmoved
    both = torch.cat([on_reference & whole.supervised, on_target & whole.supervised])
    if options.share < 1:
        both = _draw_share(both, options.share, rng)
    reference, target = both.chunk(2)
    looked_at = reference
    if without_masks:
        looked_at = reference | _draw_share(on_reference, options.share, rng, first=reference)
    sides = [side[whole.part].nonzero()[:, 0] for side in (looked_at, target)]
    masked = reference[whole.part][sides[0]]
    return Rows(sides[0], sides[1], torch.cat([masked, torch.ones(len(sides[1]), dtype=torch.bool)]))


def _draw_share(among: Tensor, share: float, rng: np.random.Generator, first: Tensor | None = None) -> Tensor:
    """Draw a share of the marked places, ``(M,)`` bool; those that ``first`` marks come first."""
    places = among.nonzero()[:, 0]
    order = places[torch.from_numpy(rng.permutation(len(places)))]
    if first is not None:
        order = order[torch.sort(~first[order], stable=True).indices]
    return torch.isin(torch.arange(len(among)), order[: max(1, round(share * len(places)))])


def find_unmoved_triplets(batch: TripletBatch) -> Tensor:
    """Find the triplets with their object in the same place in reference and target, ``(N,)`` bool."""
    return find_unmoved(batch.reference_masks, batch.target_masks, batch.edits, batch.supervised)


def masks_of(batch: TripletBatch, rows: Rows) -> Tensor:
    """Return where the maps of the rows should be bright, references first, ``(R, H, W)`` bool, or in [0, 1].

    Maps that are not supervised have an empty mask.
    """
    masks = torch.cat([batch.reference_masks[rows.reference], batch.target_masks[rows.target]])
    return masks * rows.supervised[:, None, None]


def context_of(batch: TripletBatch, rows: Rows) -> Tensor:
    """Return where the other objects in the texts of the rows are, references first, ``(R, H, W)`` bool.

    Sources know this of references only; on targets it is empty.
    """
    nothing = torch.zeros_like(batch.target_masks[rows.target], dtype=torch.bool)
    if batch.context_masks is None:
        return torch.cat([torch.zeros_like(batch.reference_masks[rows.reference], dtype=torch.bool), nothing])
    return torch.cat([batch.context_masks[rows.reference], nothing])
