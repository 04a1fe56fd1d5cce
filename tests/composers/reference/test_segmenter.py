"""A segmentation head on the trunk's last map, as a further map of the features."""

import pytest
import torch

from mmgrad_explain.composers.reference.build import build_network
from mmgrad_explain.composers.reference.config import NetworkConfig
from mmgrad_explain.composers.reference.segmenter import Segmenter
from mmgrad_explain.errors import InputError

SMALL = {
    "image_size": 32, "vocab_size": 5, "text_width": 16, "text_layers": 1, "heads": 2, "feature_width": 16,
    "embed_dim": 8, "backbone": "mobilenetv2_035", "backbone_options": {"pad_type": "same", "output_stride": 16},
    "taps": (2, 3, 4),
}  # fmt: skip


def test_every_cell_gets_logits_that_know_the_whole_map():
    torch.manual_seed(0)
    head, x = Segmenter(6, 4).eval(), torch.rand(2, 6, 3, 5)
    logits = head(x)
    assert logits.shape == (2, 4, 3, 5)
    elsewhere = x.clone()
    elsewhere[..., -1] += 5
    assert not torch.allclose(head(elsewhere)[..., 0], logits[..., 0])


def test_what_the_head_finds_reaches_the_features():
    torch.manual_seed(0)
    network = build_network(NetworkConfig(**SMALL, segmenter=4)).eval()
    pixels = torch.rand(1, 3, 32, 32)
    before = network.encode_image(pixels)
    with torch.no_grad():
        network.segmenter.logits.bias[2] += 20
    assert before.shape == (1, 16, 4, 4)
    assert not torch.allclose(network.encode_image(pixels), before)


def test_without_classes_there_is_no_head():
    assert build_network(NetworkConfig(**SMALL)).segmenter is None


@pytest.mark.parametrize("classes", [-1, 2.0, True])
def test_a_wrong_number_of_classes(classes):
    with pytest.raises(InputError, match="segmenter must be a whole number from 0 on"):
        NetworkConfig(segmenter=classes)
