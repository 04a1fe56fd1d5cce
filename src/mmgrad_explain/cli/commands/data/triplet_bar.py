"""A progress bar for the commands that make triplets."""

from __future__ import annotations

from mmgrad_explain._system.progress import Bar


class TripletBar(Bar):
    """Shows how many triplets are made.

    Args:
        count: How many there will be; None where that is not known.
    """

    def __init__(self, count: int | None) -> None:
        super().__init__()
        self.count = count

    def __call__(self, triplets: int, photographs: int | None = None) -> None:
        """Show how many triplets there are, and from how many photographs; no more than ``count`` are shown."""
        done = triplets if self.count is None else min(triplets, self.count)
        self.show("triplets", done, self.count, "" if photographs is None else f"from {photographs} photographs")
