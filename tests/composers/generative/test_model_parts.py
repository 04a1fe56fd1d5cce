"""Which part of a generative model a layer belongs to, and where an image's tokens are."""

from types import SimpleNamespace

import pytest
import torch

from mmgrad_explain.composers.generative.model_parts import (
    image_side,
    image_token_slots,
    in_connector,
    in_language_model,
    patches_along_side,
    shared_row,
)
from mmgrad_explain.errors import InputError

CONFIG = SimpleNamespace(image_token_id=9)


@pytest.mark.parametrize(
    ("layer", "language", "connector"),
    [
        ("language_model.layers.0", True, False),
        ("text_model.layers.0.input_layernorm", True, False),
        ("vision_tower.encoder.layers.0", False, False),
        ("multi_modal_projector.linear_1", False, True),
        ("visual.merger", False, True),
        ("visual.deepstack_merger_list.0", False, True),
        ("visual.merger_2", False, False),
    ],
)
def test_the_part_of_a_layer(layer, language, connector):
    assert in_language_model(layer) is language
    assert in_connector(layer) is connector


@pytest.mark.parametrize(("size", "patch"), [(32, 8), ([32, 32], [8, 8]), (35, 8)])
def test_the_square_that_the_tower_sees(size, patch):
    config = SimpleNamespace(image_size=size, patch_size=patch)
    assert image_side(config) in (32, 35)
    assert patches_along_side(config) == 4


def test_a_row_that_all_images_share():
    assert shared_row(torch.tensor([[2, 3], [2, 3]]), "tiles") == (2, 3)
    with pytest.raises(
        InputError, match=r"the images have different tiles \(\(2, 3\), \(3, 2\)\): explain them one at"
    ):
        shared_row(torch.tensor([[3, 2], [2, 3]]), "tiles")


def test_image_tokens_in_the_sequence():
    ids = torch.tensor([[1, 9, 9, 2], [0, 1, 9, 9]])
    slots = image_token_slots(CONFIG, "language_model.layers.0", {"input_ids": ids}, 2)
    assert slots.tolist() == [[1, 2], [2, 3]]
    assert image_token_slots(CONFIG, "multi_modal_projector", {"input_ids": ids}, 2) is None


def test_another_number_of_image_tokens_is_refused():
    ids = torch.tensor([[1, 9, 9, 2], [9, 9, 9, 2]])
    with pytest.raises(InputError, match="the prompts have 2, 3 image tokens, the image has 3"):
        image_token_slots(CONFIG, "language_model.layers.0", {"input_ids": ids}, 3)
