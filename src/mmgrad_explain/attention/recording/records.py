"""What one call of a layer returned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


@dataclass(frozen=True)
class Record:
    """What one call of a layer returned.

    Attributes:
        activation: The layer's output tensor, part of the graph that the score is computed on.
        image_size: (H, W) in pixels of the image that this call worked on; None where there was none.
        version: The activation's version counter when it was recorded; a change in place raises it.
        severed: Whether gradients were off when the layer ran, so that nothing after it is connected to the activation.
        rows: The rows of the batch that belong to this record; None for all.
        image: Which of several input images its cells belong to; None where there are not several.
        images: All input images that it depends on.
        call: How often the layer had run before.
        others: All outputs of the call by part (``"[2]"``), where it returned several grids and no part was named.
        passed_on: The graph node of the clone that was passed on for this part, where there are several parts.
    """

    activation: Tensor
    image_size: tuple[int, int] | None
    version: int
    severed: bool
    rows: tuple[int, ...] | None = None
    image: int | None = None
    images: tuple[int, ...] = ()
    call: int = 0
    others: Mapping[str, Record] = field(default_factory=dict, repr=False)
    passed_on: Any = field(default=None, repr=False)
