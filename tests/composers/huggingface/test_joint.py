"""Models that read image and text only together: many texts, and other layers."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain import explain
from mmgrad_explain.attention import MMGrad, to_grid
from mmgrad_explain.attention.layouts.of_records import find_layouts
from mmgrad_explain.composers.huggingface.joint import patch_reader

_SPEC = importlib.util.spec_from_file_location("small", Path(__file__).with_name("small_models.py"))
small = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small)
pytestmark = pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # random: a map may be empty


@pytest.mark.parametrize("kind", small.MATCHING, indirect=True)
def test_many_texts_are_what_each_is_alone(loaded, picture):
    """The picture is encoded once; texts of different lengths are padded."""
    composer, _ = loaded
    together = explain(picture, small.TEXTS, model=composer)
    for index, text in enumerate(small.TEXTS):
        alone = explain(picture, text, model=composer)
        torch.testing.assert_close(together.score[index], alone.score[0], atol=1e-5, rtol=1e-4)
        one, all_ = (explanation.signed[composer.target_layer][0] for explanation in (alone, together))
        torch.testing.assert_close(all_[index] / one.abs().max(), one[0] / one.abs().max(), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("kind", "layers", "grid"),
    [
        ("vilt", ("encoder.layer.0", "embeddings.patch_embeddings.projection"), (4, 6)),
        (
            "bridgetower",
            ("cross_modal_image_layers.0", "vision_model.visual.transformer.resblocks.1", "vision_model.visual.ln_pre"),
            (4, 4),
        ),
    ],
    indirect=["kind"],
)
def test_other_layers_of_models_that_read_together(kind, loaded, picture, layers, grid):
    """Before ViLT's patches are put in order its convolution lies on a grid; BridgeTower's tower has the batch second.

    A marked place is found in all of them.
    """
    composer, _ = loaded
    names = [f"model.{kind}.{layer}" for layer in layers]
    marked = np.asarray(picture.resize((60, 40))).copy()
    marked[20:30, 30:40] = (255, 0, 0)
    tensors = composer.preprocess([picture, Image.fromarray(marked)], small.TEXTS[:1] * 2).tensors
    with MMGrad(composer, names).capture() as seen:
        composer(**tensors)
    layouts = find_layouts(seen, None, composer, {})
    for name in names:
        values = to_grid(seen.calls(name)[0].activation.detach(), layouts[name][0])
        assert values.shape[2:] == grid
        place = divmod(int((values[1] - values[0]).square().sum(0).argmax()), grid[1])
        assert place == (2, grid[1] // 2)


def test_patches_are_put_on_their_grid():
    pixels = torch.zeros(2, 3, 16, 24)
    tokens = torch.arange(2 * 8 * 5).reshape(2, 8, 5)
    reader = patch_reader(pixels, 8, 2)
    assert reader.__name__ == "tokens 2 x 3 after 2"
    assert reader(tokens).shape == (2, 5, 2, 3)
    assert torch.equal(reader(tokens)[:, :, 1, 0], tokens[:, 2 + 3])
    assert torch.equal(patch_reader(pixels, 8, 2, sequence_first=True)(tokens.transpose(0, 1)), reader(tokens))


@pytest.mark.parametrize("kind", ["vilt"], indirect=True)
def test_an_empty_text_keeps_its_start_and_end(loaded):
    ids = torch.tensor([[1, 10], [1, 10]])
    _, mask = loaded[0].encode_text(ids, torch.tensor([[0, 0], [1, 0]]))
    assert mask.tolist() == [[1, 1], [1, 0]]
