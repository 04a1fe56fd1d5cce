"""Describe a model's training images in its folder, so that unfamiliar images can be noted.

    python -m mmgrad_explain.training.familiarity_fit MODEL --config reference --unknown PHOTOGRAPHS
    python -m mmgrad_explain.training.familiarity_fit MODEL --config RUN/config.yaml --more FOLDER --unknown-scenes

An explanation of an image that is unlike all of them then has a note. Of a folder with more than 100 images one half,
chosen by their names, is kept for measuring (benchmarks/familiarity.py). The command prints the share of further
held-out training images that are called strange and, with ``--against``, how well the images of a folder are separated
from them; the share of these that looks familiar is kept as the model's breadth.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from mmgrad_explain.composers.familiar_images import describe_images
from mmgrad_explain.composers.familiarity import area_under_curve, fit_familiarity
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.data.scenes.options import SceneOptions
from mmgrad_explain.data.scenes.scene import scenes
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.training.config_file import load_config
from mmgrad_explain.training.familiarity_views import list_images, make_views
from mmgrad_explain.training.sources.kinds import build_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch import Tensor

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.training.config import TrainingConfig

SEEDS = {"fit": 71, "limit": 72, "check": 73, "unknown": 74, "more": 75}
"""Seeds of the images by purpose, so that none is used twice; photographs are held out as in training."""

SIZES = (96, 96, 32, 64, 128, 96, 224, 48, 320)
"""Sizes of scenes of every kind, pixels; a model sees larger ones at the size of its input."""

KINDS_OF_SCENES = tuple(
    SceneOptions(**options)
    for options in (
        {},
        {"pairs": "all"},
        {"objects": (1, 1)},
        {"noise": False},
        {"objects": (7, 10)},
        {"pairs": "held-out"},
        {"objects": (1, 2)},
        {"objects": (10, 12)},
    )
)
"""Kinds of scenes that training shows, and kinds that it never shows."""

OWN_VIEWS = ("whole", "framed", "light", "framed", "whole", "framed", "jpeg", "framed", "small", "framed")
"""Views of further images of the model's own kind."""

_AT_ONCE = 64  # images that are held together
_LARGEST = 512  # side of an image that is drawn to be shrunk, pixels

ALTERNATIVE = "for such pictures take a model that knows them (a folder or a hub id)"


def describe_source(composer: Composer, config: TrainingConfig, name: str, purpose: str, count: int) -> Tensor:
    """Describe images of one source, references and targets, ``(count, D)``.

    The images are drawn in several sizes and resized to the model's input, like the images of users.
    """
    processor: Any = composer.processor
    alone = {name: config.sources[name]}
    sizes = _sizes(processor.image_size)
    found: list[Tensor] = []
    step = 0
    for place, size in enumerate(sizes, start=1):  # one after the other, since a source keeps what it has read
        source = build_source(alone, size, held_out=purpose != "fit")
        while sum(map(len, found)) < count * place / len(sizes):
            batch = source.batch(SEEDS[purpose], step)
            images = np.concatenate([batch.references, batch.targets[:: len(batch.targets) // len(batch.references)]])
            found.append(_describe(composer, (Image.fromarray(one) for one in images)))
            step += 1
    return torch.cat(found)[:count]


def _sizes(own: int) -> list[int]:
    return [own, max(32, own // 2), max(own, min(4 * own, _LARGEST)), own, max(own, min(2 * own, _LARGEST))]


def _describe(composer: Composer, images: Iterable[Image.Image]) -> Tensor:
    """Describe images, some at a time, so that few are held."""
    every, found = iter(images), []
    while some := list(islice(every, _AT_ONCE)):
        found.append(describe_images(composer, some, composer.described_layers))
    return torch.cat(found)


def describe_unknown_images(
    composer: Composer, folders: Sequence[Sequence[Path]], options: argparse.Namespace
) -> Tensor | None:
    """Describe images that the model does not know: views of files, drawn scenes; None if there are none."""
    found = []
    for files in folders:
        made = (image for _, image in make_views(files, options.views, SEEDS["unknown"]))
        found.append(_describe(composer, made))
    if options.unknown_scenes:
        found.append(_describe(composer, draw_scenes_of_every_kind(SEEDS["unknown"], options.pictures // 2)))
    return torch.cat(found) if found else None


def draw_scenes_of_every_kind(seed: int, count: int) -> Iterator[Image.Image]:
    """Draw scenes and edited scenes of all kinds in turn."""
    for number in range(count):
        size, options = SIZES[number % len(SIZES)], KINDS_OF_SCENES[number // 2 % len(KINDS_OF_SCENES)]
        (one,) = scenes(seed, 1, size=size, edits=1, start=number, options=options)
        yield Image.fromarray(one.triplets[0].target if number % 2 else one.reference)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(argv)
    composer, config = load_composer(options.model), load_config(options.config, options.set)
    _check_layers(composer)
    unknown_files, more_files = (
        [list_images(folder, without=options.without) for folder in folders]
        for folders in (options.unknown, options.more)
    )
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    checks: dict[str, Tensor] = {}
    for name in config.sources:
        parts = [
            describe_source(composer, config, name, purpose, options.pictures) for purpose in ("fit", "limit", "check")
        ]
        seen[name], checks[name] = (parts[0], parts[1]), parts[2]
    if options.scene_variants:
        (name,) = config.sources
        two = [
            _describe(composer, draw_scenes_of_every_kind(SEEDS[purpose], options.pictures))
            for purpose in ("fit", "limit")
        ]
        seen[name] = torch.cat([seen[name][0], two[0]]), torch.cat([seen[name][1], two[1]])
    for files in more_files:
        (name,) = config.sources
        of_fit, of_limit = (
            _describe(
                composer, (one for _, one in make_views(files[start::2], options.views, SEEDS["more"], OWN_VIEWS))
            )
            for start in (0, 1)
        )
        seen[name] = torch.cat([seen[name][0], of_fit]), torch.cat([seen[name][1], of_limit])
    trained_on = options.trained_on or " and ".join(config.sources)
    unknown = describe_unknown_images(composer, unknown_files, options)
    found = fit_familiarity(
        seen, composer.described_layers, trained_on, options.alternative, unknown=unknown, rate=options.rate
    )
    strange = {name: found.strangeness(described) for name, described in checks.items()}
    result: dict[str, Any] = {"false alarms": {name: float((v > 1).float().mean()) for name, v in strange.items()}}
    if options.against:
        against = (open_image(path) for path in list_images(options.against))
        others, familiar = found.strangeness(_describe(composer, against)), torch.cat(list(strange.values()))
        result["against"] = {
            "pictures": len(others),
            "auc": area_under_curve(familiar, others),
            "noted": float((others > 1).float().mean()),
        }
        found = replace(found, breadth=1 - result["against"]["noted"])
    found.save(options.model)
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    return 0


def _check_layers(composer: Composer) -> None:
    """Refuse a model without the layers that describe its training images."""
    names = {name for name, _ in composer.named_modules()}
    missing = [name for name in composer.described_layers if name not in names]
    if missing or not composer.described_layers:
        what = f"it has no layer {missing[0]}" if missing else f"a {type(composer).__name__} names no described_layers"
        raise InputError(f"model {composer.name!r}: {what}, so that its training images cannot be described")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    folders: dict[str, Any] = {"type": Path, "action": "append", "default": [], "metavar": "FOLDER"}
    add("model", type=Path, help="model folder, which the file is written to")
    add("--config", default="reference", help="its training config (default: %(default)s)")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="change an option of the config")
    add("--pictures", type=int, default=2000, help="images of each source and purpose (default: %(default)s)")
    add("--rate", type=float, default=0.01, help="share of false alarms (default: %(default)s)")
    add("--trained-on", help="the training images in words (default: the names of the sources)")
    add("--alternative", default=ALTERNATIVE, help="advice for other images (default: %(default)s)")
    add("--more", **folders, help="further images of the only source's kind")
    add("--scene-variants", action="store_true", help="add scenes of every kind to the only source")
    add("--unknown", **folders, help="images that the model does not know")
    add("--unknown-scenes", action="store_true", help="the model does not know drawn scenes of shapes")
    add("--views", type=int, default=2000, metavar="N", help="views of each folder's images (default: %(default)s)")
    add("--without", nargs="*", default=[], metavar="NAME", help="names, without suffix, of files to leave out")
    add("--against", type=Path, metavar="FOLDER", help="images of any kind, which should be found strange")
    return parser


if __name__ == "__main__":
    sys.exit(main())
