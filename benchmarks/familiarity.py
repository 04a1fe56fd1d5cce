"""How often the models note that an image is unlike their training data: missed notes and false alarms.

    python benchmarks/familiarity.py --model reference --photos FOLDER FOLDER
    python benchmarks/familiarity.py --model clothing --own FOLDER --photos FOLDER
    python benchmarks/familiarity.py --quick     # only drawn scenes: needs no data

Photographs are shown whole, in other shapes (square, 4:3, 1:2, zoomed, with bars, mirrored), and in views: crops,
small, JPEG, grey, blurred, turned, tilted, other light, noise. Of a folder of more than 100 images the half is taken
that ``training.familiarity_fit`` leaves alone. Scenes are of a series that neither training nor the fit draws from:
those of training and the variants that training never shows, apart from those on photographs, which are counted by
themselves. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from mmgrad_explain.composers.familiar_images import strangeness_of
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.data.scenes.options import SceneOptions
from mmgrad_explain.data.scenes.scene import scenes
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.metrics.report import confidence_half_width, environment_line, markdown_table
from mmgrad_explain.training.familiarity_fit import KINDS_OF_SCENES, SIZES, draw_scenes_of_every_kind
from mmgrad_explain.training.familiarity_views import FRAMINGS, list_images, make_views

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mmgrad_explain.composers.base import Composer

SERIES = 40_021
BATCH = 32


def strange_by_kind(composer: Composer, named: Iterable[tuple[str, Image.Image]]) -> dict[str, list[bool]]:
    """Find which images get the note, by the name of their kind."""
    found: dict[str, list[bool]] = defaultdict(list)
    some: list[tuple[str, Image.Image]] = []

    def flush() -> None:
        strange = strangeness_of(composer, [image for _, image in some]) > 1
        for (name, _), one in zip(some, strange.tolist(), strict=True):
            found[name].append(one)
        some.clear()

    for one in named:
        some.append(one)
        if len(some) == BATCH:
            flush()
    if some:
        flush()
    return dict(found)


def rows(title: str, found: dict[str, list[bool]], *, detailed: bool) -> list[list[str]]:
    """Write a row for all images together, and one for each kind."""
    every = [one for kind in found.values() for one in kind]
    lines = [_row(title, every)]
    return lines + ([_row(f"- {kind}", some) for kind, some in found.items()] if detailed and len(found) > 1 else [])


def _row(name: str, strange: list[bool]) -> list[str]:
    noted = torch.tensor(strange, dtype=torch.float64)
    return [
        name,
        str(len(strange)),
        f"{100 * noted.mean():.1f} ± {100 * confidence_half_width(noted):.1f}",
        f"{100 * (1 - noted.mean()):.1f}",
    ]


def draw_on_photographs(folders: Sequence[Path], count: int) -> Iterable[Image.Image]:
    """Draw scenes with shapes on photographs."""
    files = [file for folder in folders for file in list_images(folder, held_out=True)][:60]
    backdrops = tuple(np.asarray(open_image(file)) for file in files)
    for scene in scenes(SERIES, count, edits=1, options=SceneOptions(backdrops=backdrops)):
        yield Image.fromarray(scene.reference)


def parser() -> argparse.ArgumentParser:
    """Make the parser of the options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add("--model", default="reference", help="bundled name, or folder of a model with a familiarity file")
    add("--photos", type=Path, nargs="*", default=[], metavar="FOLDER", help="photographs")
    add("--own", type=Path, nargs="*", default=[], metavar="FOLDER", help="photographs of the model's own kind")
    add("--views", type=int, default=2000, metavar="N", help="views of each folder (default: %(default)s)")
    add("--scenes", type=int, default=2000, metavar="N", help="scenes (default: %(default)s)")
    add("--without", nargs="*", default=[], metavar="NAME", help="names, without endings, of files to leave out")
    add("--quick", action="store_true", help="few drawn scenes, as a test of the whole path")
    return made


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    options = parser().parse_args(argv)
    if options.quick:
        options.scenes = len(SIZES) * len(KINDS_OF_SCENES)
    composer = load_composer(options.model)
    table: list[list[str]] = []
    drawn = enumerate(draw_scenes_of_every_kind(SERIES, options.scenes))
    named = ((_scene_name(number), image) for number, image in drawn)
    table += rows("drawn scenes, all kinds", strange_by_kind(composer, named), detailed=True)
    for folder in (*options.own, *options.photos):
        files = list_images(folder, held_out=True, without=options.without)
        own = "own: " if folder in options.own else ""
        title = f"{own}{folder.parent.name}/{folder.name}: {len(files)} photographs"
        framed = ((name, frame(open_image(file))) for name, frame in FRAMINGS.items() for file in files)
        table += rows(f"{title}, in other shapes", strange_by_kind(composer, framed), detailed=True)
        shown = make_views(files, options.views, SERIES)
        table += rows(f"{title}, in views", strange_by_kind(composer, shown), detailed=True)
    if options.photos:
        laid = (("", image) for image in draw_on_photographs(options.photos, options.scenes // 8))
        table += rows("shapes laid on photographs", strange_by_kind(composer, laid), detailed=False)
    print(f"{environment_line()}\n\n{composer.name}, scene series {SERIES}:\n")
    print(markdown_table(["images", "count", "noted %", "silent %"], table))
    return 0


def _scene_name(number: int) -> str:
    options = KINDS_OF_SCENES[number // 2 % len(KINDS_OF_SCENES)]
    parts = [f"{options.objects[0]} to {options.objects[1]} objects", f"pairs {options.pairs}"]
    return ", ".join([*parts, *([] if options.noise else ["no noise"])])


if __name__ == "__main__":
    sys.exit(main())
