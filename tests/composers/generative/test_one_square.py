"""Models that see an image as one square of patches."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers

from mmgrad_explain.composers.generative.one_square import place_in_square, square_layout
from mmgrad_explain.errors import InputError

_SPEC = importlib.util.spec_from_file_location("small", Path(__file__).with_name("small_models.py"))
small = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small)


def test_pan_and_scan_is_refused():
    with pytest.raises(InputError, match="set do_pan_and_scan to false"):
        place_in_square(small.processor("gemma3", do_pan_and_scan=True), (60, 90), {})


def test_a_resize_to_no_square_is_refused():
    pixtral = SimpleNamespace(image_processor=transformers.PixtralImageProcessor(), patch_size=16)
    refused = r"uses do_pad and a resize to \{'longest_edge': 1024\}, which cannot be undone"
    with pytest.raises(InputError, match=refused):
        place_in_square(pixtral, (60, 90), {})


def test_padding_to_a_square_comes_first():
    placement = place_in_square(small.processor("llava"), (60, 90), {})
    assert placement.input == (32, 32)
    assert placement.offset == pytest.approx((15 * 32 / 90, 0.0))


@pytest.mark.parametrize(
    ("layer", "averaged", "side"),
    [
        ("vision_tower.encoder.layers.0", None, 8),
        ("multi_modal_projector", None, 8),
        ("vision_tower.encoder.layers.0", 16, 8),
        ("multi_modal_projector", 16, 4),  # Gemma 3's projector averages patches
        ("multi_modal_projector.mm_soft_emb_norm", 16, 8),
        ("language_model.layers.0", 16, 4),
    ],
)
def test_the_grid_of_a_layer(layer, averaged, side):
    vision = SimpleNamespace(image_size=32, patch_size=4)
    config = SimpleNamespace(vision_config=vision, image_token_id=9)
    if averaged is not None:
        config.mm_tokens_per_image = averaged
    ids = torch.tensor([[1, *[9] * side**2]])
    assert square_layout(SimpleNamespace(config=config), layer, {"input_ids": ids}).name == f"{side} x {side} cells"
