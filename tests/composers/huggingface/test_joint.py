"""Models that read image and text only together: many texts, empty texts, the grid of their patches."""

import importlib.util
from pathlib import Path

import pytest
import torch

from mmgrad_explain import explain
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
