"""Tests of the parts of an embedding."""

import torch

from mmgrad_explain.composers.reference.build import build_network
from mmgrad_explain.composers.reference.config import NetworkConfig
from mmgrad_explain.composers.reference.part_pooling import PartPooling, PartShift


def pooling_of(width: int) -> PartPooling:
    """A pooling whose channels are the logits: the first ``width - 2`` of parts, the last two of looks."""
    pooling = PartPooling(width, width - 2, 2)
    chosen = torch.eye(width)[..., None, None]
    for head, rows in ((pooling.assign, chosen[:-2]), (pooling.describe, chosen[-2:])):
        head.weight.data, head.bias.data = rows.clone(), torch.zeros(len(rows))
    return pooling


def test_a_part_of_one_cell_counts_as_much_as_one_of_many() -> None:
    grid = torch.zeros(1, 5, 10, 10)
    grid[:, 0] = 20.0  # background
    grid[:, 3] = 20.0  # its look
    grid[:, :, 4, 4] = torch.tensor([0.0, 20.0, 0.0, 0.0, 20.0])  # a small part with the other look
    parts = pooling_of(5)(grid)[0]
    assert torch.allclose(parts[0], torch.tensor([1.0, 0.0, 1.0]), atol=0.02)
    assert torch.allclose(parts[1], torch.tensor([0.0, 1.0, 1.0]), atol=0.02)
    assert parts[2].abs().max() < 0.01  # not there


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
    pooling = PartPooling(4, 2, 3)
    batches = torch.rand(5, 6, 2, 4) + 3
    for batch in batches:
        pooling.deviations(batch)
    torch.testing.assert_close(pooling.mean, batches.flatten(0, 1).mean(0))
    assert pooling.eval().deviations(batches[0]).mean(0).abs().max() < 0.5
    torch.testing.assert_close(pooling.deviations(pooling.mean[None]), torch.zeros(1, 2, 4))
