"""Write into a model folder what its training pictures look like to it, and how others differ from them.

    python -m mmgrad_explain.training.familiarity_fit MODEL --config reference --unknown PHOTOGRAPHS
    python -m mmgrad_explain.training.familiarity_fit MODEL --config RUN/config.yaml --more FOLDER --unknown-scenes

Explaining a picture that is unlike all of them then comes with a note. Of a folder of more than 100 pictures the half
that their names hold out is not used, so that one can measure on it (benchmarks/familiarity.py). Prints the share of
held-out training pictures that are called strange, of others than the limits were set by, and, with ``--against``, how
well the pictures of a folder are told from them.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from mmgrad_explain.composers.familiar_images import describe_pictures
from mmgrad_explain.composers.familiarity import area_under_curve, fit
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.data.scenes.scene import SceneOptions, scenes
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.training.config_file import load_config
from mmgrad_explain.training.familiarity_views import named_pictures, views
from mmgrad_explain.training.sources.kinds import build_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.training.config import TrainingConfig

SEEDS = {"fit": 71, "limit": 72, "check": 73, "unknown": 74, "more": 75}
"""Of the pictures, so that none is used twice; photographs are held out as in training."""

SIZES = (96, 96, 32, 64, 128, 96, 224, 48, 320)
"""Of scenes of every kind; larger ones look the same to a model whose input is smaller."""

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
"""Those of training, and those that training never shows."""

OWN_VIEWS = ("whole", "light", "whole", "jpeg", "whole", "small")
"""How more pictures of the model's own kind are shown."""

ALTERNATIVE = "for such pictures take a model that knows them (a folder or a hub id)"


def descriptions(composer: Composer, config: TrainingConfig, name: str, purpose: str, count: int) -> Tensor:
    """Descriptions ``(count, D)`` of one source's pictures, references and targets.

    They are drawn in several sizes and brought to the model's, as pictures of users are.
    """
    processor: Any = composer.processor
    alone = {name: config.sources[name]}
    sources = [build_source(alone, size, held_out=purpose != "fit") for size in _sizes(processor.image_size)]
    found: list[Tensor] = []
    step = 0
    while sum(map(len, found)) < count:
        batch = sources[step % len(sources)].batch(SEEDS[purpose], step)
        pictures = np.concatenate([batch.references, batch.targets[:: len(batch.targets) // len(batch.references)]])
        found.append(_described(composer, [Image.fromarray(one) for one in pictures]))
        step += 1
    return torch.cat(found)[:count]


def _sizes(own: int) -> list[int]:
    return [own, max(32, own // 2), 4 * own, own, 2 * own]


def _described(composer: Composer, pictures: Sequence[Image.Image]) -> Tensor:
    return describe_pictures(composer, pictures, composer.described_layers)


def unknown_pictures(composer: Composer, options: argparse.Namespace) -> Tensor | None:
    """Descriptions of what the model does not know: views of photographs, drawn scenes; None where none is named."""
    found = []
    for folder in options.unknown:
        files = named_pictures(folder, without=options.without)
        made = [picture for _, picture in views(files, options.views, SEEDS["unknown"])]
        found.append(_described(composer, made))
    if options.unknown_scenes:
        found.append(_described(composer, list(every_kind_of_scene(SEEDS["unknown"], options.pictures // 2))))
    return torch.cat(found) if found else None


def every_kind_of_scene(seed: int, count: int) -> Iterator[Image.Image]:
    """Scenes and edited scenes of all the kinds that can be drawn without photographs, in turn."""
    for number in range(count):
        size, options = SIZES[number % len(SIZES)], KINDS_OF_SCENES[number // 2 % len(KINDS_OF_SCENES)]
        (one,) = scenes(seed, 1, size=size, edits=1, start=number, options=options)
        yield Image.fromarray(one.triplets[0].target if number % 2 else one.reference)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    options = _parser().parse_args(argv)
    composer, config = load_composer(options.model), load_config(options.config, options.set)
    _check_layers(composer)
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    checks: dict[str, Tensor] = {}
    for name in config.sources:
        parts = [
            descriptions(composer, config, name, purpose, options.pictures) for purpose in ("fit", "limit", "check")
        ]
        seen[name], checks[name] = (parts[0], parts[1]), parts[2]
    if options.scene_variants:
        (name,) = config.sources
        two = [
            _described(composer, list(every_kind_of_scene(SEEDS[purpose], options.pictures)))
            for purpose in ("fit", "limit")
        ]
        seen[name] = torch.cat([seen[name][0], two[0]]), torch.cat([seen[name][1], two[1]])
    for folder in options.more:
        (name,) = config.sources
        files = named_pictures(folder, without=options.without)
        of_fit, of_limit = (
            _described(composer, [one for _, one in views(files[start::2], options.views, SEEDS["more"], OWN_VIEWS)])
            for start in (0, 1)
        )
        seen[name] = torch.cat([seen[name][0], of_fit]), torch.cat([seen[name][1], of_limit])
    trained_on = options.trained_on or " and ".join(config.sources)
    unknown = unknown_pictures(composer, options)
    found = fit(seen, composer.described_layers, trained_on, options.alternative, unknown=unknown, rate=options.rate)
    found.save(options.model)
    strange = {name: found.strangeness(described) for name, described in checks.items()}
    result: dict[str, Any] = {"false alarms": {name: float((v > 1).float().mean()) for name, v in strange.items()}}
    if options.against:
        pictures = [open_image(path) for path in named_pictures(options.against)]
        others, familiar = found.strangeness(_described(composer, pictures)), torch.cat(list(strange.values()))
        result["against"] = {
            "pictures": len(others),
            "auc": area_under_curve(familiar, others),
            "noted": float((others > 1).float().mean()),
        }
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    return 0


def _check_layers(composer: Composer) -> None:
    """Refuse a model of which nothing says by which layers its training pictures are told."""
    names = {name for name, _ in composer.named_modules()}
    missing = [name for name in composer.described_layers if name not in names]
    if missing or not composer.described_layers:
        what = f"it has no layer {missing[0]}" if missing else f"a {type(composer).__name__} names no described_layers"
        raise InputError(f"model {composer.name!r}: {what}, so that its training pictures cannot be described")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model folder; the file is written into it")
    parser.add_argument("--config", default="reference", help="what it was trained on (default: %(default)s)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change an option of the config"
    )
    parser.add_argument("--pictures", type=int, default=2000, help="of each source and purpose (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=0.01, help="false alarms, as a share (default: %(default)s)")
    parser.add_argument("--trained-on", help="the training pictures in words (default: the names of the sources)")
    parser.add_argument("--alternative", default=ALTERNATIVE, help="what to do with others (default: %(default)s)")
    add = parser.add_argument
    add(
        "--more",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="more pictures of the only source's kind",
    )
    add("--scene-variants", action="store_true", help="the only source's kind are drawn scenes: take all kinds of them")
    add(
        "--unknown",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="pictures that the model does not know",
    )
    add("--unknown-scenes", action="store_true", help="it does not know drawn scenes of shapes either")
    add(
        "--views",
        type=int,
        default=2000,
        metavar="N",
        help="so many views of the pictures of each folder (default: %(default)s)",
    )
    add("--without", nargs="*", default=[], metavar="NAME", help="names, without endings, of files to leave out")
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="pictures that should be found strange")
    return parser


if __name__ == "__main__":
    sys.exit(main())
