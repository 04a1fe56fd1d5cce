"""Maps of several methods on one image and text, side by side with their check figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.drawing import draw_map
from mmgrad_explain.explanation.map_check import SAME_MAP
from mmgrad_explain.explanation.warning_marks import mark_of
from mmgrad_explain.images.provenance import attach_provenance
from mmgrad_explain.images.saving import safe_save
from mmgrad_explain.images.tile_grid import GridTile, draw_tile_grid
from mmgrad_explain.images.tiles import shrink
from mmgrad_explain.notes import texts_of

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from PIL import Image

    from mmgrad_explain.explanation.map_check import MapCheck
    from mmgrad_explain.explanation.result import Explanation

MISSING = "–"


FIGURES: Mapping[str, tuple[str, str]] = {
    "occlusion": ("occlusion", "correlation with how much the score changes when a place is hidden; 1 is best"),
    "deletion": ("deletion", "how much faster the score falls than in random order; above 0 is better than chance"),
    "text": ("other text", "distance to the map of an unrelated text; near 0 the map does not depend on the text"),
}
"""The check figures by the name of their attribute: heading and meaning."""


@dataclass(frozen=True)
class ComparedMap:
    """The map of one method.

    Attributes:
        name: The method, with its layer where layers are compared.
        explanation: The map; None where the method refuses the model.
        check: Its figures; None where they were not asked for, or could not be had.
        reason: Why there is no map, or no check.
    """

    name: str
    explanation: Explanation | None
    check: MapCheck | None = None
    reason: str = ""


@dataclass(frozen=True)
class Comparison:
    """Maps of several methods on one image and text.

    Attributes:
        image: The image that the maps are of.
        text: The text.
        maps: One a method, in the order that was asked for.
        target: Whether the maps are those of the target image.
    """

    image: Image.Image
    text: str
    maps: tuple[ComparedMap, ...]
    target: bool = False

    @property
    def drawn(self) -> tuple[ComparedMap, ...]:
        """The methods that have a map."""
        return tuple(one for one in self.maps if one.explanation is not None)

    @property
    def refused(self) -> dict[str, str]:
        """The methods that refuse the model, each with the reason."""
        return {one.name: one.reason for one in self.maps if one.explanation is None}

    def notes(self) -> list[str]:
        """Return what a reader should know of the maps; what is not said of all of them with the method's name."""
        of_each = {one.name: texts_of(one.explanation.notes) for one in self.drawn if one.explanation is not None}
        of_all = [text for text in next(iter(of_each.values()), []) if all(text in of for of in of_each.values())]
        return of_all + [f"{name}: {text}" for name, of in of_each.items() for text in of if text not in of_all]

    def best(self) -> ComparedMap | None:
        """Return the map that agrees best with occlusion; None without check figures.

        Occlusion maps do not count, nor do those that hardly change with the text.
        """
        known = [
            one
            for one in self.drawn
            if one.check is not None
            and one.check.occlusion is not None
            and (one.check.text is None or one.check.text >= SAME_MAP)
            and not _is_reference(one)
        ]
        return max(known, key=lambda one: _value(one, "occlusion") or 0.0, default=None)

    def figure(self, *, columns: int = 4, side: int = 300, **colours: Any) -> Image.Image:
        """Draw the image and the maps, each with its check figures; methods that refuse the model are named below.

        Maps that do not stand the check, or come with a warning, are marked as in ``Explanation.overlay``.

        Args:
            columns: How many stand beside one another at most; rows are made about equally long.
            side: The longest side of an image, in pixels.
            **colours: ``alpha``, ``colormap``, ``threshold`` and ``contour``, as for
                :meth:`~mmgrad_explain.explanation.Explanation.overlay`.

        Raises:
            InputError: ``columns``, ``side`` or a colour cannot be used.
        """
        if side < 1:
            raise InputError(f"side must be at least 1 pixel, got {side}")
        small = shrink(self.image, 2 * side, 2 * side)
        tiles = [GridTile(small, "target" if self.target else "image")]
        for one in self.maps:
            if one.explanation is not None:
                drawn = draw_map(one.explanation, 0, small, target=self.target, **colours)
                mark = mark_of(one.explanation, target=self.target, check=one.check)
                tiles.append(GridTile(drawn, one.name, _lines(one), _remark(one, marked=mark is not None), mark))
        below = [f"{name}: no map: {reason}" for name, reason in self.refused.items()]
        if any(one.check is not None for one in self.maps):
            below += [f"{heading}: {meaning}." for heading, meaning in FIGURES.values()]
        sheet = draw_tile_grid(tiles, columns=columns, side=side, title=self.text, below=below)
        model = next((one.explanation.model for one in self.maps if one.explanation is not None), "")
        return attach_provenance(sheet, {"text": self.text, "model": model, "maps": self.records()})

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False, **options: Any) -> None:
        """Write :meth:`figure` to a file, whole or not at all; the file says where the maps came from.

        Args:
            path: A PNG, JPEG or WebP file.
            overwrite: Replace the file if it exists.
            **options: Of :meth:`figure`.

        Raises:
            OutputExistsError: The file exists and ``overwrite`` is off.
            InputError: It cannot be written.
        """
        safe_save(self.figure(**options), path, overwrite=overwrite)

    def records(self) -> list[dict[str, Any]]:
        """Return a record for each method, ready for JSON."""
        found = []
        for one in self.maps:
            explanation = one.explanation
            record: dict[str, Any] = {"method": one.name, "drawn": explanation is not None}
            if explanation is not None:
                record |= {
                    "score_name": explanation.score_name,
                    "score": float(explanation.score[0]),
                    "layers": list(explanation.layer_names),
                    "flat": bool(explanation.flat[0]),
                    "notes": [str(note) for note in explanation.notes],
                }
            record |= {name: _value(one, name) for name in FIGURES}
            record |= {"verdict": one.check.verdict if one.check is not None else None, "reason": one.reason or None}
            found.append(record)
        return found

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return the heading and the cells of :meth:`table`."""
        head = ["method", *(heading for heading, _ in FIGURES.values()), "check"]
        rows = []
        for one in self.maps:
            word = (
                f"no map: {one.reason}" if one.explanation is None else one.check.verdict if one.check else one.reason
            )
            rows.append([one.name, *(_write(_value(one, name)) for name in FIGURES), word or MISSING])
        return head, rows

    def table(self) -> str:
        """Write the figures as a Markdown table; of methods that refuse the model the reason."""
        head, rows = self.rows()
        lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
        return "\n".join(lines)

    def __repr__(self) -> str:
        refused = f"; no map of {', '.join(self.refused)}" if self.refused else ""
        return f"Comparison({self.text!r}: {', '.join(one.name for one in self.drawn)}{refused})"

    def _repr_png_(self) -> bytes:
        from mmgrad_explain.explanation.notebook import png_bytes

        return png_bytes(self.figure())


def _is_reference(one: ComparedMap) -> bool:
    """Return whether a map is one of occlusion itself, so that its agreement with occlusion says nothing."""
    return one.explanation is not None and one.explanation.method == "occlusion"


def _value(one: ComparedMap, name: str) -> float | None:
    value = None if one.check is None else getattr(one.check, name)
    return None if value is None else float(value)


def _write(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}"


def _lines(one: ComparedMap) -> tuple[tuple[str, str], ...]:
    if one.check is None:
        return ()
    return tuple((heading, _write(_value(one, name))) for name, (heading, _) in FIGURES.items())


def _remark(one: ComparedMap, *, marked: bool) -> str:
    if one.check is None and one.reason:
        return f"not checked: {one.reason}"
    flat = one.explanation is not None and bool(one.explanation.flat[0])
    return "empty map" if flat and not marked else ""
