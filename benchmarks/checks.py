"""How many wrong maps a check finds, and how many right ones it keeps.

    python benchmarks/checks.py --model reference
    python benchmarks/checks.py --model clothing --triplets FOLDER
    python benchmarks/checks.py --stranger clip-plain --cache FOLDER  # trained by benchmarks/strangers.py
    python benchmarks/checks.py --quick     # a few scenes, as a test of the whole path

The maps are of drawn scenes with masks, of a series that the thresholds were not chosen on, or of a folder of triplets.
*Right* maps are those of the model whose brightest pixel lies on the edited object. *Wrong* maps of the same score are
made of them or beside them: cells in random order, the map of the next sample, a Gaussian in the middle, the map of the
same model with random weights, the map upside down in value, and the model's map where its brightest pixel misses the
object. Prints a Markdown table: of each kind of map the shares that are good, doubtful and fail, with half-widths of
95% intervals, and the medians of the figures.
"""

from __future__ import annotations

import argparse
import copy
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch.nn import functional as F

from mmgrad_explain.api import explain
from mmgrad_explain.attention.mmgrad import MultiModalGradAttention
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.data.contact_sheet import choose_evenly
from mmgrad_explain.data.edit_sides import is_on_target_only
from mmgrad_explain.data.scenes.scene import scenes
from mmgrad_explain.data.triplets import read_triplets
from mmgrad_explain.errors import MMGradError, MMGradWarning
from mmgrad_explain.metrics.floors import centre_gaussian
from mmgrad_explain.metrics.report import confidence_half_width, environment_line, markdown_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.explanation.map_check import MapCheck
    from mmgrad_explain.explanation.result import Explanation

SERIES = 50_002
BATCH = 16
METHODS = ("gradcam", "layercam")
STRANGER_METHODS = ("gradcam", "layercam", "hirescam", "legrad", "grad-eclip", "relevancy", "attention-rollout")
HEADER = ("map", "maps", "good, %", "doubtful, %", "fails, %", "occlusion", "deletion", "text")


def drawn_samples(count: int) -> Iterable[tuple[Image.Image, str, Tensor]]:
    """Draw scenes: image, text and mask of edits that show on the reference."""
    for scene in scenes(SERIES, count, edits=2):
        for triplet in scene.triplets:
            if not is_on_target_only(triplet.edit):
                yield Image.fromarray(scene.reference), triplet.text, torch.from_numpy(triplet.reference_mask)


def read_samples(folder: Path, count: int) -> Iterable[tuple[Image.Image, str, Tensor]]:
    """Read triplets with a mask on the reference."""
    shown = [triplet for triplet in read_triplets(folder) if triplet.mask_object_in != "target"]
    for triplet in choose_evenly(shown, count):
        reference, _, mask = triplet.read_images()
        yield Image.fromarray(reference), triplet.text, torch.from_numpy(mask)


def points_at(explanation: Explanation, masks: list[Tensor]) -> list[bool]:
    """Return of each map whether its brightest pixel lies in the mask."""
    hits = []
    for index, mask in enumerate(masks):
        heat = torch.from_numpy(explanation.heatmap(index))
        inside = F.interpolate(mask[None, None].float(), size=heat.shape, mode="nearest")[0, 0] > 0
        hits.append(bool(inside.flatten()[heat.argmax()]) and float(heat.max()) > 0)
    return hits


def with_random_weights(composer: Composer) -> Composer:
    """Return a copy whose parameters are noise with the mean and the spread that they had."""
    other = copy.deepcopy(composer)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in other.parameters():
            spread = parameter.std(correction=0)
            parameter.copy_(parameter.mean() + spread * torch.randn(parameter.shape, generator=generator))
    return other


def with_maps(explanation: Explanation, maps: Tensor) -> Explanation:
    """Return the explanation with other maps of the first call."""
    return replace(explanation, calls=(maps, *explanation.calls[1:]), checks=())


def wrong_maps(explanation: Explanation, random: Explanation, generator: torch.Generator) -> dict[str, Tensor]:
    """Make maps that do not show what the score depends on."""
    maps = explanation.maps
    order = torch.rand(maps.flatten(1).shape, generator=generator).argsort(1)
    return {
        "cells in random order": maps.flatten(1).gather(1, order).view_as(maps),
        "map of the next sample": maps.roll(1, 0),
        "Gaussian in the middle": centre_gaussian(maps.shape[1], maps.shape[2]).expand_as(maps),
        "random weights": random.maps,
        "inverted": maps.amax((1, 2), keepdim=True) - maps,
    }


def measure(composer: Composer, samples: list[tuple[Image.Image, str, Tensor]]) -> dict[str, list[MapCheck]]:
    """Check right and wrong maps of samples, by the name of their kind."""
    found: dict[str, list[MapCheck]] = {}
    shuffled, generator = with_random_weights(composer), torch.Generator().manual_seed(1)
    for start in range(0, len(samples), BATCH):
        images, texts, masks = (list(column) for column in zip(*samples[start : start + BATCH], strict=True))
        if len(images) < 2:
            continue  # the map of the next sample would be the right one
        random = explain(images, texts, model=shuffled, method=METHODS[0])
        for method in METHODS:
            made = explain(images, texts, model=composer, method=method)
            hits = points_at(made, masks)
            for check, hit in zip(made.check(), hits, strict=True):
                name = f"{method}: right" if hit else f"{method}: beside the object"
                found.setdefault(name, []).append(check)
            if method == METHODS[0]:
                for name, maps in wrong_maps(made, random, generator).items():
                    found.setdefault(name, []).extend(with_maps(made, maps).check())
    return found


def measure_stranger(name: str, cache: Path, count: int, seed: int) -> dict[str, list[MapCheck]]:
    """Check the maps of a model that was trained without our loss, by method and by where they point."""
    from testbed.models import STRANGERS, draw, prepare
    from testbed.sheets import make_sheet

    stranger = STRANGERS[name]
    model, _ = prepare(stranger, cache)
    sheet = make_sheet(stranger, model, draw(stranger, seed, 60, cache, masks=True), seed)
    found: dict[str, list[MapCheck]] = {}
    rows = torch.linspace(0, len(sheet.images) - 1, min(count, len(sheet.images))).long().unique()
    for part in rows.split(BATCH):
        for method in STRANGER_METHODS:
            try:
                made = MultiModalGradAttention(model, None, sheet.score, method)(**sheet.arguments(part))
            except MMGradError as error:
                print(f"{method}: left out ({error})")
                continue
            generator = torch.Generator().manual_seed(1)
            order = torch.rand(made.maps.flatten(1).shape, generator=generator).argsort(1)
            shuffled = with_maps(made, made.maps.flatten(1).gather(1, order).view_as(made.maps))
            hits = points_at(made, list(sheet.masks[part]))
            for check, hit in zip(made.check(), hits, strict=True):
                found.setdefault(f"{method}: {'right' if hit else 'beside the object'}", []).append(check)
            if method == STRANGER_METHODS[0]:
                found.setdefault("cells in random order", []).extend(shuffled.check())
    return found


def row(name: str, checks: list[MapCheck]) -> list[str]:
    """Write the line of one kind of map."""
    shares = []
    for verdict in ("good", "doubtful", "fails"):
        these = torch.tensor([check.verdict == verdict for check in checks], dtype=torch.float64)
        shares.append(f"{100 * these.mean():.0f} ± {100 * confidence_half_width(these):.0f}")
    figures = ([getattr(check, figure) for check in checks] for figure in ("occlusion", "deletion", "text"))
    return [name, str(len(checks)), *shares, *map(_median, figures)]


def _median(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{torch.tensor(known).median():.2f}" if known else "-"


def parser() -> argparse.ArgumentParser:
    """Make the parser of the options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add("--model", default="reference", help="bundled name or folder of a model")
    add("--triplets", type=Path, metavar="FOLDER", help="triplets with masks, instead of drawn scenes")
    add("--stranger", metavar="NAME", help="a model of benchmarks/strangers.py instead")
    add("--cache", type=Path, default=Path("strangers"), metavar="FOLDER", help="where that script keeps its models")
    add("--seed", type=int, default=20_002, help="of a stranger's held-out scenes (default: %(default)s)")
    add("--count", type=int, default=100, metavar="N", help="scenes or triplets (default: %(default)s)")
    add("--quick", action="store_true", help="few drawn scenes, as a test of the whole path")
    return made


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    options = parser().parse_args(argv)
    warnings.simplefilter("ignore", MMGradWarning)
    count = 2 if options.quick else options.count
    if options.stranger:
        found = measure_stranger(options.stranger, options.cache, count, options.seed)
        return print_table(f"stranger {options.stranger}, scenes of seed {options.seed}", found)
    samples = list(drawn_samples(count) if options.triplets is None else read_samples(options.triplets, count))
    found = measure(load_composer(options.model), samples)
    return print_table(f"{options.model}, scene series {SERIES}", found)


def print_table(title: str, found: dict[str, list[MapCheck]]) -> int:
    """Print the table."""
    table = [row(name, checks) for name, checks in sorted(found.items(), key=lambda one: ":" not in one[0])]
    print(f"{environment_line()}\n\n{title}:\n")
    print(markdown_table(HEADER, table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
