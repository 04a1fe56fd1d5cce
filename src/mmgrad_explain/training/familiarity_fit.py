"""Write into a model folder what its training pictures look like to it.

    python -m mmgrad_explain.training.familiarity_fit MODEL --config reference --trained-on "scenes of coloured shapes"
    python -m mmgrad_explain.training.familiarity_fit MODEL --config RUN/config.yaml --against PHOTOGRAPHS

Explaining a picture that is unlike all of them then comes with a note. Prints the share of held-out pictures that are
called strange, of others than the limit was set by, and, with ``--against``, how well the pictures of a folder are told
from them.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from mmgrad_explain.composers.familiarity import area_under_curve, describe, fit, grids_seen
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.config_file import load_config
from mmgrad_explain.training.run import build_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.training.config import TrainingConfig

SEEDS = {"fit": 71, "limit": 72, "check": 73}
"""Of the pictures, so that none is used twice; photographs are held out as in training."""

LARGER = 4
"""How much larger than the model's input every second batch is drawn."""

ALTERNATIVE = "for such pictures take a model that knows them (a folder or a hub id)"


def grids_of(composer: Composer, pixels: Tensor, batch: int = 32) -> Tensor:
    """What the explained layer gives for pictures ``(N, 3, H, W)``, whatever the text."""
    processor: Any = composer.processor
    ids, mask = processor.encode_texts([""])
    found = []
    for part in torch.split(pixels, batch):
        with torch.inference_mode(), grids_seen(composer) as grids:
            composer(pixel_values=part, input_ids=ids.expand(len(part), -1), attention_mask=mask.expand(len(part), -1))
        found.append(grids[0])
    return torch.cat(found)


def descriptions(composer: Composer, config: TrainingConfig, name: str, purpose: str, count: int) -> Tensor:
    """Descriptions ``(count, D)`` of one source's pictures, references and targets.

    Every second batch is drawn larger and brought to the model's size, as pictures of users are.
    """
    processor: Any = composer.processor
    alone = replace(config, sources={name: config.sources[name]})
    sources = [build_source(alone, scale * processor.image_size, held_out=purpose != "fit") for scale in (1, LARGER)]
    found: list[Tensor] = []
    step = 0
    while sum(map(len, found)) < count:
        batch = sources[step % 2].batch(SEEDS[purpose], step)
        pictures = np.concatenate([batch.references, batch.targets[:: len(batch.targets) // len(batch.references)]])
        pixels, _ = processor.encode_images([Image.fromarray(one) for one in pictures])
        found.append(describe(grids_of(composer, pixels)))
        step += 1
    return torch.cat(found)[:count]


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    options = _parser().parse_args(argv)
    composer, config = load_composer(options.model), load_config(options.config, options.set)
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    checks: dict[str, Tensor] = {}
    for name in config.sources:
        parts = [descriptions(composer, config, name, purpose, options.pictures) for purpose in SEEDS]
        seen[name], checks[name] = (parts[0], parts[1]), parts[2]
    trained_on = options.trained_on or " and ".join(config.sources)
    found = fit(seen, trained_on, options.alternative, rate=options.rate)
    found.save(options.model)
    strange = {name: found.of_descriptions(described) for name, described in checks.items()}
    result: dict[str, Any] = {"false alarms": {name: float((v > 1).float().mean()) for name, v in strange.items()}}
    if options.against:
        others = found.of_descriptions(_folder(composer, options.against))
        familiar = torch.cat(list(strange.values()))
        result["against"] = {
            "pictures": len(others),
            "auc": area_under_curve(familiar, others),
            "noted": float((others > 1).float().mean()),
        }
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    return 0


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
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="pictures that should be found strange")
    return parser


def _folder(composer: Composer, folder: Path) -> Tensor:
    from mmgrad_explain.images import open_image

    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})
    if not files:
        raise InputError(f"--against {folder} holds no pictures")
    processor: Any = composer.processor
    found = []
    for start in range(0, len(files), 32):
        pixels, _ = processor.encode_images([open_image(path) for path in files[start : start + 32]])
        found.append(describe(grids_of(composer, pixels)))
    return torch.cat(found)


if __name__ == "__main__":
    sys.exit(main())
