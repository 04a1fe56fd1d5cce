"""How far a command has come; see :class:`~mmgrad_explain._system.terminal.Bar`."""

from __future__ import annotations

from mmgrad_explain._system.terminal import Bar


class Steps(Bar):
    """Of a command that does one thing after the other."""

    def __call__(self, what: str, done: int, of: int) -> None:
        """Show how many of how many there are of what is being done."""
        self.show(what, done, of)


class Triplets(Bar):
    """Of a command that makes triplets.

    Args:
        count: How many there will be; None where that is not known.
    """

    def __init__(self, count: int | None) -> None:
        super().__init__()
        self.count = count

    def __call__(self, triplets: int, photographs: int | None = None) -> None:
        """Show how many triplets there are, of which the last may be too many, and from how many photographs."""
        done = triplets if self.count is None else min(triplets, self.count)
        self.show("triplets", done, self.count, "" if photographs is None else f"from {photographs} photographs")
