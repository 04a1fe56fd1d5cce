"""Networks on a CLIP's embeddings take their sizes from the file; broken files are refused."""

import pytest
import torch

from mmgrad_explain.composers.published.heads import read_combiner, read_im2text, read_phi
from mmgrad_explain.errors import InputError


def test_sizes_are_those_of_the_file(forwards):
    head = read_combiner({"Combiner": forwards.combiner_weights(12, 16)}, "f")
    assert {name: head.options[name] for name in ("width", "hidden", "gate_width")} == {
        "width": 12, "hidden": 16, "gate_width": 16
    }  # fmt: skip
    assert head.options["normalise_inputs"] is False
    head = read_phi({"Phi": forwards.phi_weights(10)}, "f")
    assert (head.options["width"], head.embed_dim, head.word_width) == (10, forwards.SIZE, forwards.WIDTH)
    assert read_im2text(forwards.im2text_weights(), "f").prompt == "a photo of $ , {text}"


def test_more_layers_or_other_shapes_are_refused(forwards):
    deeper = forwards.im2text_weights() | {"layers.2.0.weight": torch.ones(20, 20), "layers.2.0.bias": torch.ones(20)}
    with pytest.raises(InputError, match=r"f is no network of Pic2Word: it has layers.2.0.weight, layers.2.0.bias,"):
        read_im2text({"state_dict_img2text": deeper}, "f")
    flat = forwards.phi_weights() | {"layers.0.weight": torch.ones(20)}
    with pytest.raises(InputError, match=r"f is no network Phi: layers.0.weight is 20, and belongs to a linear layer"):
        read_phi({"Phi": flat}, "f")
    broken = forwards.combiner_weights() | {"combiner_layer.weight": torch.ones(28, 20)}
    with pytest.raises(InputError, match=r"combiner of CLIP4Cir: combiner.mix.0.weight is 28 x 20, .* must be 28 x 40"):
        read_combiner({"Combiner": broken}, "f")
