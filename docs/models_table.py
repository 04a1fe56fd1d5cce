"""Write the table in docs/models.md, or check that it is what the code says.

Each row is computed: the family's model is built without weights from the config of a public checkpoint, runs once on a
picture of that checkpoint's size, and the layer that is explained by default says what grid it lies on.

Usage: ``python docs/models_table.py [--check]``
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import page_table
import torch
import transformers

from mmgrad_explain.attention import describe_layout, infer_layout
from mmgrad_explain.composers.huggingface import FAMILIES, composer_class

PAGE = Path(__file__).parent / "models.md"

_LARGE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
_HUGE = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16}
_NARROW_BRIDGE = {
    "hidden_size": 64,
    "text_config": {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 4, "vocab_size": 8},
    "vision_config": {"hidden_size": 64, "image_size": 288},
}
# A public checkpoint, and what its vision config changes in the default of its class in transformers.
CHECKPOINTS: dict[str, tuple[str, dict[str, Any]]] = {
    "clip": ("openai/clip-vit-base-patch32", {}),
    "metaclip_2": ("facebook/metaclip-2-worldwide-huge-quickgelu", {**_HUGE, "patch_size": 14}),
    "siglip": ("google/siglip-base-patch16-224", {}),
    "siglip2": ("google/siglip2-base-patch16-naflex", {"num_hidden_layers": 1}),  # it has weights, so it is kept small
    "clipseg": ("CIDAS/clipseg-rd64-refined", {"patch_size": 16}),
    "align": ("kakaobrain/align-base", {"image_size": 289, "hidden_dim": 640}),
    "chinese_clip": ("OFA-Sys/chinese-clip-vit-base-patch16", {"patch_size": 16}),
    "altclip": ("BAAI/AltCLIP", {**_LARGE, "patch_size": 14}),
    "flava": ("facebook/flava-full", {}),
    "groupvit": ("nvidia/groupvit-gcc-yfcc", {}),
    "blip": ("Salesforce/blip-itm-base-coco", {}),
    "blip-2": ("Salesforce/blip2-itm-vit-g", {}),
    "vilt": ("dandelin/vilt-b32-finetuned-coco", {"hidden_size": 24, "intermediate_size": 24}),  # narrow, likewise
    "bridgetower": ("BridgeTower/bridgetower-base-itm-mlm", _NARROW_BRIDGE),
}
PIXELS = {"clipseg": 352}  # of a checkpoint's image processor, where it is not what the vision config says


def row(kind: str) -> list[str]:
    """One family's cells."""
    family = FAMILIES[kind]
    checkpoint, changes = CHECKPOINTS[kind]
    model_class = getattr(transformers, family.model_class)
    joint = family.composer in ("joint", "bridge")
    part = "image_config" if kind == "flava" else "vision_config"
    # NaFlex stretches positions by values, ViLT counts its patches and BridgeTower its words, so that weights must be
    # there; no text is read in NaFlex, so that a small tower does.
    real = joint or family.composer == "patches"
    text = {"vocab_size": 8, "num_hidden_layers": 1} if family.composer == "patches" else {}
    options = changes if joint else {part: changes, "text_config": text}
    with torch.device("cpu" if real else "meta"), torch.no_grad():
        model = model_class(model_class.config_class(**options)).eval()
        composer: Any = composer_class(family)(model, None, family, checkpoint)  # type: ignore[arg-type]  # nothing is prepared
        vision = getattr(model.config, part, model.config)
        own = int(vision.num_patches**0.5) * vision.patch_size if family.composer == "patches" else vision.image_size
        side = PIXELS.get(kind, own)
        pixels, ids = torch.zeros(1, 3, side, side), torch.ones(1, 4, dtype=torch.long)
        layer = composer.get_submodule(composer.target_layer)
        seen: list[Any] = []
        handle = layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
        features = composer.encode_image(pixels)
        if joint:
            composer.compose(features, composer.encode_text(ids, ids))
        handle.remove()
    activation = seen[0] if isinstance(seen[0], torch.Tensor) else seen[0].last_hidden_state
    if joint:
        read = composer.layout_for(composer.target_layer, pixel_values=pixels, input_ids=ids)
        grid = tuple(read(activation).shape[2:])
        where = describe_layout(read).replace(f"after {ids.shape[1] + 1}", "after the text and 1")
    else:
        layout = infer_layout(activation, module=layer, model=composer, image_size=(side, side))
        grid = layout.grid or tuple(activation.shape[2:])
        where = describe_layout(layout) if layout.grid else layout.kind
    score = str(composer.default_score)
    return [
        family.title,
        f"`{kind}`",
        f"`{family.model_class}`",
        score,
        f"`{checkpoint}`",
        f"{side}",
        f"`{composer.target_layer}`",
        f"{grid[0]} x {grid[1]}",
        where,
    ]


def table() -> str:
    """The whole table."""
    head = ["family", "`model_type`", "class", "default score", "for example", "pixels", "layer", "grid", "layout"]
    return page_table.markdown(head, map(row, FAMILIES))


def main(arguments: list[str]) -> int:
    """Write or check."""
    transformers.utils.logging.set_verbosity_error()
    return page_table.main(PAGE, "models_table.py", table, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
