"""How far a command has come that does one thing after the other."""

from __future__ import annotations

from mmgrad_explain.cli.progress import Line


class Steps(Line):
    """Each step takes the place of the one before."""

    def __call__(self, what: str, done: int, of: int) -> None:
        """Show how many of how many there are of what is being done."""
        self.write(f"{what}: {done} of {of}")
