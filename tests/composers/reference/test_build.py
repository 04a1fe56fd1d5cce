"""Building the reference network from a config."""

from dataclasses import asdict, replace

import torch

from mmgrad_explain.composers.reference.build import build_network, network_config
from mmgrad_explain.composers.reference.plain_resnet import PlainResNet


def test_the_sizes_are_read_from_a_config(tiny_config):
    assert network_config({**asdict(tiny_config), "model_type": "mmgrad_reference"}) == tiny_config
    assert network_config({"heads": 2}).heads == 2


def test_the_default_backbone_needs_no_timm(tiny_config):
    network = build_network(tiny_config)
    assert isinstance(network.visual, PlainResNet)
    assert network.config == tiny_config


def test_another_timm_backbone(tiny_config):
    config = replace(
        tiny_config, backbone="convnext_atto", backbone_options={"depths": [1, 1, 1, 1], "dims": [8, 8, 16, 8]}
    )
    network = build_network(config)
    assert not isinstance(network.visual, PlainResNet)
    assert network.encode_image(torch.zeros(1, 3, 32, 32)).shape == (1, 16, 8, 8)
    assert network.config == replace(config, taps=(0, 1, 2))  # timm need not be asked again
