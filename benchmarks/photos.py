"""A composer on edits of photographs, against floors that know nothing.

    python benchmarks/photos.py --triplets FOLDER   # a set as `mmgrad-explain data edits` makes
    python benchmarks/photos.py --labels FOLDER     # photographs with label masks, edited here with a fixed seed
    python benchmarks/photos.py --quick             # generated images: needs no data, the figures mean nothing

``--labels`` takes a folder with ``photos/``, ``labels/`` and ``labels.json``; of its photographs those are used that
training keeps out. Maps are judged on the images' own pixels. Where something is added, its place is judged on the
target image, and counted by itself. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from mmgrad_explain._system.files import atomic_file
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.errors import InputError
from mmgrad_explain.evaluation.maps import IMAGE_ONLY, MapKind, default_kind
from mmgrad_explain.evaluation.triplet_inputs import batch_triplets, folder_triplets
from mmgrad_explain.evaluation.triplets import evaluate_triplets, floor_figures, triplet_faithfulness
from mmgrad_explain.metrics.map_figures import MAP_FIGURES
from mmgrad_explain.metrics.report import (
    confidence_half_width,
    environment,
    environment_line,
    format_number,
    markdown_table,
    mean_of_known,
)

if TYPE_CHECKING:
    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.evaluation.figures import TripletFigures
    from mmgrad_explain.evaluation.triplet_inputs import PhotoTriplet

SIDES = ("deletion", "insertion")
COLUMNS = {figure.name: figure.heading for figure in MAP_FIGURES}


def edited_photographs(options: argparse.Namespace, folder: Path) -> list[PhotoTriplet]:
    """Edit photographs that training holds out; equal seeds give equal triplets."""
    from dataclasses import replace

    from mmgrad_explain.training.config_file import load_config
    from mmgrad_explain.training.sources.photos import PhotoSource

    settings = load_config(options.config).sources["photos"]
    settings = replace(settings, edits=options.edits, min_area=options.min_area, pairs=0)
    if options.holdout is not None:
        settings = replace(settings, holdout=options.holdout)
    if options.quick:  # its labels are few
        settings = replace(settings, synonyms={}, alike=())
    count = min(options.pictures, len(PhotoSource(folder, options.size, settings, held_out=True)))
    source = PhotoSource(folder, options.size, replace(settings, pictures=count), held_out=True)
    return batch_triplets(source.batch(options.seed, 0))


def generated_folder(folder: Path, count: int = 8) -> Path:
    """Write images of three coloured patches with labels, in the layout of labelled photographs."""
    (folder / "photos").mkdir(parents=True)
    (folder / "labels").mkdir()
    (folder / "labels.json").write_text(json.dumps(["null", "jumper", "pants", "sneakers", "purse"]))
    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = rng.integers(90, 160, (96, 72, 3), dtype=np.uint8)
        labels = np.zeros((96, 72), np.uint8)
        for label, top in enumerate((6, 36, 66), start=1):
            left = int(rng.integers(4, 30))
            box = (slice(top, top + 24), slice(left, left + 30))
            pixels[box], labels[box] = rng.integers(0, 255, 3), label
        Image.fromarray(pixels).save(folder / "photos" / f"{i}.png")
        Image.fromarray(labels).save(folder / "labels" / f"{i}.png")
    return folder


def tables(figures: dict[str, TripletFigures], *, on_target: bool) -> str:
    """Write a row for each map, floors first, over the triplets of one side."""
    rows = []
    for name, of in figures.items():
        chosen = of.on_target if on_target else ~of.on_target
        means = of.means(name, chosen)
        rows.append([name, *(format_number(means[column]) for column in COLUMNS)])
    return markdown_table(["map", *COLUMNS.values()], rows)


def faithfulness_table(composer: Composer, triplets: list[PhotoTriplet], kinds: list[MapKind]) -> tuple[str, Any]:
    """Measure the faithfulness of maps; give it as a table and as figures."""
    found = {
        kind.name: {
            **{
                f"{score} {side}": mean_of_known(getattr(of, score)[side])
                for score in ("retrieval", "shift")
                for side in SIDES
            },
            "randomized": mean_of_known(of.randomized),
        }
        for kind, of in triplet_faithfulness(composer, triplets, kinds=kinds).items()
    }
    header = list(next(iter(found.values())))
    rows = [[name, *map(format_number, values.values())] for name, values in found.items()]
    return markdown_table(["map", *header], rows), found


def parser() -> argparse.ArgumentParser:
    """Make the parser of the options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add("--triplets", type=Path, metavar="FOLDER", help="a triplet set")
    add("--labels", type=Path, metavar="FOLDER", help="photographs with label masks")
    add("--model", default="reference", help="bundled name, model folder or hub id (default: %(default)s)")
    add("--fold", type=int, help="one fold of the triplet set (default: all)")
    add("--pictures", type=int, default=80, help="photographs of --labels (default: %(default)s)")
    add("--edits", type=int, default=4, help="edits of each (default: %(default)s)")
    add(
        "--min-area",
        type=float,
        default=0.004,
        help="smallest edited object, share of the image (default: %(default)s)",
    )
    add("--size", type=int, default=256, help="their side, pixels (default: %(default)s)")
    add("--config", default="clothing", help="config of its training: what is held out (default: %(default)s)")
    add("--holdout", type=float, metavar="SHARE", help="of the photographs (default: the config's)")
    add("--seed", type=int, default=40_000, help="of the edits (default: %(default)s)")
    add("--faithfulness", type=int, default=0, metavar="N", help="test faithfulness on N triplets (default: 0)")
    add("--json", type=Path, metavar="FILE", help="also write the figures as JSON")
    add("--quick", action="store_true", help="generated images, as a test of the whole path")
    return made


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    options = parser().parse_args(argv)
    if options.quick:
        options.labels = generated_folder(Path(tempfile.mkdtemp()) / "labelled")
        options.holdout, options.pictures, options.edits, options.size, options.faithfulness = 0.99, 4, 3, 64, 4
    if (options.triplets is None) == (options.labels is None):
        raise InputError("give either --triplets FOLDER or --labels FOLDER")
    if options.triplets is not None:
        triplets = folder_triplets(options.triplets, fold=options.fold)
    else:
        triplets = edited_photographs(options, options.labels)
    composer = load_composer(options.model)
    own = default_kind(composer)
    kinds = list(dict.fromkeys([own, *(MapKind(score, "gradcam") for score in (IMAGE_ONLY, "similarity", "pair"))]))
    found = evaluate_triplets(composer, triplets, kinds=kinds)
    figures = {**floor_figures(triplets), **{kind.name: found for kind in kinds}}
    pointing = found.maps[own.name]["pointing"]
    recall, siblings = (mean_of_known(values) for values in (found.recall, found.sibling_recall) if values is not None)
    by_edit = found.by_edit(pointing)
    print(f"{environment_line()}\n")
    images = {triplet.reference_name for triplet in triplets}
    print(f"{composer.name}, default map {own.name}: {len(triplets)} triplets of {len(images)} images,")
    print(f"{len(found.contrast_of)} contrast pairs; half the 95 % interval of pointing")
    print(f"±{confidence_half_width(pointing):.3f}; {len(found.notices)} notes of the composer on the texts.\n")
    print(tables(figures, on_target=False))
    if bool(found.on_target.any()):
        print(f"\nAdded objects, on the target ({int(found.on_target.sum())}):\n\n{tables(figures, on_target=True)}")
    print(f"\nR@1 {recall:.3f} in a gallery of {found.gallery}, among an image's own {siblings:.3f}.\n")
    rows = [[edit, str(found.edits.count(edit)), format_number(value)] for edit, value in by_edit.items()]
    print(markdown_table(["edit", "triplets", "pointing"], rows))
    result: dict[str, Any] = {
        "environment": environment(), "model": composer.name, "R@1": recall, "siblings": siblings,
        "maps": {name: of.means(name, ~of.on_target) for name, of in figures.items()}, "by_edit": by_edit,
    }  # fmt: skip
    if options.faithfulness:
        kept = [one for one in triplets if not one.on_target][: options.faithfulness]
        table, result["faithfulness"] = faithfulness_table(composer, kept, kinds[:2])
        print(f"\nFaithfulness on {len(kept)}: gain over shuffled maps, and rank correlation with random weights:\n")
        print(table)
    if options.json:
        with atomic_file(options.json, overwrite=True) as stream:
            stream.write(json.dumps(result, indent=1).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
