"""Images in tiles in their own shape: LLaVA-NeXT and LLaVA-OneVision."""

import importlib.util
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mmgrad_explain.attention.layouts.layout import to_grid

_SPEC = importlib.util.spec_from_file_location("small", Path(__file__).parents[1] / "small_models.py")
small = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small)


def test_resized_cells_in_the_language_model():
    answering = small.Answering("llava_onevision", vision_aspect_ratio="anyres_max_1")
    image, layer = small.picture("llava_onevision"), "model.model.language_model.layers.0.input_layernorm"
    tensors, placement = small.prepared("llava_onevision", image, answering.model)
    layout = answering.layout_for(layer, **tensors)
    assert layout.name == "5 x 2 cells and 4 x 4 of the whole"
    with torch.no_grad():
        before, _ = small.activation(answering, layer, tensors)
        for cell in [(0, 0), (1, 1), (4, 1)]:
            top, bottom, left, right = small.original_box(placement, (5, 2), cell)
            pixels = np.array(image)
            pixels[top:bottom, left:right] = 255 - pixels[top:bottom, left:right]
            changed, _ = small.prepared("llava_onevision", Image.fromarray(pixels), answering.model)
            after, _ = small.activation(answering, layer, changed)
            moved = layout.fold(to_grid(after - before, layout).abs().sum(1))[0]
            assert divmod(int(moved.argmax()), 2) == cell


def test_sizes_that_look_alike(models):
    """Pictures of different sizes that the model sees in the same places."""
    answering = models["llava_next"]
    layout = answering.layout_for(
        answering.target_layer, image_sizes=torch.tensor([[64, 90], [128, 180]]), input_ids=torch.zeros(2, 1)
    )
    assert layout.name == "6 x 8 cells and 4 x 4 of the whole"
