"""A visitor's search in a gallery, step by step: a hit becomes the next reference, and one can go back."""

from __future__ import annotations

import html
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from mmgrad_explain.gallery.results import Hit


@dataclass(frozen=True)
class SearchStep:
    """One search and its hits.

    Attributes:
        text: What should change.
        reference: The hit of the step before that is the reference; None where the visitor uploaded one.
        name: Name of the reference.
        content: The file of an uploaded reference.
        hits: The hits.
    """

    text: str
    reference: Hit | None
    name: str
    content: bytes = b""
    hits: tuple[Hit, ...] = ()

    @property
    def rank(self) -> int | None:
        """Rank of the hit that is the reference."""
        return None if self.reference is None else self.reference.rank


@dataclass(frozen=True)
class SearchHistory:
    """The steps of a visitor's search; each change gives a new history.

    Attributes:
        steps: The steps so far.
        chosen: The hit of the last step that is the next reference.
    """

    steps: tuple[SearchStep, ...] = ()
    chosen: Hit | None = None

    @property
    def reference(self) -> Hit | None:
        """The hit that is the next reference; None where the visitor uploads one."""
        return self.chosen or (self.steps[-1].reference if self.steps else None)

    @property
    def before(self) -> tuple[SearchStep, ...]:
        """The steps that the next one follows: a search with the same reference replaces the last step."""
        return self.steps if self.chosen is not None else self.steps[:-1]

    def find_hit(self, rank: Any) -> Hit:
        """Return a hit of the last step, to be the next reference.

        Raises:
            InputError: There is no such hit.
        """
        for hit in self.steps[-1].hits if self.steps else ():
            if hit.rank == rank and hit.state == "there":
                return hit
        raise InputError(f"there is no hit {rank} to go on with: search again")

    def go_back(self) -> SearchHistory:
        """Undo the choice of a hit, or else the last step.

        Raises:
            InputError: There is nothing to undo.
        """
        if self.chosen is not None:
            return replace(self, chosen=None)
        if len(self.steps) < 2:
            raise InputError("there is no search before this one")
        return SearchHistory(self.steps[:-1])

    def as_html(self) -> str:
        """Write the steps as an HTML list; empty where there are none."""
        items = [
            f"<li>{html.escape(_reference_label(step.reference, step.name))}: {_quote(step.text)}</li>"
            for step in self.steps
        ]
        if self.chosen is not None:
            items.append(
                f"<li>{html.escape(_reference_label(self.chosen, Path(self.chosen.path).name))}: <em>and now?</em></li>"
            )
        return f'<ol class="mmgrad-walk" aria-label="The search so far">{"".join(items)}</ol>' if items else ""


def _reference_label(reference: Hit | None, name: str) -> str:
    return name if reference is None else f"hit {reference.rank}, {name}"


def _quote(text: str) -> str:
    return f"<q>{html.escape(text)}</q>"
