"""Two towers in one space: the sum, the match, targets, and the empty text."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from mmgrad_explain.composers.dual_encoder import DualEncoder, as_projected, to_unit, unit_features


class Towers(DualEncoder):
    """Mean colours, and mean ids."""

    def encode_image(self, pixel_values):
        return F.normalize(pixel_values.mean((2, 3)), dim=-1)

    def embed_text(self, input_ids, attention_mask):
        assert attention_mask.any(1).all()  # attention to nothing is not a number
        ids = (input_ids * attention_mask).float()
        return F.normalize(torch.stack([ids.sum(1), ids.amax(1), torch.ones(len(ids))], 1), dim=-1)


@pytest.fixture
def inputs():
    pixels = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return pixels, torch.tensor([[1, 2], [3, 0]]), torch.tensor([[1, 1], [0, 0]])


def test_the_query_is_the_sum_and_an_empty_text_adds_nothing(inputs):
    output = Towers()(*inputs)
    torch.testing.assert_close(output.embedding, output.image + output.text)
    assert (output.shift is output.text, output.target, output.match) == (True, None, None)
    torch.testing.assert_close(output.text.norm(dim=-1), torch.tensor([1.0, 0.0]))


def test_a_target_is_embedded_alone_and_composed(inputs):
    towers = Towers()
    output, other = towers(*inputs, inputs[0].flip(0)), towers(inputs[0].flip(0), *inputs[1:])
    torch.testing.assert_close(output.target, other.image)
    torch.testing.assert_close(output.target_composed, other.embedding)
    torch.testing.assert_close(output.target_shift, output.shift)


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: SimpleNamespace(pooler_output=one)])
def test_unit_features_of_every_form(wrap):
    torch.testing.assert_close(unit_features(wrap(torch.full((1, 4), 3.0))), torch.full((1, 4), 0.5))
    tokens = torch.stack([torch.full((1, 4), 2.0), torch.rand(1, 4)], 1)  # the class token first
    torch.testing.assert_close(unit_features(wrap(tokens)), torch.full((1, 4), 0.5))


def test_embeddings_as_projected_in_this_block_and_thread_alone():
    from threading import Thread

    vector, seen = torch.tensor([[3.0, 4.0]]), []
    with as_projected():
        assert to_unit(vector).tolist() == [[3, 4]]
        with as_projected(wanted=False):
            assert to_unit(vector).tolist() == [[3, 4]]  # the block outside still counts
        other = Thread(target=lambda: seen.append(to_unit(vector)))
        other.start()
        other.join()
    torch.testing.assert_close(seen[0], torch.tensor([[0.6, 0.8]]))
    torch.testing.assert_close(to_unit(vector), torch.tensor([[0.6, 0.8]]))
