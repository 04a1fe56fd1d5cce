"""The reference network: the trunk's maps, the empty text, batches, second derivatives."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from mmgrad_explain.composers.reference.build import build_network
from mmgrad_explain.composers.reference.config import NetworkConfig
from mmgrad_explain.composers.reference.network import ReferenceNetwork
from mmgrad_explain.composers.reference.plain_resnet import PlainResNet
from mmgrad_explain.errors import InputError


def inputs(config, batch=3, words=5):
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(batch, 3, config.image_size, config.image_size, generator=generator)
    ids = torch.randint(2, config.vocab_size, (batch, words), generator=generator)
    return pixels, ids, torch.ones_like(ids)


def test_shapes_and_the_empty_text(tiny_config):
    network = build_network(tiny_config).eval()
    pixels, ids, mask = inputs(tiny_config)
    output = network(pixels, ids, mask, pixels.flip(0))
    assert network.encode_image(pixels).shape == (3, 16, 8, 8)
    assert output.alone is None  # a gallery holds the target's own embedding
    for value in filter(lambda one: one is not None, output):
        assert value.shape == (3, tiny_config.embed_dim)
    torch.testing.assert_close(output.target_composed, output.target + output.target_shift)
    silent = network(pixels, ids, torch.zeros_like(mask))
    assert torch.equal(silent.shift, torch.zeros_like(silent.shift))
    torch.testing.assert_close(silent.embedding, output.embedding - output.shift)
    torch.testing.assert_close(output.target, silent.embedding.flip(0))


def test_batch_equals_singles_whatever_the_padding(tiny_config):
    network = build_network(tiny_config).eval()
    pixels, ids, mask = inputs(tiny_config)
    mask[1, 3:] = 0
    together = network(pixels, ids, mask).embedding
    alone = network(pixels[1:2], ids[1:2, :3], mask[1:2, :3]).embedding
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)


def test_the_shift_can_be_differentiated_twice(tiny_config):
    network = build_network(tiny_config).double()
    pixels, ids, mask = inputs(tiny_config, batch=1)
    features = network.encode_image(pixels.double()).detach().requires_grad_()
    words, sentence = network.text(ids, mask.bool())
    shift = network.change(features, words, sentence, mask.bool())
    (gradient,) = torch.autograd.grad(shift.square().sum(), features, create_graph=True)
    gradient.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.shift.parameters())
    assert network.text.words.weight.grad.abs().sum() > 0


def test_the_text_matters(tiny_config):
    network = build_network(tiny_config).eval()
    pixels, ids, mask = inputs(tiny_config)
    assert (network(pixels, ids, mask).shift - network(pixels, ids.flip(1), mask).shift).abs().max() > 1e-5


def test_parameter_count_fits_the_wheel():
    config = NetworkConfig()
    network = ReferenceNetwork(config, PlainResNet(**config.backbone_options), config.backbone_options["channels"][:3])
    assert sum(p.numel() for p in network.parameters()) * 4 < 15_000_000


class FourMaps(nn.Module):
    """Averages of the pixels at four strides, times two channels, behind a batch norm."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, pixels):
        pixels = self.norm(pixels)
        return [nn.functional.avg_pool2d(pixels, stride).mean(1, keepdim=True).repeat(1, 2, 1, 1) for stride in STRIDES]


STRIDES = (4, 8, 16, 16)


@pytest.fixture
def four_maps(tiny_config):
    config = replace(tiny_config, frozen_norm=True)
    return ReferenceNetwork(config, FourMaps(), [2] * 4, STRIDES, ("norm",))


@pytest.mark.parametrize("number", range(4))
def test_every_map_of_the_trunk_reaches_the_grid_of_the_first(four_maps, tiny_config, number):
    maps = four_maps.visual(inputs(tiny_config)[0])
    grid = four_maps.neck(maps)
    assert grid.shape == (3, tiny_config.feature_width, 8, 8)
    changed = [one + (index == number) for index, one in enumerate(maps)]
    assert (four_maps.neck(changed) - grid).abs().max() > 1e-3


def test_the_grid_follows_the_first_stride(tiny_config):
    network = ReferenceNetwork(tiny_config, FourMaps(), [2] * 4, STRIDES, ("norm",))
    coarse = ReferenceNetwork(tiny_config, nn.Identity(), [2] * 2, (8, 16), ())
    assert network.neck.positions.shape[1:] == (4, 4)
    assert coarse.neck(network.visual(inputs(tiny_config)[0])[1:3]).shape[2:] == (4, 4)
    assert network.described_layers == ("visual.norm", "neck")


def test_a_side_that_does_not_fit_the_strides(tiny_config):
    with pytest.raises(InputError, match="image_size must be a multiple of 8, the stride of the second map"):
        ReferenceNetwork(replace(tiny_config, image_size=36), FourMaps(), [2] * 4, STRIDES)


def test_frozen_norms_keep_their_statistics_in_training(four_maps, tiny_config):
    pixels = inputs(tiny_config)[0] + 3
    before = four_maps.eval().encode_image(pixels)
    four_maps.train()
    assert four_maps.training
    assert not four_maps.visual.norm.training
    torch.testing.assert_close(four_maps.encode_image(pixels), before)
    assert four_maps.visual.norm.running_mean.eq(0).all()
    assert four_maps.visual.norm.weight.requires_grad
    free = ReferenceNetwork(tiny_config, FourMaps(), [2] * 4, STRIDES).train()
    free.encode_image(pixels)
    assert free.visual.norm.running_mean.ne(0).all()
