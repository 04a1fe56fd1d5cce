"""Trunks of timm."""

from dataclasses import replace

import pytest
import torch

from mmgrad_explain.composers.reference.build import build_network
from mmgrad_explain.composers.reference.config import NetworkConfig
from mmgrad_explain.composers.reference.plain_mobilenet import PlainMobileNetV2
from mmgrad_explain.composers.reference.plain_resnet import PlainResNet
from mmgrad_explain.composers.reference.trunk import build_trunk, spellings
from mmgrad_explain.errors import InputError

CONVNEXT = {"depths": [1, 1, 1, 1], "dims": [8, 8, 16, 8]}
SWIN = {"img_size": 32, "patch_size": 4, "window_size": 2, "depths": (1, 1, 1), "num_heads": (1, 1, 1), "embed_dim": 8}
VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}


def config(name, options, taps):
    return NetworkConfig(image_size=32, backbone=name, backbone_options=options, taps=taps)


@pytest.mark.parametrize(
    ("name", "options", "taps", "sides"),
    [
        ("convnext_atto", CONVNEXT, None, [8, 4, 2]),
        ("convnext_atto", CONVNEXT, (1, 3), [4, 1]),
        ("swin_tiny_patch4_window7_224", SWIN, (0, 1, 2), [8, 4, 2]),
        ("vit_tiny_patch16_224", VIT, (0, 2), [4, 4]),
        ("mnasnet_small", {"pad_type": "same"}, (1, 2), [8, 4]),
    ],
)
def test_maps_have_the_channels_and_strides_that_are_said(name, options, taps, sides):
    trunk = build_trunk(config(name, options, taps))
    with torch.no_grad():
        maps = trunk.module.eval()(torch.zeros(1, 3, 32, 32))
    assert [one.shape[2] for one in maps] == sides
    assert [32 // side for side in sides] == list(trunk.strides)
    assert [one.shape[1] for one in maps] == list(trunk.channels)
    modules = dict(trunk.module.named_modules())
    seen = []
    for layer in trunk.described:
        modules[layer].register_forward_hook(lambda module, pixels, output: seen.append((pixels[0], output)))
    trunk.module(torch.ones(1, 3, 32, 32))
    assert seen[0][0].shape == (1, 3, 32, 32)
    assert len(seen) == len(trunk.described) >= 2


def test_stages_after_the_last_tap_are_left_out():
    for options in ({"pad_type": "same"}, {"pad_type": "same", "drop_path_rate": 0.0}):  # in plain torch, and by timm
        trunk = build_trunk(config("mobilenetv2_035", options, (1, 2)))
        assert isinstance(trunk.module, PlainMobileNetV2) == (len(options) == 1)
        used = [name for name, weight in trunk.module.named_parameters() if "blocks" in name]
        assert {name.split(".")[1] for name in used} == {"0", "1", "2"}


def test_the_bundled_trunk_needs_no_timm(tiny_config):
    assert isinstance(build_trunk(tiny_config).module, PlainResNet)
    other = build_trunk(replace(tiny_config, taps=(0, 1)))
    assert not isinstance(other.module, PlainResNet)
    assert other.strides == (2, 4)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "no_such_model"])
def test_a_backbone_without_the_three_strides_is_refused(tiny_config, name):
    with pytest.raises(InputError, match=r"strides 4, 8 and 16"):
        build_network(replace(tiny_config, backbone=name, backbone_options={}))


def test_a_tap_that_is_not_there():
    with pytest.raises(
        InputError, match=r"taps: mobilenetv2_035 has no feature 5; it has 0 at stride 2, 1 at stride 4"
    ):
        build_trunk(config("mobilenetv2_035", {}, (1, 5)))
    with pytest.raises(InputError, match="feature indices"):
        build_trunk(config("no_such_model", {}, (1, 2)))


@pytest.mark.parametrize("option", ["features_only", "out_indices", "num_classes"])
def test_options_that_taps_stand_for(option):
    with pytest.raises(InputError, match=f"backbone_options: {option} is not for you to set: taps say which maps"):
        build_trunk(config("resnet18", {option: 1}, (1, 2)))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet18", {"checkpoint_path": "weights.pth"}),
        ("resnet18", {"pretrained": True}),
        ("resnet18", {"pretrained_cfg_overlay": {"file": "weights.pth"}}),
        ("hf-hub:someone/model", {}),
    ],
)
def test_a_config_loads_nothing_from_elsewhere(tiny_config, name, options):
    with pytest.raises(InputError, match="must not load weights from elsewhere"):
        build_trunk(replace(tiny_config, backbone=name, backbone_options=options))


@pytest.mark.parametrize(
    ("wrapped", "plain"),
    [("stages_0.blocks.1.norm.weight", "stages.0.blocks.1.norm.weight"), ("model.blocks.1.norm", "blocks.1.norm"),
     ("body.stem.conv", "stem.conv"), ("conv_stem.weight", "conv_stem.weight")],
)  # fmt: skip
def test_names_in_the_wrappers_of_timm(wrapped, plain):
    assert plain in spellings(wrapped)
    assert wrapped in spellings(plain)
