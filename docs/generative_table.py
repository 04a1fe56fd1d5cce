"""Write the table in docs/generative.md, or check that it is what the code says.

Each row is computed from a public checkpoint's config and its image processor's settings: the real image processor
works on a picture of 640 x 480 pixels, and the layer that is explained by default says what cells lie on it. No model
is built.

Usage: ``python docs/generative_table.py [--check]``
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import page_table
import torch
import transformers
from PIL import Image

from mmgrad_explain.composers.generative import FAMILIES

PAGE = Path(__file__).parent / "generative.md"
PICTURE = (640, 480)  # width and height

_PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
_ONEVISION = [[384 * rows, 384 * columns] for rows in range(1, 7) for columns in range(1, 7)]
_CLIP = {"model_type": "clip_vision_model", "image_size": 336, "patch_size": 14}
_CROP = {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}}
_QWEN = {"patch_size": 14, "min_pixels": 3136, "max_pixels": 12845056}


def _siglip(size: int) -> dict[str, Any]:
    return {"model_type": "siglip_vision_model", "image_size": size, "patch_size": 14}


def _square(size: int) -> dict[str, Any]:
    return {"size": {"height": size, "width": size}}


# A public checkpoint, what its config changes in the default of its class, its image processor and that one's settings.
CHECKPOINTS: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "llava": ("llava-hf/llava-1.5-7b-hf", {"vision_config": _CLIP}, "CLIPImageProcessor", _CROP),
    "llava_next": (
        "llava-hf/llava-v1.6-mistral-7b-hf",
        {"vision_config": _CLIP, "image_grid_pinpoints": _PINPOINTS},
        "LlavaNextImageProcessor",
        {**_CROP, "image_grid_pinpoints": _PINPOINTS},
    ),
    "llava_onevision": (
        "llava-hf/llava-onevision-qwen2-7b-ov-hf",
        {"vision_config": _siglip(384), "image_grid_pinpoints": _ONEVISION},
        "LlavaOnevisionImageProcessor",
        {**_square(384), "image_grid_pinpoints": _ONEVISION},
    ),
    "qwen2_vl": ("Qwen/Qwen2-VL-7B-Instruct", {}, "Qwen2VLImageProcessor", _QWEN),
    "qwen2_5_vl": ("Qwen/Qwen2.5-VL-7B-Instruct", {}, "Qwen2VLImageProcessor", _QWEN),
    "qwen3_vl": (
        "Qwen/Qwen3-VL-8B-Instruct",
        {},
        "Qwen2VLImageProcessor",
        {"patch_size": 16, "min_pixels": 65536, "max_pixels": 16777216},
    ),
    "paligemma": (
        "google/paligemma2-3b-mix-448",
        {"vision_config": _siglip(448)},
        "SiglipImageProcessor",
        _square(448),
    ),
    "gemma3": ("google/gemma-3-4b-it", {"vision_config": _siglip(896)}, "Gemma3ImageProcessor", _square(896)),
    "idefics3": (
        "HuggingFaceM4/Idefics3-8B-Llama3",
        {"vision_config": {"image_size": 364, "patch_size": 14}},
        "Idefics3ImageProcessor",
        {"size": {"longest_edge": 1456}, "max_image_size": {"longest_edge": 364}},
    ),
    "smolvlm": (
        "HuggingFaceTB/SmolVLM2-2.2B-Instruct",
        {"vision_config": {"image_size": 384, "patch_size": 14}, "scale_factor": 3},
        "SmolVLMImageProcessor",
        {"size": {"longest_edge": 1536}, "max_image_size": {"longest_edge": 384}},
    ),
    "internvl": (
        "OpenGVLab/InternVL3-8B-hf",
        {},
        "GotOcr2ImageProcessor",
        {**_square(448), "crop_to_patches": True},
    ),
}


def row(kind: str) -> list[str]:
    """One family's cells."""
    family = FAMILIES[kind]
    checkpoint, changes, processor_class, settings = CHECKPOINTS[kind]
    config = getattr(transformers, family.model_class).config_class(**changes)
    image_processor = getattr(transformers, processor_class)(**settings)
    processor = SimpleNamespace(image_processor=image_processor, patch_size=14)
    image = Image.new("RGB", PICTURE)
    made = image_processor(images=[image], return_tensors="pt")
    tensors = {name: made[name] for name in family.pictures} | {"input_ids": torch.zeros(1, 1, dtype=torch.long)}
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
        f"`{checkpoint}`",
        f"{width} x {height}",
        f"`{layer}`",
        f"{grid[1]} x {grid[2]}",
        " and ".join(f"{h} x {w}" for h, w in parts[1:]),
        str(sum(h * w for h, w in parts)),
    ]


def table() -> str:
    """The whole table."""
    head = ["family", "`model_type`", "class", "for example", "pixels", "layer", "map", "whole again", "cells"]
    return page_table.markdown(head, map(row, FAMILIES))


def main(arguments: list[str]) -> int:
    """Write or check."""
    transformers.utils.logging.set_verbosity_error()
    return page_table.main(PAGE, "generative_table.py", table, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
