"""A contact sheet of what was found in a gallery: the query with its map, each hit with its score and its own map."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.notebook import below, fine, lines, png_bytes, side_by_side, tile
from mmgrad_explain.images.overlay import blend, panel
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.notes import Note, join_notes

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    from mmgrad_explain.explanation.result import Explanation
    from mmgrad_explain.gallery.gallery import Hit, Retrieval

_GROUND = (255, 255, 255)
_MOST = 12  # hits that a notebook shows; the rest is counted
_SMALL = {"width": 200, "height": 130}  # of a hit there, in CSS pixels


@dataclass(frozen=True)
class RetrievalMaps:
    """The maps of a query and of what it found.

    Attributes:
        found: What they are of.
        query: The query's, of the model's own default score.
        hits: By rank, the explanation that has a hit's map (as that of the target) and its place there.
    """

    found: Retrieval
    query: Explanation
    hits: Mapping[int, tuple[Explanation, int]]

    @property
    def notes(self) -> tuple[Note, ...]:
        """What a reader should know of the query and its map; :meth:`notes_of` has what is of one hit's map."""
        return join_notes([*self.found.notes, *self.query.notes], len(self.query))

    def notes_of(self, rank: int) -> tuple[Note, ...]:
        """Give the notes on a hit's map that are not of the query as well; none of a hit without a map."""
        if rank not in self.hits:
            return ()
        explanation, index = self.hits[rank]
        known = {(note.kind, note.text) for note in self.notes}
        return tuple(note for note in explanation.notes_of(index) if (note.kind, note.text) not in known)

    def heatmap(self, rank: int) -> npt.NDArray[np.float32]:
        """A hit's map: ``(H, W)`` on the hit's own pixels, in [0, 1]; zeros say nowhere."""
        explanation, index = self.hits[rank]
        return explanation.heatmap(index, target=True)

    def sheet(
        self,
        *,
        height: int = 200,
        columns: int = 3,
        alpha: float = 0.7,
        colormap: str = "turbo",
        threshold: float = 0.0,
    ) -> Image.Image:
        """Draw them.

        Args:
            height: Of each picture, in pixels.
            columns: Hits in a row, each with its map beside it.
            alpha: Opacity of the maps, in [0, 1].
            colormap: Name of their colours.
            threshold: Where a map is below this share of its brightest point the picture stays as it is; in [0, 1).

        Raises:
            InputError: ``alpha`` or ``threshold`` is out of range, or ``colormap`` is unknown.
        """
        colours: dict[str, Any] = {"alpha": alpha, "colormap": colormap, "threshold": threshold}
        drawn = blend(self.found.image, self.query.heatmap(), **colours)
        asked = self.query.score_name
        rows = [panel([self.found.image, drawn], ["query", f"where: {asked}"], height=height, title=self.found.text)]
        hits = self.found.hits
        for start in range(0, len(hits), columns):
            tiles: list[Any] = []
            captions: list[str] = []
            for hit in hits[start : start + columns]:
                name = f"{hit.rank}. {Path(hit.path).name}"
                if hit.rank not in self.hits:
                    tiles.append(Image.new("RGB", (height, height), (230, 230, 230)))
                    captions.append(f"{name} {hit.score:.3f} ({hit.state})")
                    continue
                explanation, index = self.hits[hit.rank]
                picture = (explanation.targets or ())[index]
                heat = self.heatmap(hit.rank)
                tiles += [picture, blend(picture, heat, **colours)]
                captions += [f"{name} {hit.score:.3f}", _what(explanation, heat)]
            rows.append(panel(tiles, captions, height=height))
        sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), _GROUND)
        top = 0
        for row in rows:
            sheet.paste(row, (0, top))
            top += row.height
        return sheet

    def _repr_png_(self) -> bytes:
        return png_bytes(self.sheet())

    def _repr_html_(self) -> str:
        drawn = Image.fromarray(blend(fine(self.found.image), self.query.heatmap(), alpha=0.7))
        where = tile(drawn, f"where: {self.query.score_name}", "where the query's map is bright")
        return _page(self.found, where, self, self.notes)


def retrieval_html(found: Retrieval) -> str:
    """Show what was asked and found as a notebook shows it: the hits' pictures, where their files can be read."""
    return _page(found, "", None, found.notes)


def _page(found: Retrieval, where: str, maps: RetrievalMaps | None, notes: tuple[Note, ...]) -> str:
    """The query above, the hits below, each with its map where there is one."""
    asked = side_by_side([tile(found.image, "query", "the query picture"), where])
    hits = side_by_side([_hit(hit, maps) for hit in found.hits[:_MOST]], 16)
    left = len(found.hits) - _MOST
    more = f"and {left} more" if left > 0 else ""
    said = lines([more, *(f"note: {note}" for note in notes)])
    return f"<div>{asked}<div><b>{escape(found.text)}</b></div>{hits}{said}</div>"


def _what(explanation: Explanation, heat: npt.NDArray[np.float32]) -> str:
    """What to write below a hit's map: why it was found, or another question."""
    asked = "why" if explanation.score_name == "similarity" else f"where: {explanation.score_name}"
    return asked if heat.any() else f"{asked}: the map is empty"


def _hit(hit: Hit, maps: RetrievalMaps | None) -> str:
    caption = f"{hit.rank}. {Path(hit.path).name} {hit.score:.3f}"
    if maps is not None and hit.rank in maps.hits:
        explanation, index = maps.hits[hit.rank]
        picture, heat = (explanation.targets or ())[index], maps.heatmap(hit.rank)
        why = tile(
            Image.fromarray(blend(fine(picture), heat, alpha=0.7)),
            _what(explanation, heat),
            f"where hit {hit.rank} matches",
            **_SMALL,
        )
        own = lines(f"note: {note}" for note in maps.notes_of(hit.rank))
        return f"<div>{side_by_side([tile(picture, caption, f'hit {hit.rank}', **_SMALL), why], 4)}{below(own)}</div>"
    if hit.state == "there":
        try:
            return tile(open_image(hit.path), caption, f"hit {hit.rank}", **_SMALL)
        except InputError:
            return f"<div>{lines([caption, 'cannot be read'])}</div>"
    return f"<div>{lines([caption, hit.state])}</div>"
