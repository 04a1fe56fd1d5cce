"""``mmgrad-explain train``: train a composer by a config."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain.cli.failures import resume_command
from mmgrad_explain.cli.printing import Table, show

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from mmgrad_explain.training.config import TrainingConfig
    from mmgrad_explain.training.run import TrainingResult

_DETAILS = """\
CONFIG is a YAML file, or the name of a config in the package:
  reference                the reference model on procedural scenes, with the grounding loss
  reference-no-grounding   the same without it, for comparison
  clothing                 photographs with labelled garments; say sources.photos.folder and
                           model.backbone_weights
  clothing-large           its second part, on larger images; say model.path and sources.photos.folder
  everyday                 the things of Pascal VOC on photographs; say sources.objects.folder, model.backbone_weights
                           and model.segmenter_weights
  clip                     CLIP with a combiner on triplets of `mmgrad-explain data edits`; say sources.triplets.folder
  cirr, fashioniq, shoes   the same on a benchmark of composed retrieval; say sources.CONFIG.folder
  cirr-frozen, fashioniq-frozen, shoes-frozen
                           the combiner alone on frozen CLIP, each image encoded once; say sources.cirr.folder and so on
  cirr-blip2               BLIP-2 by its own Q-Former on CIRR; say sources.cirr.folder
  tiny                     a small model in about two minutes

A file holds only the differences: `extends: reference` and the keys to change. --set changes single keys, with dots for
nested keys. docs/training.md lists them all.

Ctrl-C or `kill PID` (SIGTERM) stops a run and prints the command that resumes it from its last checkpoint.

The run folder holds config.yaml, versions.json, metrics.jsonl, maps.png (maps of held-out samples over time),
tensorboard/, checkpoints/, and at the end model/, which `mmgrad-explain overlay --model RUN/model` takes.

Examples:
  mmgrad-explain train tiny --out runs/tiny
  mmgrad-explain train reference --set steps=8000 --set model.sizes.image_size=128
  mmgrad-explain train clothing --set sources.photos.folder=FOLDER --set model.backbone_weights=FILE
  mmgrad-explain train clip --set sources.triplets.folder=coco-edits --set model.lora.rank=8
  mmgrad-explain train fashioniq --set sources.fashioniq.folder=fashion-iq --set steps=1400
  mmgrad-explain train reference --out runs/reference --resume
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "train", help="train a model to retrieve and to look at the right place", details=_DETAILS,
        description="Train a composer with the grounding loss on its own maps.",
    )  # fmt: skip
    add = parser.add_argument
    add("config", metavar="CONFIG", help="a YAML file, or a config of the package, such as tiny; --help lists them")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="change an option of CONFIG, may be repeated")
    add(
        "--model",
        metavar="NAME",
        help="the model to start from: bundled name, model folder or hub id (default: CONFIG's model.path)",
    )
    add("--out", "-o", metavar="DIR", help="run folder (default: runs/CONFIG)")
    add("--resume", action="store_true", help="resume the run in that folder from its last checkpoint")
    add("--json", action="store_true", help="print JSON instead of text")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train; the config and the run folder are checked before anything is written."""
    from mmgrad_explain.training.config_file import load_config

    changes = list(options.set)
    if options.model is not None:
        changes.append(f"model.path={json.dumps(options.model)}")
    config = load_config(options.config, changes)
    out = Path(options.out or Path("runs") / Path(options.config).stem).expanduser()
    from mmgrad_explain.training.run import train

    try:
        result = train(config, out, resume=options.resume)
    except KeyboardInterrupt as stop:
        raise type(stop)(_say_how_to_resume(config, out, options.typed)) from None
    from mmgrad_explain.training.distributed import is_first

    if not is_first():
        return 0
    if options.json:
        sys.stdout.write(json.dumps(_record(result), indent=2) + "\n")
    else:
        show(*_parts(result))
    return 0


def _say_how_to_resume(config: TrainingConfig, out: Path, typed: Sequence[str]) -> str:
    """Say what a stopped run left, and the command that resumes it."""
    from mmgrad_explain.training.run_folder import CHECKPOINTS, CONFIG, find_complete_checkpoint

    last = find_complete_checkpoint(out / CHECKPOINTS, average=bool(config.ema))
    if last is not None:
        step = int(last.name.rpartition("-")[2])
        return f"step {step:,} of {config.steps:,} is kept; go on from there with: {resume_command(typed)}"
    if (out / CONFIG).exists():
        every = f"the first checkpoint, of step {config.save_every:,}, was not reached"
        return f"{every}; begin again with: {resume_command(typed)}"
    return "nothing was written"


def _record(result: TrainingResult) -> dict[str, Any]:
    return {
        "folder": str(result.folder),
        "model": str(result.model),
        "step": result.step,
        "figures": result.figures,
    }


def _parts(result: TrainingResult) -> Iterator[str | Table]:
    shown = {name: value for name, value in result.figures.items() if not name.startswith("pointing_")}
    rows = [(name, f"{value:.3f}") for name, value in shown.items()]
    yield f"{result.model}\n  step     {result.step}"
    yield Table(("held out", ""), rows, f"  held out {'  '.join(map(' '.join, rows))}", numbers=(1,))
