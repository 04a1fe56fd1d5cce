"""Write the table in docs/generative.md, or check that it matches the code.

Each row is computed from a public checkpoint's config and its image processor's settings: the real image processor
works on an image of 640 x 480 pixels, and the layout of the default layer gives the cells that lie on it. No model is
built.

Usage: ``python docs/generative_table.py [--check]``
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import page_table
import torch
import transformers
from PIL import Image

from mmgrad_explain.composers.generative import generative_families

PAGE = Path(__file__).parent / "generative.md"
IMAGE = (640, 480)  # width and height


def row(kind: str) -> list[str]:
    """Compute one family's cells."""
    family = generative_families()[kind]
    checkpoint = family.checkpoint
    config = getattr(transformers, family.model_class).config_class(**checkpoint.config)
    image_processor = getattr(transformers, checkpoint.image_processor)(**checkpoint.settings)
    processor = SimpleNamespace(image_processor=image_processor, patch_size=14)
    image = Image.new("RGB", IMAGE)
    made = image_processor(images=[image], return_tensors="pt")
    tensors = {name: made[name] for name in family.image_tensors} | {"input_ids": torch.zeros(1, 1, dtype=torch.long)}
    tensors |= family.tiles_of(processor, image, tensors)
    height, width = family.place(processor, image, tensors).input
    layer = family.layer(config)
    cells = family.layout(SimpleNamespace(config=config), layer, tensors)
    parts = [(int(h), int(w)) for h, w in re.findall(r"(\d+) x (\d+)", cells.name)]
    grid = cells.fold(torch.zeros(1, 1, sum(h * w for h, w in parts))).shape
    return [
        family.title,
        f"`{kind}`",
        f"`{family.model_class}`",
        f"`{checkpoint.hub_id}`",
        f"{width} x {height}",
        f"`{layer}`",
        f"{grid[1]} x {grid[2]}",
        " and ".join(f"{h} x {w}" for h, w in parts[1:]),
        str(sum(h * w for h, w in parts)),
    ]


def table() -> str:
    """Compute the whole table."""
    head = ["family", "`model_type`", "class", "for example", "pixels", "layer", "map", "whole again", "cells"]
    return page_table.markdown(head, map(row, generative_families()))


def main(arguments: list[str]) -> int:
    """Write or check."""
    transformers.utils.logging.set_verbosity_error()
    return page_table.main(PAGE, "generative_table.py", table, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
