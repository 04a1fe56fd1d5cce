"""The reference network: its timm twin, the empty text, batches, second derivatives."""

import pytest
import torch

from mmgrad_explain.composers.reference.build import build_network, timm_backbone
from mmgrad_explain.composers.reference.config import NetworkConfig
from mmgrad_explain.composers.reference.network import ReferenceNetwork
from mmgrad_explain.composers.reference.plain_resnet import PlainResNet


def inputs(config, batch=3, words=5):
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(batch, 3, config.image_size, config.image_size, generator=generator)
    ids = torch.randint(2, config.vocab_size, (batch, words), generator=generator)
    return pixels, ids, torch.ones_like(ids)


@pytest.mark.parametrize(
    "options",
    [
        NetworkConfig().backbone_options,
        {"layers": [2, 1, 1, 1], "channels": [8, 8, 24, 8], "stem_width": 8, "groups": 2},
    ],
)
def test_plain_resnet_is_timms(options):
    config = NetworkConfig(backbone_options=options)
    timm_model, channels = timm_backbone(config)
    plain = PlainResNet(**options)
    assert channels == options["channels"][:3]
    plain.load_state_dict(timm_model.state_dict())
    pixels = torch.randn(2, 3, 64, 96)
    for ours, theirs in zip(plain(pixels), timm_model(pixels), strict=True):
        torch.testing.assert_close(ours, theirs)


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
    shift = network.shift(features, words, sentence, mask.bool())
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
