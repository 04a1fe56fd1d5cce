"""Photographs to be looked at: one sheet with each photograph, its map, its text, the model, and what marks the map.

    python benchmarks/contact_sheet.py sentences.jsonl --out sheet.png
    python benchmarks/contact_sheet.py --quick     # drawn images, as a test of the whole path

A line of the file is an object with ``file``, below the folder of the file, ``text``, and if you like ``right``: what
would be right. Each text is explained as ``explain(photograph, text)`` does it, by the model that is chosen, unless
``--model`` names one. A sheet holds ``--page`` photographs; further ones go to ``sheet-2.png`` and so on. Prints a
Markdown table with the same numbers and an empty column for your verdicts.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mmgrad_explain import explain
from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.warning_marks import mark_of
from mmgrad_explain.images.overlay import blend
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.images.tile_grid import GridTile, draw_tile_grid
from mmgrad_explain.images.tiles import fit_size
from mmgrad_explain.metrics.report import environment_line, markdown_table

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER = ["", "file", "text", "right would be", "model", "marked", "verdict"]


@dataclass(frozen=True)
class Case:
    """A photograph with a text.

    Attributes:
        file: The photograph.
        text: What should change.
        right: What would be right, for who looks at it.
    """

    file: Path
    text: str
    right: str = ""


def read_cases(file: Path) -> list[Case]:
    """Read a file of one object a line.

    Raises:
        InputError: A line is no object with ``file`` and ``text``, or there is none.
    """
    cases = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            found = json.loads(line)
            if not isinstance(found, dict) or not {"file", "text"} <= found.keys():
                raise InputError(f"{file}, line {number}: an object with file and text is needed")
            cases.append(Case(file.parent / found["file"], found["text"], found.get("right", "")))
    if not cases:
        raise InputError(f"{file} names no photograph")
    return cases


def draw_case(number: int, case: Case, model: str | None, side: int, *, check: bool) -> tuple[GridTile, list[str]]:
    """Explain a case, and draw it: the photograph beside its map. Also its row of the table."""
    image = open_image(case.file)
    explanation = explain(image, case.text, model=model)
    if check:
        explanation = explanation.check()
    mark = mark_of(explanation)
    small = image.resize(fit_size(image, side, side), Image.Resampling.LANCZOS)
    pair = Image.new("RGB", (2 * small.width + 4, small.height), "white")
    pair.paste(small, (0, 0))
    heat = explanation.heatmap(0, size=(small.height, small.width))
    pair.paste(Image.fromarray(np.asarray(blend(small, heat, alpha=0.65))), (small.width + 4, 0))
    chosen = explanation.model or ""
    tile = GridTile(pair, f"{number}. {case.text}", (("model", chosen),), mark=mark)
    marked = "" if mark is None else mark.text
    return tile, [str(number), case.file.name, case.text, case.right, chosen, marked, ""]


def draw_sheets(tiles: Sequence[GridTile], out: Path, *, page: int, columns: int, side: int) -> list[Path]:
    """Write sheets of at most ``page`` tiles; give their files."""
    files = []
    for start in range(0, len(tiles), page):
        file = out if not start else out.with_stem(f"{out.stem}-{start // page + 1}")
        draw_tile_grid(tiles[start : start + page], columns=columns, side=2 * side).save(file)
        files.append(file)
    return files


def generated_cases(folder: Path) -> Path:
    """Write two drawn images and their texts."""
    for name, colour in (("a", (200, 30, 30)), ("b", (30, 30, 200))):
        pixels = np.full((64, 64, 3), 220, np.uint8)
        pixels[20:44, 20:44] = colour
        Image.fromarray(pixels).save(folder / f"{name}.png")
    lines = [{"file": "a.png", "text": "make the red square blue", "right": "the square"}]
    lines += [{"file": "b.png", "text": "remove the zebra"}]
    file = folder / "sentences.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


def parser() -> argparse.ArgumentParser:
    """Make the parser of the options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add("sentences", type=Path, nargs="?", metavar="FILE", help="photographs and texts, an object a line")
    add("--out", type=Path, default=Path("sheet.png"), metavar="PICTURE", help="the sheet (default: %(default)s)")
    add("--model", help="bundled name, model folder or hub id (default: the one that is chosen)")
    add("--check", action="store_true", help="check each map as well, and mark those that fail")
    add("--page", type=int, default=20, help="photographs on a sheet (default: %(default)s)")
    add("--columns", type=int, default=5, help="of the sheet (default: %(default)s)")
    add("--side", type=int, default=260, help="longer side of a photograph, pixels (default: %(default)s)")
    add("--quick", action="store_true", help="drawn images, as a test of the whole path")
    return made


def main(argv: list[str] | None = None) -> int:
    """Draw and print."""
    options = parser().parse_args(argv)
    if options.quick:
        folder = Path(tempfile.mkdtemp())
        options.sentences, options.out, options.page, options.side = generated_cases(folder), folder / "s.png", 1, 96
    if options.sentences is None:
        raise InputError("name a FILE of photographs and texts")
    cases = enumerate(read_cases(options.sentences), start=1)
    drawn = [draw_case(number, case, options.model, options.side, check=options.check) for number, case in cases]
    files = draw_sheets(
        [tile for tile, _ in drawn], options.out, page=options.page, columns=options.columns, side=options.side
    )
    print(f"{environment_line()}\n\n{', '.join(map(str, files))}\n")
    print(markdown_table(HEADER, [row for _, row in drawn]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
