"""The plain ResNet is timm's."""

import pytest
import torch

from mmgrad_explain.composers.reference.config import NetworkConfig
from mmgrad_explain.composers.reference.plain_resnet import PlainResNet
from mmgrad_explain.composers.reference.trunk import timm_trunk


@pytest.mark.parametrize(
    "options",
    [
        NetworkConfig().backbone_options,
        {"layers": [2, 1, 1, 1], "channels": [8, 8, 24, 8], "stem_width": 8, "groups": 2},
    ],
)
def test_plain_resnet_is_timms(options):
    trunk = timm_trunk(NetworkConfig(backbone_options=options))
    plain = PlainResNet(**options)
    assert (trunk.channels, trunk.strides) == (tuple(options["channels"][:3]), (4, 8, 16))
    plain.load_state_dict(trunk.module.state_dict())
    pixels = torch.randn(2, 3, 64, 96)
    for ours, theirs in zip(plain(pixels), trunk.module(pixels), strict=True):
        torch.testing.assert_close(ours, theirs)
