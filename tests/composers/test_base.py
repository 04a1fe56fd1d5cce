"""The base class of composers: a forward made of stages, batches, names of layers inside wrappers."""

import pytest
import torch
from PIL import Image
from torch import nn

from mmgrad_explain.composers.base import Composer, check_image_side, layer_inside, prepare_batch
from mmgrad_explain.composers.outputs import ComposedOutput
from mmgrad_explain.composers.processor import SquareProcessor
from mmgrad_explain.errors import InputError


class Sums(Composer):
    """Stages of which every number can be told by hand."""

    def encode_image(self, pixel_values):
        return pixel_values.mean((2, 3))

    def encode_text(self, input_ids, attention_mask):
        return ((input_ids * attention_mask).float().sum(1, keepdim=True),)

    def compose(self, features, text):
        return ComposedOutput(features + text[0], text[0].expand_as(features))

    def embed(self, features):
        return 10 * features


def inputs(value):
    return torch.full((1, 3, 4, 4), float(value)), torch.tensor([[2, 3, 9]]), torch.tensor([[1, 1, 0]])


def test_a_forward_is_made_of_the_stages():
    output = Sums()(*inputs(1))
    assert (output.embedding[0, 0], output.shift[0, 0], output.target) == (6, 5, None)
    output = Sums()(*inputs(1), torch.full((1, 3, 4, 4), 2.0))
    assert output.embedding.tolist() == [[6] * 3]
    assert output.target.tolist() == [[20] * 3]
    assert output.target_shift.tolist() == [[5] * 3]
    assert output.target_composed.tolist() == [[7] * 3]


def test_a_batch_needs_one_of_each():
    processor = SquareProcessor(lambda text: [len(text)], 8)
    image = Image.new("RGB", (8, 8))
    batch = prepare_batch(processor, [image], ["red"], [image])
    assert set(batch.tensors) == {"pixel_values", "input_ids", "attention_mask", "target_pixel_values"}
    assert (len(batch.placements), len(batch.target_placements), batch.notices) == (1, 1, [])
    for images, texts, targets in (([image], [], None), ([image], ["a"], [])):
        with pytest.raises(InputError, match=r"a batch needs one text \(and one target, if any\) for each image, got"):
            prepare_batch(processor, images, texts, targets)
    with pytest.raises(InputError, match="lone surrogates"):
        prepare_batch(processor, [image], ["\ud800"])


@pytest.mark.parametrize("side", [0, 16_385, 32.0, True, "32"])
def test_sides_that_no_image_has(side):
    check_image_side(16_384)
    with pytest.raises(InputError, match="image_size must be a whole number from 1 to 16384, not "):
        check_image_side(side)


def test_a_layer_inside_wrappers():
    inner = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    model = nn.ModuleDict({"vision": nn.ModuleDict({"_orig_mod": inner})})
    assert layer_inside(model, "vision.1") == "vision._orig_mod.1"
    assert layer_inside(model, "vision.2") is None
