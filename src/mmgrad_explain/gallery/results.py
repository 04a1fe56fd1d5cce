"""Results of a search in a gallery: hits, their maps, and the contact sheet that shows them."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.notebook import (
    figure_html,
    place_below,
    png_bytes,
    shrink_for_screen,
    side_by_side,
    small_print,
)
from mmgrad_explain.explanation.picture_records import map_record, picture_record
from mmgrad_explain.explanation.warning_marks import mark_of
from mmgrad_explain.images.marks import Mark, add_mark
from mmgrad_explain.images.overlay import blend
from mmgrad_explain.images.panels import panel
from mmgrad_explain.images.provenance import attach_provenance
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.notes import Note, join_notes

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    from mmgrad_explain.explanation.result import Explanation

_BACKGROUND = (255, 255, 255)
_MOST_SHOWN = 12  # hits that a notebook shows; the rest is counted
_TILE = {"width": 200, "height": 130}  # of a hit in a notebook, in CSS pixels


@dataclass(frozen=True)
class Hit:
    """An image of the gallery that was found.

    Attributes:
        rank: From 1 on.
        path: Path of its file.
        score: Cosine of the query's embedding and the image's, in [-1, 1].
        digest: SHA-256 of its content.
        copies: Other files with the same content, sorted.
        state: ``"there"``, ``"changed"`` since it was indexed, or ``"gone"``.
    """

    rank: int
    path: str
    score: float
    digest: str
    copies: tuple[str, ...] = ()
    state: str = "there"


@dataclass(frozen=True)
class Retrieval:
    """A query and its hits.

    Attributes:
        image: The reference image.
        text: What should change.
        hits: Best first; of equal scores, by path.
        notes: What a reader should know.
        reference: SHA-256 of the reference's file; None if it did not come from one.
    """

    image: Image.Image
    text: str
    hits: tuple[Hit, ...]
    notes: tuple[Note, ...] = ()
    reference: str | None = None

    def _repr_html_(self) -> str:
        return _page_html(self, "", None, self.notes)


@dataclass(frozen=True)
class RetrievalMaps:
    """The maps of a query and of its hits.

    Attributes:
        found: The query and its hits.
        query: The query's explanation, of the model's default score.
        hits: By rank, the explanation that holds a hit's map (as that of the target) and the hit's index there.
    """

    found: Retrieval
    query: Explanation
    hits: Mapping[int, tuple[Explanation, int]]

    @property
    def notes(self) -> tuple[Note, ...]:
        """What a reader should know about the query and its map; :meth:`notes_of` has the notes on a hit's map."""
        return join_notes([*self.found.notes, *self.query.notes], len(self.query))

    def notes_of(self, rank: int) -> tuple[Note, ...]:
        """Return the notes on a hit's map that are not about the query too; none for a hit without a map."""
        if rank not in self.hits:
            return ()
        explanation, index = self.hits[rank]
        known = {(note.kind, note.text) for note in self.notes}
        return tuple(note for note in explanation.notes_of(index) if (note.kind, note.text) not in known)

    def heatmap(self, rank: int) -> npt.NDArray[np.float32]:
        """Return a hit's map: ``(H, W)`` on the hit's own pixels, in [0, 1]; it is zero everywhere if it is empty."""
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
        """Draw a contact sheet: the query with its map, and each hit with its score and its map.

        Args:
            height: Height of each image, in pixels.
            columns: Hits in a row, each with its map beside it.
            alpha: Opacity of the maps, in [0, 1].
            colormap: Name of the maps' colours.
            threshold: Where a map is below this share of its maximum, the image is left as it is; in [0, 1).

        Raises:
            InputError: ``alpha`` or ``threshold`` is out of range, or ``colormap`` is unknown.
        """
        colours: dict[str, Any] = {"alpha": alpha, "colormap": colormap, "threshold": threshold}
        drawn = blend(self.found.image, self.query.heatmap(), **colours)
        captions = ["query", f"where: {self.query.score_name}"]
        marks: list[Mark | None] = [None, mark_of(self.query)]
        rows = [panel([self.found.image, drawn], captions, height=height, title=self.found.text, marks=marks)]
        hits = self.found.hits
        for start in range(0, len(hits), columns):
            tiles: list[Any] = []
            captions, marks = [], list[Mark | None]()
            for hit in hits[start : start + columns]:
                name = f"{hit.rank}. {Path(hit.path).name}"
                if hit.rank not in self.hits:
                    tiles.append(Image.new("RGB", (height, height), (230, 230, 230)))
                    captions.append(f"{name} {hit.score:.3f} ({hit.state})")
                    marks.append(None)
                    continue
                explanation, index = self.hits[hit.rank]
                image = (explanation.targets or ())[index]
                heat = self.heatmap(hit.rank)
                tiles += [image, blend(image, heat, **colours)]
                captions += [f"{name} {hit.score:.3f}", _map_caption(explanation, heat)]
                marks += [None, mark_of(explanation, index, target=True)]
            rows.append(panel(tiles, captions, height=height, marks=marks))
        sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), _BACKGROUND)
        top = 0
        for row in rows:
            sheet.paste(row, (0, top))
            top += row.height
        return attach_provenance(sheet, self._record())

    def _record(self) -> dict[str, Any]:
        """Describe the maps of the sheet: the query's, then those of the hits with the names of their files."""
        record = picture_record(self.query)
        for hit in self.found.hits:
            if hit.rank in self.hits:
                explanation, index = self.hits[hit.rank]
                found = {"hit": hit.rank, "file": Path(hit.path).name, "similarity": hit.score}
                record["maps"].append({**map_record(explanation, index, target=True), **found})
        return record

    def check(self, *, progress: bool = False) -> None:
        """Find out how far the maps of the query and of the hits can be trusted; the sheet then marks those that fail.

        See :meth:`~mmgrad_explain.explanation.Explanation.check`.

        Raises:
            InputError: the maps cannot be checked.
        """
        self.query.check(progress=progress)
        for explanation in {id(maps): maps for maps, _ in self.hits.values()}.values():
            explanation.check(target=True, progress=progress)

    def _repr_png_(self) -> bytes:
        return png_bytes(self.sheet())

    def _repr_html_(self) -> str:
        drawn = Image.fromarray(blend(shrink_for_screen(self.found.image), self.query.heatmap(), alpha=0.7))
        drawn = add_mark(drawn, mark_of(self.query))
        where = figure_html(drawn, f"where: {self.query.score_name}", "where the query's map is bright")
        return _page_html(self.found, where, self, self.notes)


def _page_html(found: Retrieval, where: str, maps: RetrievalMaps | None, notes: tuple[Note, ...]) -> str:
    """Show the query above, the hits below, each with its map if it has one, as a notebook shows it."""
    query = side_by_side([figure_html(found.image, "query", "the query image"), where])
    hits = side_by_side([_hit_html(hit, maps) for hit in found.hits[:_MOST_SHOWN]], 16)
    left = len(found.hits) - _MOST_SHOWN
    more = f"and {left} more" if left > 0 else ""
    below_hits = small_print([more, *(f"note: {note}" for note in notes)])
    return f"<div>{query}<div><b>{escape(found.text)}</b></div>{hits}{below_hits}</div>"


def _map_caption(explanation: Explanation, heat: npt.NDArray[np.float32]) -> str:
    """Write the caption of a hit's map: "why" for the score that ranks the hits, else the score's name."""
    caption = "why" if explanation.score_name == "similarity" else f"where: {explanation.score_name}"
    return caption if heat.any() else f"{caption}: the map is empty"


def _hit_html(hit: Hit, maps: RetrievalMaps | None) -> str:
    caption = f"{hit.rank}. {Path(hit.path).name} {hit.score:.3f}"
    if maps is not None and hit.rank in maps.hits:
        explanation, index = maps.hits[hit.rank]
        image, heat = (explanation.targets or ())[index], maps.heatmap(hit.rank)
        drawn = Image.fromarray(blend(shrink_for_screen(image), heat, alpha=0.7))
        drawn = add_mark(drawn, mark_of(explanation, index, target=True))
        tiles = [
            figure_html(image, caption, f"hit {hit.rank}", **_TILE),
            figure_html(drawn, _map_caption(explanation, heat), f"where hit {hit.rank} matches", **_TILE),
        ]
        notes = small_print(f"note: {note}" for note in maps.notes_of(hit.rank))
        return f"<div>{side_by_side(tiles, 4)}{place_below(notes)}</div>"
    if hit.state == "there":
        try:
            return figure_html(open_image(hit.path), caption, f"hit {hit.rank}", **_TILE)
        except InputError:
            return f"<div>{small_print([caption, 'cannot be read'])}</div>"
    return f"<div>{small_print([caption, hit.state])}</div>"
