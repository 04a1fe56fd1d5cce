"""From an image's tokens to the cells of its frame."""

import importlib.util
from pathlib import Path

import pytest
import torch

from mmgrad_explain import InputError
from mmgrad_explain.attention.layouts.layout import to_grid
from mmgrad_explain.composers.generative.token_grid import TokenGrid, make_cells, number_tiles

_SPEC = importlib.util.spec_from_file_location("small", Path(__file__).with_name("small_models.py"))
small = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small)


def test_more_texts_than_pictures(models):
    """A picture's features are handed to the language model once for each text."""
    answering = models["idefics3"]
    tensors, _ = small.prepared("idefics3", small.picture("idefics3"), answering.model)
    tensors["input_ids"] = tensors["input_ids"].expand(3, -1)
    layout = answering.layout_for(answering.target_layer, **tensors)
    features = torch.randn(7, 16, 32).repeat(3, 1, 1)
    assert tuple(to_grid(features, layout).shape) == (3, 32, 1, 7 * 16)


@pytest.mark.parametrize(
    ("kind", "layer", "changes", "message"),
    [
        (
            "idefics3",
            "vision_model.embeddings.patch_embedding",
            {},
            r"shape \(7, 32, 8, 8\) is not 448 tokens for each",
        ),
        (
            "qwen2_vl",
            "visual.merger.ln_q",
            {},
            r"an output of shape \(180, 32\) is not 45 tokens for each of the 1 imag",
        ),
        (
            "llava",
            "language_model.layers.0",
            {"input_ids": torch.tensor([[1, small.TOKEN, 2]])},
            "have 1 image tokens, the",
        ),
        (
            "qwen2_vl",
            "visual.merger",
            {"image_grid_thw": torch.tensor([[1, 10, 18], [1, 10, 16]])},
            r"different image_grid_thw \(\(1, 10, 16\), \(1, 10, 18\)\): explain them one at a time",
        ),
        (
            "llava_next",
            "multi_modal_projector",
            {"image_sizes": torch.tensor([[60, 90], [50, 80]])},
            "images of 60 x 90, 50 x 80 pixels lie differently in their tiles: explain them one at a time",
        ),
    ],
)
def test_what_does_not_fit(kind, layer, changes, message, models):
    answering = models[kind]
    tensors, _ = small.prepared(kind, small.picture(kind), answering.model)
    tensors |= changes

    def read():
        layout = answering.layout_for(layer, **tensors)
        return to_grid(small.activation(answering, f"model.model.{layer}", tensors)[0], layout)

    with torch.no_grad(), pytest.raises(InputError, match=message):
        read()


def test_tiles_are_numbered_one_by_one_and_put_side_by_side():
    assert number_tiles(2, 1, 2).tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]
    assert number_tiles(2, 2, 1, first=3).tolist() == [[3, 4], [5, 6], [7, 8], [9, 10]]


@pytest.mark.parametrize("window", [None, (0.0, 2.0, 0.0, 2.0), (0.5, 1.5, -1.0, 3.0)])
def test_the_whole_adds_its_sum_to_the_tiles(window):
    """Whatever the area that the whole covers, nothing is lost or counted twice."""
    grid = TokenGrid(number_tiles(2), 8, number_tiles(2, first=4), window)
    layout = make_cells(grid, None, "multi_modal_projector", {"input_ids": torch.zeros(1, 1)})
    values = torch.rand(1, 8, 1, dtype=torch.float64)
    folded = layout.fold(to_grid(values, layout).sum(1))
    assert folded.shape == (1, 2, 2)
    torch.testing.assert_close(folded.sum(), values.sum())


def test_tokens_before_the_patches_of_a_tile_have_no_cell():
    layout = make_cells(TokenGrid(number_tiles(2), 4), None, "vision_tower", {"input_ids": torch.zeros(1, 1)})
    assert to_grid(torch.arange(5.0).reshape(1, 5, 1), layout).flatten().tolist() == [1, 2, 3, 4]
