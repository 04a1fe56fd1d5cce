"""Write the table in docs/models.md, or check that it matches the code.

Each row is computed: the family's model is built without weights from the config of a public checkpoint and runs once
on an image of that checkpoint's size; the default layer then has the grid that the row shows.

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
from mmgrad_explain.composers.huggingface import HuggingFaceComposer, JointComposer, contrastive_families

PAGE = Path(__file__).parent / "models.md"


def row(kind: str) -> list[str]:
    """Compute one family's cells."""
    family = contrastive_families()[kind]
    checkpoint = family.checkpoint
    model_class = getattr(transformers, family.model_class)
    options = dict(checkpoint.config)
    with torch.device("cpu" if checkpoint.needs_weights else "meta"), torch.no_grad():
        model = model_class(model_class.config_class(**options)).eval()
        composer: Any = (family.composer or HuggingFaceComposer)(model, None, family, checkpoint.hub_id)
        side = checkpoint.image_size or trained_size(model.config)
        pixels, ids = torch.zeros(1, 3, side, side), torch.ones(1, 4, dtype=torch.long)
        layer = composer.get_submodule(composer.target_layer)
        outputs: list[Any] = []
        handle = layer.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
        features = composer.encode_image(pixels)
        joint = isinstance(composer, JointComposer)
        if joint:
            composer.compose(features, composer.encode_text(ids, ids))
        handle.remove()
    activation = outputs[0] if isinstance(outputs[0], torch.Tensor) else outputs[0].last_hidden_state
    if joint:
        read = composer.layout_for(composer.target_layer, pixel_values=pixels, input_ids=ids)
        grid = tuple(read(activation).shape[2:])
        where = describe_layout(read).replace(f"after {ids.shape[1] + 1}", "after the text and 1")
    else:
        layout = infer_layout(activation, module=layer, model=composer, image_size=(side, side))
        grid = layout.grid or tuple(activation.shape[2:])
        where = describe_layout(layout) if layout.grid else layout.kind
    return [
        family.title,
        f"`{kind}`",
        f"`{family.model_class}`",
        str(composer.default_score),
        f"`{checkpoint.hub_id}`",
        f"{side}",
        f"`{composer.target_layer}`",
        f"{grid[0]} x {grid[1]}",
        where,
    ]


def trained_size(config: Any) -> int:
    """Find the side of the images that a model was trained on, in pixels."""
    vision = getattr(config, "vision_config", None) or getattr(config, "image_config", config)
    if hasattr(vision, "num_patches"):  # NaFlex has a number of patches in place of a size
        return int(vision.num_patches**0.5) * int(vision.patch_size)
    return int(vision.image_size)


def table() -> str:
    """Compute the whole table."""
    head = ["family", "`model_type`", "class", "default score", "for example", "pixels", "layer", "grid", "layout"]
    return page_table.markdown(head, map(row, contrastive_families()))


def main(arguments: list[str]) -> int:
    """Write or check."""
    transformers.utils.logging.set_verbosity_error()
    return page_table.main(PAGE, "models_table.py", table, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
