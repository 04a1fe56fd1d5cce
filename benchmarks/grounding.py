"""The effect of the grounding loss: the same model trained with and without it, on scenes that neither has seen.

    python benchmarks/grounding.py                      # trains missing runs into runs/grounding, then measures
    python benchmarks/grounding.py --runs FOLDER        # continues or uses the runs in FOLDER
    python benchmarks/grounding.py --full               # at the budget of the shipped model: 96 px, 4,000 steps a run
    python benchmarks/grounding.py --no-train           # the shipped model alone
    python benchmarks/grounding.py --quick              # tiny models, a few steps: the figures mean nothing

Prints Markdown tables and writes the same figures as JSON: retrieval, localization, contrast and faithfulness of both,
mean and spread over training seeds; then the shipped model on fresh scenes, by kind of edit and by what names the
object; and transfer to scenes that training never shows. A pair of runs shares seed, initial weights, batches, schedule
and number of steps: 1,000 steps on images of 64 px by default, six runs in less than an hour of one core.
Everything can be stopped and started again: finished runs and measured figures are kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mmgrad_explain._system.files import atomic_file
from mmgrad_explain.attention import WEIGHTINGS
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.data.scenes.options import SceneOptions
from mmgrad_explain.errors import InputError
from mmgrad_explain.evaluation.maps import IMAGE_ONLY, MapKind, default_kind
from mmgrad_explain.evaluation.scenes import evaluate_scenes, scene_faithfulness
from mmgrad_explain.metrics.map_figures import MAP_FIGURES
from mmgrad_explain.metrics.report import (
    confidence_half_width,
    environment,
    environment_line,
    format_number,
    markdown_table,
    mean_and_spread,
    mean_of_known,
)

sys.path.insert(0, str(Path(__file__).parent))
from testbed.runs import train_if_missing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.composers.reference.composer import ReferenceComposer

WITH, WITHOUT = "with the loss", "without"
CONFIGS = {WITH: "reference", WITHOUT: "reference-no-grounding"}
BUDGET = (
    "steps=1000", "model.sizes.image_size=64", "sources.scenes.pictures=16", "dense.first=0.2",
    "grounding.warm_start=0.4", "grounding.share=1", "retrieval.memory=0", "ema=0.99", "evaluation.every=0",
)  # fmt: skip
SCENES_OF = {"table": 0, "faithfulness": 1, "transfer": 2, "shipped": 3}  # added to --seed: series of their own
COLUMNS = {figure.name: figure.heading for figure in MAP_FIGURES if not figure.full_size_only}
TEXT_SCORES = ("similarity", "pair", "pair-different")


# ----------------------------------------------------------------------------------------------------- training


def run_folder(options: argparse.Namespace, name: str, seed: int) -> Path:
    """Return the folder of a run."""
    return Path(options.runs) / f"{'grounded' if name == WITH else 'ungrounded'}-{seed}"


def train_one(options: argparse.Namespace, name: str, seed: int) -> Path:
    """Return the model folder of a run; train it now if it is not finished."""
    from mmgrad_explain.training.config_file import load_config

    changes = [f"seed={seed}", *(() if options.full else BUDGET), *options.set]
    if options.quick:
        config = load_config("tiny", [*changes, f"grounding.weight={2.0 if name == WITH else 0.0}"])
    else:
        config = load_config(CONFIGS[name], changes)
    return train_if_missing(config, run_folder(options, name, seed), f"{name}, seed {seed}")


# ---------------------------------------------------------------------------------------------------- measuring


def read_photographs(folder: Path | None) -> tuple[np.ndarray, ...]:
    """Read images to draw shapes on: a folder's, else the portrait in the public domain that matplotlib ships."""
    from mmgrad_explain.images.reading import open_image

    if folder is None:
        import matplotlib as mpl

        return (np.asarray(open_image(Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg")),)
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})
    if not files:
        raise InputError(f"--photographs {folder} holds no images")
    return tuple(np.asarray(open_image(path)) for path in files)


def scene_variants(options: argparse.Namespace) -> dict[str, SceneOptions]:
    """Return the options of scenes as in training, and of kinds that training never shows."""
    return {
        "as in training": SceneOptions(),
        "on photographs": SceneOptions(backdrops=read_photographs(options.photographs)),
        "unseen pairs of colour and shape": SceneOptions(pairs="held-out"),
        "unseen sentences": SceneOptions(templates="held-out"),
        "7 to 10 objects": SceneOptions(objects=(7, 10)),
    }


def load_or_measure(file: Path, asked: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Read figures from a file if they fit the options; else measure them and write them there."""
    if file.exists() and (known := json.loads(file.read_text()))["asked"] == asked:
        return known  # type: ignore[no-any-return]
    print(f"measuring for {file}", file=sys.stderr, flush=True)
    found = {"asked": asked, **measure()}
    with atomic_file(file, overwrite=True) as stream:
        stream.write(json.dumps(found, indent=1).encode())
    return found


def settings_of(composer: Composer, options: argparse.Namespace) -> dict[str, Any]:
    """List what the figures depend on."""
    weights = hashlib.sha256()
    for value in composer.state_dict().values():
        weights.update(value.contiguous().numpy().tobytes())
    names = ("seed", "scenes", "shipped_scenes", "transfer_scenes", "faithfulness_scenes", "photographs")
    return {"weights": weights.hexdigest(), **{name: str(getattr(options, name)) for name in names}}


def measure_run(composer: ReferenceComposer, options: argparse.Namespace) -> dict[str, Any]:
    """Measure retrieval, maps of all scores and weightings, faithfulness and transfer: means, by name."""
    own = default_kind(composer)
    others = [MapKind(score, "gradcam") for score in (IMAGE_ONLY, *TEXT_SCORES)]
    methods = [own.method, *(name for name in WEIGHTINGS if name != own.method)]
    seed = options.seed
    figures = evaluate_scenes(
        composer, seed=seed + SCENES_OF["table"], scenes=options.scenes, methods=methods, others=others
    )
    faithful = scene_faithfulness(
        composer, seed=seed + SCENES_OF["faithfulness"], scenes=options.faithfulness_scenes,
        kinds=[own, MapKind(IMAGE_ONLY, "gradcam")],
    )  # fmt: skip
    transfer = {}
    for name, kind in scene_variants(options).items():
        of = evaluate_scenes(composer, seed=seed + SCENES_OF["transfer"], scenes=options.transfer_scenes, options=kind)
        transfer[name] = {
            "R@1": mean_of_known(of.recall),
            "siblings": mean_of_known(of.sibling_recall),
            **of.means(own.method),
        }
    maps = {f"{own.score}, {name}" if name in WEIGHTINGS else name: figures.means(name) for name in figures.maps}
    return {
        "own": own.name,
        "R@1": mean_of_known(figures.recall),
        "siblings": mean_of_known(figures.sibling_recall),
        "gallery": figures.gallery,
        "covered": mean_of_known(figures.covered),
        "maps": maps,
        "faithfulness": {
            kind.name: {
                "retrieval deletion": mean_of_known(of.retrieval["deletion"]),
                "retrieval insertion": mean_of_known(of.retrieval["insertion"]),
                "shift deletion": mean_of_known(of.shift["deletion"]),
                "shift insertion": mean_of_known(of.shift["insertion"]),
                "randomized": mean_of_known(of.randomized),
            }
            for kind, of in faithful.items()
        },
        "transfer": transfer,
    }


def measure_shipped(composer: ReferenceComposer, options: argparse.Namespace) -> dict[str, Any]:
    """Measure the shipped model on fresh scenes, by kind of edit and by what names the object, and its transfer."""
    own = default_kind(composer)
    figures = evaluate_scenes(
        composer, seed=options.seed + SCENES_OF["shipped"], scenes=options.shipped_scenes, methods=[own.method]
    )
    maps, contrast = figures.maps[own.method], figures.contrast[own.method]
    values = {"R@1": figures.recall, "siblings": figures.sibling_recall, **{c: maps[c] for c in COLUMNS if c in maps}}
    every = {name: mean_of_known(value) for name, value in values.items()} | {"contrast": mean_of_known(contrast)}
    by_edit = {edit: {"count": figures.edits.count(edit)} for edit in sorted(set(figures.edits))}
    for name, value in values.items():
        for edit, mean in figures.by_edit(value).items():
            by_edit[edit][name] = mean
    for edit, mean in figures.contrast_by_edit(contrast).items():
        by_edit[edit]["contrast"] = mean
    by_name = {name: {"pointing": mean} for name, mean in figures.by_name(maps["pointing"]).items()}
    for name, mean in figures.by_name(maps["energy"]).items():
        by_name[name]["energy"] = mean
    kept = [name for name, edit in zip(figures.named_by, figures.edits, strict=True) if edit != "add"]
    for name, of in by_name.items():
        of["count"] = kept.count(name)
    transfer = {}
    for name, kind in scene_variants(options).items():
        of_kind = evaluate_scenes(
            composer, seed=options.seed + SCENES_OF["transfer"], scenes=options.transfer_scenes, options=kind
        )
        retrieval = {"R@1": mean_of_known(of_kind.recall), "siblings": mean_of_known(of_kind.sibling_recall)}
        transfer[name] = {**retrieval, **of_kind.means(own.method)}
    return {
        "model": composer.name, "own": own.name, "series": options.seed + SCENES_OF["shipped"],
        "queries": len(figures.edits), "gallery": figures.gallery, "pairs": len(contrast),
        "covered": mean_of_known(figures.covered), "all": every,
        "interval": {n: confidence_half_width(v) for n, v in values.items()},
        "by_edit": by_edit, "by_name": by_name, "transfer": transfer,
    }  # fmt: skip


# ----------------------------------------------------------------------------------------------------- printing


def format_over_seeds(runs: Sequence[dict[str, Any]], *path: str) -> str:
    """Write the mean and the spread of one figure."""
    values = []
    for run in runs:
        value: Any = run
        for key in path:
            value = value[key]
        values.append(float(value))
    return mean_and_spread(values)


def print_runs(runs: dict[str, list[dict[str, Any]]]) -> None:
    """Print the tables of both."""
    own = runs[WITH][0]["own"]
    first = [own, f"{IMAGE_ONLY}, gradcam"]
    rest = [name for name in runs[WITH][0]["maps"] if name not in first]
    for title, names in (("The composer's own maps and text-agnostic Grad-CAM", first), ("Other maps", rest)):
        print(f"\n{title}:\n")
        rows = []
        for loss, of in runs.items():
            for name in names:
                cells = [format_over_seeds(of, "maps", name, column) for column in COLUMNS]
                rows.append([loss, name, format_over_seeds(of, "R@1"), format_over_seeds(of, "siblings"), *cells])
        print(markdown_table(["grounding loss", "map", "R@1", "R@1 among siblings", *COLUMNS.values()], rows))
    both = zip(runs[WITH], runs[WITHOUT], strict=True)
    print(f"\nR@1 with the loss minus without, seed by seed: {mean_and_spread([a['R@1'] - b['R@1'] for a, b in both])}")
    print(
        "\nFaithfulness: gain over the same map with its cells shuffled, and rank correlation of the maps with those of"
    )
    print("the same network with random weights:\n")
    names = list(runs[WITH][0]["faithfulness"][own])
    rows = [
        [loss, kind, *(format_over_seeds(of, "faithfulness", kind, name) for name in names)]
        for loss, of in runs.items()
        for kind in of[0]["faithfulness"]
    ]
    print(markdown_table(["grounding loss", "map", *names], rows))
    print("\nTransfer:\n")
    columns = ("R@1", "siblings", "pointing", "contrast", "dead")
    rows = [
        [variant, loss, *(format_over_seeds(of, "transfer", variant, name) for name in columns)]
        for variant in runs[WITH][0]["transfer"]
        for loss, of in runs.items()
    ]
    print(markdown_table(["scenes", "grounding loss", *columns], rows))


def print_shipped(of: dict[str, Any]) -> None:
    """Print the shipped model's tables."""
    columns = ("R@1", "siblings", *COLUMNS)
    print(f"\n{of['model']}, maps {of['own']}: {of['queries']} queries of series {of['series']},")
    print(f"gallery of {of['gallery']}, {of['pairs']} contrast pairs; a random pixel lies on the object in")
    print(f"{of['covered']:.3f} of the maps;")
    intervals = ", ".join(
        f"{name} ±{value:.3f}" for name, value in of["interval"].items() if name in ("R@1", "pointing")
    )
    print(f"half the 95 % interval: {intervals}. The map of an add is measured on the target.\n")
    nan = float("nan")
    rows = [["all", str(of["queries"]), *(format_number(of["all"][name]) for name in columns)]]
    for edit, values in of["by_edit"].items():
        rows.append([edit, str(values["count"]), *(format_number(values.get(name, nan)) for name in columns)])
    print(markdown_table(["edit", "queries", *columns], rows))
    print("\nBy what names the object:\n")
    rows = [
        [name, str(values["count"]), format_number(values["pointing"]), format_number(values["energy"])]
        for name, values in of["by_name"].items()
    ]
    print(markdown_table(["named by", "queries", "pointing", "energy"], rows))
    print("\nTransfer:\n")
    rows = [[name, *(format_number(v[c]) for c in columns)] for name, v in of["transfer"].items()]
    print(markdown_table(["scenes", *columns], rows))


def parser() -> argparse.ArgumentParser:
    """Make the parser of the options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add("--runs", type=Path, metavar="FOLDER", help="default: runs/grounding; with --quick a temporary folder")
    add("--seeds", type=int, default=3, metavar="N", help="training seeds 0 to N - 1 (default: %(default)s)")
    add("--full", action="store_true", help="train the configs as they are (hours), not at the small budget")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="change an option of both configs; repeatable")
    add("--no-train", action="store_true", help="neither train nor compare: the shipped model alone")
    add("--model", default="reference", help="the model that is measured by itself (default: %(default)s)")
    add("--seed", type=int, default=40_000, help="scene series; none was trained on (default: %(default)s)")
    add("--scenes", type=int, default=500, help="of each run's table, 4 edits each (default: %(default)s)")
    add("--shipped-scenes", type=int, default=2000, help="of the shipped model's table (default: %(default)s)")
    add("--faithfulness-scenes", type=int, default=40, help="default: %(default)s")
    add("--transfer-scenes", type=int, default=250, help="default: %(default)s")
    add("--photographs", type=Path, metavar="FOLDER", help="images to draw shapes on (default: one of matplotlib's)")
    add("--json", type=Path, metavar="FILE", help="default: grounding.json in --runs")
    add("--quick", action="store_true", help="tiny models, few steps and scenes, as a test of the whole path")
    return made


def main(argv: list[str] | None = None) -> int:
    """Train missing runs, measure and print."""
    options = parser().parse_args(argv)
    torch.set_num_threads(max(1, torch.get_num_threads()))
    if options.quick:
        options.runs, options.seeds, options.full = options.runs or Path(tempfile.mkdtemp()), 2, True
        options.set += ["steps=3", "sources.scenes.pictures=4"]
        options.set += ["evaluation.batches=1", "evaluation.every=0", "tensorboard=false"]
        options.scenes, options.shipped_scenes, options.faithfulness_scenes, options.transfer_scenes = 4, 8, 2, 3
    options.runs = options.runs or Path("runs/grounding")
    print(f"{environment_line()}\n")
    result: dict[str, Any] = {"environment": environment(), "seed": options.seed, "runs": {}}
    if not options.no_train:
        runs: dict[str, list[dict[str, Any]]] = {WITH: [], WITHOUT: []}
        for seed in range(options.seeds):
            for name, of in runs.items():
                composer = load_composer(train_one(options, name, seed))
                file = run_folder(options, name, seed) / "figures.json"
                of.append(
                    load_or_measure(file, settings_of(composer, options), partial(measure_run, composer, options))
                )
        result["runs"] = runs
        budget = " ".join([*(() if options.full else BUDGET), *options.set]) or "the configs as they are"
        first = runs[WITH][0]
        print(f"Training seeds 0 to {options.seeds - 1}, {budget}; mean ± standard deviation over training seeds.")
        print(
            f"{options.scenes} scenes of series {options.seed}, 4 edits each, gallery of {first['gallery']}; a random"
        )
        print(f"pixel lies on the object in {first['covered']:.3f} of the maps.")
        print_runs(runs)
    composer = load_composer(options.model)
    file = options.runs / f"{Path(composer.name).name}.json"
    result["shipped"] = load_or_measure(
        file, settings_of(composer, options), partial(measure_shipped, composer, options)
    )
    print_shipped(result["shipped"])
    file = options.json or options.runs / "grounding.json"
    with atomic_file(file, overwrite=True) as stream:
        stream.write(json.dumps(result, indent=1).encode())
    print(f"\nwritten: {file}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
