"""What the images of a batch show, and what its texts ask for, so that matches among other images are known.

A fact is true (1), false (0) or unknown (-1): "shows a skirt", "shows a green skirt". A text asks for facts in the same
numbers: it must be true, it must be false, it does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

UNKNOWN = -1
"""Value of a fact that is not known, of one that a text does not ask for, and of images of no photograph."""


@dataclass(frozen=True)
class Facts:
    """Facts on ``S`` references and ``N`` targets, and what ``N`` texts ask for.

    Attributes:
        references: ``(S, F)`` int8.
        targets: ``(N, F)`` int8.
        asks: ``(N, F)`` int8.
        reference_photos: Number of the photograph that each reference is a view of, ``(S,)`` int64.
        target_photos: Likewise ``(N,)``; a target with the number of its reference is an edited copy of it.
        classes: The first so many facts say which classes of a label map an image shows.
    """

    references: Tensor
    targets: Tensor
    asks: Tensor
    reference_photos: Tensor
    target_photos: Tensor
    classes: int = 0

    @property
    def gallery(self) -> Tensor:
        """Photograph and facts of the targets, then of the references, ``(N + S, 1 + F)`` int64."""
        photos = torch.cat([self.target_photos, self.reference_photos])
        return torch.cat([photos[:, None], torch.cat([self.targets, self.references]).long()], dim=1)

    def take(self, images: Tensor, edits: Tensor) -> Facts:
        """Take some references and some targets, by their indices."""
        return replace(
            self,
            references=self.references[images],
            targets=self.targets[edits],
            asks=self.asks[edits],
            reference_photos=self.reference_photos[images],
            target_photos=self.target_photos[edits],
        )

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Facts:
        """Move the facts to another device."""
        moved = {name: getattr(self, name).to(device, non_blocking=non_blocking) for name in _TENSORS}
        return replace(self, **moved)


_TENSORS = ("references", "targets", "asks", "reference_photos", "target_photos")


def join_facts(parts: Sequence[Facts | None], sizes: Sequence[tuple[int, int]]) -> Facts | None:
    """Join the facts of several batches; where a batch has none, all are unknown. None if no batch has any.

    Args:
        parts: The facts of each batch.
        sizes: Number of its references and of its targets.

    Raises:
        InputError: More than one batch has facts: the numbers of their photographs mean others.
    """
    known = [part for part in parts if part is not None]
    if not known:
        return None
    if len(known) > 1:
        raise InputError("sources: two of them number facts on their photographs; mix them by step")
    count = known[0].targets.shape[1]

    def nothing(images: int, edits: int) -> Facts:
        of_image, of_edit = (torch.full((n, count), UNKNOWN, dtype=torch.int8) for n in (images, edits))
        return Facts(of_image, of_edit, of_edit, torch.full((images,), UNKNOWN), torch.full((edits,), UNKNOWN))

    every = [nothing(*size) if part is None else part for part, size in zip(parts, sizes, strict=True)]
    joined: dict[str, Any] = {name: torch.cat([getattr(one, name) for one in every]) for name in _TENSORS}
    return replace(known[0], **joined)


class Matches(NamedTuple):
    """Which images are what a text asks for, ``(N, M)`` bool each; where neither is true, it is not known."""

    right: Tensor
    wrong: Tensor


def match_facts(asks: Tensor, facts: Tensor) -> Matches:
    """Match what texts ask for with what images show.

    Args:
        asks: ``(N, F)`` int8.
        facts: ``(M, F)`` int8.

    Returns:
        ``right`` where everything that is asked for is so, ``wrong`` where something is not. A text that asks for
        nothing matches no image, and none is wrong.
    """
    wanted, unwanted = (asks == 1).float(), (asks == 0).float()
    true, false = (facts == 1).float(), (facts == 0).float()
    fulfilled = wanted @ true.T + unwanted @ false.T
    wrong = wanted @ false.T + unwanted @ true.T > 0
    asked = (wanted + unwanted).sum(1, keepdim=True)
    return Matches((fulfilled == asked) & (asked > 0), wrong)


def same_photo(first: Tensor, second: Tensor) -> Tensor:
    """Return whether images are views of one photograph, ``(N, M)`` bool, of the numbers ``(N,)`` and ``(M,)``."""
    return (first[:, None] == second[None]) & (first != UNKNOWN)[:, None]
