"""The plain MobileNetV2 is timm's, whatever the padding, the output stride and the taps."""

import pytest
import torch
from torch import nn

from mmgrad_explain.composers.reference.config import NetworkConfig
from mmgrad_explain.composers.reference.plain_mobilenet import PlainMobileNetV2, SamePadConv
from mmgrad_explain.composers.reference.trunk import build_trunk, timm_trunk


@pytest.mark.parametrize(
    ("name", "options", "taps", "strides"),
    [
        ("mobilenetv2_035", {}, (1, 2, 3), (4, 8, 16)),
        ("mobilenetv2_035", {"pad_type": "same"}, (0, 4), (2, 32)),
        ("mobilenetv2_050", {"pad_type": "same", "output_stride": 16}, (1, 2, 3, 4), (4, 8, 16, 16)),
        ("mobilenetv2_035", {"output_stride": 8}, (1, 2, 3, 4), (4, 8, 8, 8)),
    ],
)
def test_plain_mobilenet_is_timms(name, options, taps, strides):
    config = NetworkConfig(backbone=name, backbone_options=options, taps=taps)
    plain, other = build_trunk(config), timm_trunk(config)
    assert isinstance(plain.module, PlainMobileNetV2)
    assert (plain.channels, plain.described, plain.taps) == (other.channels, other.described, other.taps)
    assert plain.strides == other.strides == strides
    for module in other.module.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    plain.module.load_state_dict(other.module.state_dict())
    pixels = torch.randn(2, 3, 66, 45).double()  # sides at which the padding differs
    for training in (False, True):
        maps = [one.module.double().train(training)(pixels) for one in (plain, other)]
        for ours, theirs in zip(*maps, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_same_pads_more_below_and_right():
    conv = SamePadConv(1, 1, 3, 2, bias=False)
    nn.init.ones_(conv.weight)
    pixels = torch.zeros(1, 1, 4, 5)
    pixels[0, 0, 0, 0] = 1
    assert conv(pixels).tolist() == [[[[1, 0, 0], [0, 0, 0]]]]
    pixels = torch.zeros(1, 1, 4, 5)
    pixels[0, 0, 3, 4] = 1
    assert conv(pixels).tolist() == [[[[0, 0, 0], [0, 0, 1]]]]
