"""A method whose maps come with a note."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmgrad_explain.attention.methods.base import Method, MethodMaps, Needs
    from mmgrad_explain.attention.methods.run import Run
    from mmgrad_explain.notes import Note


@dataclass(frozen=True)
class Noted:
    """Another method, whose maps say what a reader should know of them.

    Attributes:
        method: Makes the maps.
        note: What is said of all of them.
    """

    method: Method
    note: Note

    @property
    def name(self) -> str:
        """The name of the method."""
        return self.method.name

    @property
    def differentiable(self) -> bool:
        """Whether the method's maps can be differentiated."""
        return self.method.differentiable

    @property
    def needs(self) -> Needs:
        """What the method needs."""
        return self.method.needs

    def maps(self, run: Run) -> MethodMaps:
        """Make the maps of the method, with the note."""
        made = self.method.maps(run)
        return replace(made, notes=(*made.notes, self.note))
