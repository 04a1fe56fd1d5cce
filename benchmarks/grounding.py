"""What the grounding loss does: the same model trained with and without it, on scenes neither has seen.

    python benchmarks/grounding.py                 # the two checkpoints in this repository
    python benchmarks/grounding.py --train runs    # train both again first (hours on a CPU), then compare
    python benchmarks/grounding.py --quick         # a few steps and scenes: tries the path, the figures mean nothing

Prints a Markdown table. Both models have the same architecture, seed, initial weights, batches and number of steps.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from pathlib import Path

import torch

import mmgrad_explain
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.training.reference import TrainingConfig, train
from mmgrad_explain.training.scene_evaluation import SceneFigures, evaluate_scenes

UNGROUNDED = Path(__file__).parent / "models" / "ungrounded"
WEIGHTINGS = ("gradcam", "gradcam++", "xgradcam", "layercam", "hirescam")


def row(name: str, weighting: str, figures: SceneFigures) -> str:
    """One line of the table."""
    maps = figures.maps[weighting]
    cells = [figures.recall, figures.sibling_recall, maps["pointing"], maps["energy"], maps["iou"], maps["dead"]]
    return f"| {name} | {weighting} | " + " | ".join(f"{float(c.mean()):.3f}" for c in cells) + " |"


def main(argv: list[str] | None = None) -> int:
    """Train if asked, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grounded", default="reference", help="model trained with the loss")
    parser.add_argument("--ungrounded", default=str(UNGROUNDED), help="model trained without it")
    parser.add_argument("--train", type=Path, metavar="FOLDER", help="train both into this folder first; resumes")
    parser.add_argument("--steps", type=int, default=TrainingConfig().steps)
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=20_000, help="scene series; training uses 0")
    parser.add_argument("--quick", action="store_true", help="a few steps and scenes, to try the whole path")
    options = parser.parse_args(argv)
    if options.quick:
        options.train, options.steps, options.scenes = Path(tempfile.mkdtemp()), 8, 8
    if options.train:
        options.grounded, options.ungrounded = str(options.train / "grounded"), str(options.train / "ungrounded")
        scenes = 4 if options.quick else TrainingConfig().scenes
        train(TrainingConfig(steps=options.steps, scenes=scenes), Path(options.grounded), resume=True)
        without = TrainingConfig(steps=options.steps, scenes=scenes, grounding_weight=0.0)
        train(without, Path(options.ungrounded), resume=True)
    results = {}
    for name, folder in (("with the loss", options.grounded), ("without", options.ungrounded)):
        results[name] = evaluate_scenes(
            load_composer(folder), seed=options.seed, scenes=options.scenes, weightings=WEIGHTINGS
        )
    first = results["with the loss"]
    print(f"{len(first.edits)} queries, {options.scenes} scenes of seed {options.seed}, gallery of {first.gallery};")
    print(f"mmgrad-explain {mmgrad_explain.__version__}, torch {torch.__version__}, {platform.machine()} CPU\n")
    print("| grounding loss | weighting | R@1 | R@1 among siblings | pointing | energy | IoU | dead maps |")
    print("|---|---|---|---|---|---|---|---|")
    for name, figures in results.items():
        for weighting in WEIGHTINGS:
            print(row(name, weighting, figures))
    for title, group in (
        ("edit; add on the target picture", SceneFigures.by_edit),
        ("what names the object", SceneFigures.by_name),
    ):
        print(f"\nPointing by {title} (gradcam):")
        for name, figures in results.items():
            shares = group(figures, figures.maps["gradcam"]["pointing"])
            print(f"- {name}: " + "; ".join(f"{kind} {value:.2f}" for kind, value in shares.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
