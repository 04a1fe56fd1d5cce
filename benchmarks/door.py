"""Which bundled model answers when none is named, and how often a map of what no model was made for is not marked.

    python benchmarks/door.py --own clothing:FOLDER --photos FOLDER FOLDER
    python benchmarks/door.py --quick     # only drawn scenes and noise: needs no data

Sentences about garments, shapes, other things, looks alone and nothing are asked about each of some images: drawn
scenes, photographs of a model's own kind, other photographs, noise. Counted are the models that answer, and the maps
without a note that the image is unlike what the model that answers was trained on, and those without any mark: neither
this note nor one on words that it does not know, or on a thing that it does not find. Of a folder of more than 100
images the half is taken that ``training.familiarity_fit`` leaves alone. Prints two Markdown tables.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from mmgrad_explain.composers.bundled import choose_bundled
from mmgrad_explain.composers.content_words import find_unknown_words
from mmgrad_explain.composers.familiar_images import note_absent, strangeness_of, watch_presence
from mmgrad_explain.composers.load import BUNDLED, load_composer
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.metrics.report import confidence_half_width, environment_line, markdown_table
from mmgrad_explain.training.familiarity_fit import draw_scenes_of_every_kind
from mmgrad_explain.training.familiarity_views import list_images

if TYPE_CHECKING:
    from mmgrad_explain.composers.base import Composer

SERIES = 40_023
SENTENCES = {
    "a garment": ("make the dress red", "a green coat instead", "the shoes should be black"),
    "a shape": ("make the circle red", "remove the star on the left", "a bigger square"),
    "another thing": ("make the dog brown", "remove the car", "a bigger bottle"),
    "a look": ("make it red", "a bit darker"),
    "nothing": ("change it",),
}
"""Sentences by what they are about."""
BY_ANOTHER, OF_UNKNOWN = "by a model that was not made for the image", "of images that no model was made for"
_LARGEST = 640  # pixels of the longer side


@cache
def load(name: str) -> Composer:
    """Load a model once."""
    return load_composer(name)


def ask(image: Image.Image, text: str) -> tuple[str, bool, bool]:
    """Return the name of the model that answers, whether it finds the image strange, and whether its map is marked."""
    choice = choose_bundled([image], [text], load=load)
    strange = bool(strangeness_of(choice.composer, [image]) > 1)
    marked = strange or bool(find_unknown_words(choice.composer, [text]))
    if not marked and choice.composer.presence_layer:
        with torch.inference_mode(), watch_presence(choice.composer) as seen:
            choice.composer(**choice.composer.preprocess([image], [text]).tensors)
        marked = bool(note_absent(choice.composer, seen))
    return choice.name, strange, marked


def percent(values: list[bool]) -> str:
    """Write the share that is true, in percent, with its interval."""
    share = torch.tensor(values, dtype=torch.float64)
    return f"{100 * share.mean():.1f} ± {100 * confidence_half_width(share):.1f}"


def groups_of_images(options: argparse.Namespace) -> dict[str, tuple[str | None, list[Image.Image]]]:
    """Draw and open images: the name of each group, the model that was made for it, if one was, and the images."""
    count, rng = options.count, np.random.default_rng(SERIES)
    noise = [Image.fromarray(rng.integers(0, 255, (160, 120, 3), dtype=np.uint8)) for _ in range(max(2, count // 8))]
    groups: dict[str, tuple[str | None, list[Image.Image]]] = {
        "drawn scenes": ("reference", list(draw_scenes_of_every_kind(SERIES, count))),
        "noise": (None, noise),
    }
    named = [one.split(":", 1) for one in options.own]
    for owner, folder in [*named, *((None, one) for one in options.photos)]:
        if owner not in {*BUNDLED, None}:
            raise InputError(f"--own: {owner!r} is no bundled model ({', '.join(BUNDLED)})")
        files = list_images(Path(folder), held_out=True, without=options.without)
        images = [open_image(files[place]) for place in range(0, len(files), max(1, len(files) // count))][:count]
        for image in images:
            image.thumbnail((_LARGEST, _LARGEST))
        groups["/".join(Path(folder).parts[-2:])] = (owner, images)
    return groups


def parser() -> argparse.ArgumentParser:
    """Make the parser of the options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add("--own", nargs="*", default=[], metavar="MODEL:FOLDER", help="photographs that a bundled model was made for")
    add("--photos", nargs="*", default=[], metavar="FOLDER", help="photographs that no model was made for")
    add("--count", type=int, default=80, metavar="N", help="images of each kind (default: %(default)s)")
    add("--without", nargs="*", default=[], metavar="NAME", help="names, without endings, of files to leave out")
    add("--quick", action="store_true", help="few drawn scenes and noise, as a test of the whole path")
    return made


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    options = parser().parse_args(argv)
    if options.quick:
        options.count = 2
    table = []
    silent: dict[str, list[bool]] = {BY_ANOTHER: [], OF_UNKNOWN: []}
    for name, (owner, images) in groups_of_images(options).items():
        for about, texts in SENTENCES.items():
            answers = [ask(image, text) for image in images for text in texts]
            counted = Counter(model for model, _, _ in answers)
            shares = [percent([not strange for _, strange, _ in answers]), percent([not one for _, _, one in answers])]
            table.append([name, about, str(len(answers)), *(str(counted[model]) for model in BUNDLED), *shares])
            silent[BY_ANOTHER] += [not marked for model, _, marked in answers if model != owner]
            silent[OF_UNKNOWN] += [not marked for _, _, marked in answers if owner is None]
    print(f"{environment_line()}\n\nScene series {SERIES}:\n")
    print(markdown_table(["images", "sentences about", "maps", *BUNDLED, "image not noted %", "no mark %"], table))
    print()
    rows = [[name, str(len(values)), percent(values)] for name, values in silent.items()]
    print(markdown_table(["maps", "count", "no mark %"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
