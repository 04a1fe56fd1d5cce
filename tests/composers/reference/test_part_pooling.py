"""Tests of the parts of an embedding."""

import torch

from mmgrad_explain.composers.reference.build import build_network
from mmgrad_explain.composers.reference.config import NetworkConfig
from mmgrad_explain.composers.reference.part_pooling import ChannelReader, NamedChannels, PartPooling, PartShift


def test_a_part_of_one_cell_counts_as_much_as_one_of_many() -> None:
    grid = torch.zeros(1, 6, 10, 10)  # a feature, the shares of three parts, and of two looks
    grid[:, 1] = 1.0  # background
    grid[:, 4] = 1.0  # its look
    grid[:, :, 4, 4] = torch.tensor([9.0, 0.0, 1.0, 0.0, 0.0, 1.0])  # a small part with the other look
    parts = PartPooling(ChannelReader(1, 3), ChannelReader(4, 2))(grid)[0]
    assert torch.allclose(parts[0], torch.tensor([1.0, 0.0, 1.0]), atol=0.02)
    assert torch.allclose(parts[1], torch.tensor([0.0, 1.0, 1.0]), atol=0.02)
    assert parts[2].abs().max() < 0.01  # not there


def test_parts_are_told_from_the_maps_and_looks_from_the_colour_of_the_cell_alone() -> None:
    named = NamedChannels([5, 7], 3, 4)
    maps, image = [torch.rand(1, 5, 4, 4), torch.rand(1, 7, 2, 2)], torch.rand(1, 3, 8, 8)
    grid = named(maps, image)
    parts, looks = ChannelReader(0, 3), ChannelReader(3, 4)
    for reader in (parts, looks):
        torch.testing.assert_close(reader.shares(grid).sum(1), torch.ones(1, 4, 4))
    torch.testing.assert_close(parts(grid), named.parts(maps).log_softmax(1))
    for other in ([maps[0] + 1, maps[1]], [maps[0], maps[1] + 1]):
        assert torch.equal(looks.shares(named(other, image)), looks.shares(grid))
        assert not torch.equal(parts.shares(named(other, image)), parts.shares(grid))
    turned = named(maps, image.rot90(1, (2, 3)))
    torch.testing.assert_close(looks.shares(turned), looks.shares(grid).rot90(1, (2, 3)))
    assert torch.equal(parts.shares(turned), parts.shares(grid))


def test_a_text_changes_the_parts_it_opens_by_one_code() -> None:
    shift = PartShift(4, 3, 2)
    with torch.no_grad():
        for layer in (shift.gates, shift.codes):
            layer.weight.zero_()
        shift.gates.bias.copy_(torch.tensor([-40.0, 9.0, -40.0, -40.0, -40.0, -40.0]))
        shift.codes.bias.copy_(torch.tensor([0.5, 1.0, 7.0, 7.0]))
        parts = torch.rand(1, 3, 2)
        change = shift(torch.zeros(1, 4), parts)[0]
    gate = torch.nn.functional.softplus(torch.tensor(6.0))
    assert torch.allclose(change[1], gate * (torch.tensor([0.5, 1.0]) - parts[0, 1]), atol=1e-4)
    assert change[[0, 2]].abs().max() < 1e-6


def test_parts_join_the_embedding_and_no_words_change_nothing() -> None:
    config = NetworkConfig(image_size=32, vocab_size=9, embed_dim=6, parts=3, looks=4)
    network = build_network(config).eval()
    words = torch.tensor([[3, 4], [0, 0]])
    with torch.no_grad():
        images = torch.randn(2, 3, 32, 32)
        output = network(images, words, (words > 0).long())
        alone = network.embed(network.encode_image(images))
    assert output.embedding.shape == (2, network.embed_dim) == (2, 6 + 3 * 5)
    assert output.shift[0, 6:].abs().min() > 0
    assert torch.equal(output.shift[1], torch.zeros(21))
    assert torch.equal(output.embedding[1], alone[1])


def test_what_all_images_have_alike_is_left_out_and_training_alone_learns_it() -> None:
    pooling = PartPooling(ChannelReader(0, 2), ChannelReader(2, 3))
    batches = torch.rand(5, 6, 2, 4) + 3
    for batch in batches:
        pooling.deviations(batch)
    torch.testing.assert_close(pooling.mean, batches.flatten(0, 1).mean(0))
    assert pooling.eval().deviations(batches[0]).mean(0).abs().max() < 0.5
    torch.testing.assert_close(pooling.deviations(pooling.mean[None]), torch.zeros(1, 2, 4))
