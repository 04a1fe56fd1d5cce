"""Parts that a text finds by name."""

import math

import pytest
import torch

from mmgrad_explain.composers.reference.build import build_network
from mmgrad_explain.composers.reference.config import NetworkConfig
from mmgrad_explain.composers.reference.named_parts import PLACED, PartNames, PartSearch, WordMeanings, place_parts
from mmgrad_explain.errors import InputError

NAMED = {
    "image_size": 32, "vocab_size": 7, "text_width": 16, "text_layers": 1, "heads": 2, "feature_width": 16,
    "embed_dim": 8, "backbone": "mobilenetv2_035", "backbone_options": {"pad_type": "same", "output_stride": 16},
    "taps": (2, 3, 4), "parts": 4, "segmenter": 4, "named_parts": True,
}  # fmt: skip
DOG, CAT = 3, 4
"""Ids of words that mean parts 1 and 2."""


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = build_network(NetworkConfig(**NAMED)).eval()
    network.names.part.teach({DOG: [1], CAT: [2]})
    return network


def evidence(network, part, place=(slice(0, 2), slice(0, 2))):
    """Features of an image that shows a part at a place, and else the background."""
    shares = torch.zeros(1, 4, 4, 4)
    shares[:, 0] = 1
    shares[(0, slice(None), *place)] = torch.eye(4)[part][:, None, None]
    seen, looks = torch.rand(1, 28, 4, 4, generator=torch.Generator().manual_seed(1)).split([16, 12], dim=1)
    return torch.cat([seen, shares, looks.softmax(1), place_parts(shares)], 1)


def pooled(network, features):
    """What the composer takes of features: the grid, and the evidence of the parts."""
    grid = features.unflatten(2, (2, 2)).unflatten(4, (2, 2)).mean((3, 5))
    return grid, torch.cat([grid[:, 16:20], grid[:, 32:]], 1)


def text(network, *words):
    ids = torch.tensor([words])
    return network.encode_text(ids, torch.ones_like(ids, dtype=torch.bool))


def test_shares_are_weighted_by_side_and_size():
    shares = torch.zeros(1, 2, 20, 20)
    shares[0, 0, 2:4, 2:4] = 1
    shares[0, 1, 6:16, 8:20] = 1
    placed = dict(zip(PLACED[1:], place_parts(shares)[0].split(2), strict=True))
    assert placed["left"][0, 3, 3] == placed["top"][0, 3, 3] == pytest.approx(1 - 3.5 / 20)
    assert placed["right"][1, 15, 19] == pytest.approx(19.5 / 20)
    for one, other in (("left", "right"), ("top", "bottom"), ("large", "small")):
        torch.testing.assert_close(placed[one] + placed[other], shares[0])
    assert placed["large"][1, 10, 14] > 0.9
    assert placed["large"][0].max() < 0.4


def test_the_size_of_a_thing_is_what_of_it_is_around_whole_squares_and_the_edge_included():
    shares = torch.rand(1, 3, 12, 12)
    large = place_parts(shares)[:, 12:15]
    cells = [shares[0, 1, max(0, 1 - reach) : 2 + reach, max(0, 7 - reach) : 8 + reach].mean() for reach in (1, 2, 3)]
    assert large[0, 1, 1, 7] == pytest.approx(float(shares[0, 1, 1, 7] * torch.stack(cells).mean()), abs=1e-5)


def test_words_have_meanings_and_others_none():
    names = WordMeanings(7, 8, 4)
    names.teach({DOG: [1], CAT: [2]})
    ids = torch.tensor([[5, DOG, 6], [5, 6, 6], [CAT, 5, DOG]])
    mask = torch.tensor([[True] * 3, [True] * 3, [True, True, False]])
    named = names(ids, torch.randn(3, 3, 8), mask)
    torch.testing.assert_close(named.sum(1), torch.ones(3))
    assert named.argmax(1).tolist() == [1, 0, 2]
    assert named.max(1).values.min() > 0.9
    names.teach({5: [0, 3]})
    named = names(torch.full((1, 1), 5), torch.zeros(1, 1, 8), torch.ones(1, 1, dtype=torch.bool))[0]
    assert named[0] == named[3] > 0.49


def test_of_two_meanings_the_context_chooses():
    names = WordMeanings(7, 8, 4)
    names.teach({DOG: [1], CAT: [2]})
    words = torch.zeros(1, 2, 8)
    words[0, 1, 0] = 9
    text = torch.tensor([[DOG, CAT]]), words, torch.ones(1, 2, dtype=torch.bool)
    assert names(*text)[0, 1].item() == pytest.approx(0.5, abs=0.1)
    with torch.no_grad():
        names.choose.weight[0, 0] = 1
    assert names(*text)[0, 2] > 0.9


def test_a_part_is_found_at_the_side_or_of_the_size_that_the_sentence_says():
    names = PartNames(7, 8, 3)
    names.part.teach({DOG: [1], CAT: [2]})
    names.place.teach({5: [PLACED.index("left")], 6: [PLACED.index("small")]})
    shares = torch.zeros(2, 3, 20, 20)
    shares[:, 1, 2:4, 15:17] = 1  # a small one on the right
    shares[:, 1, 8:18, 1:9] = 1  # a large one on the left
    shares[:, 2, :6, :6] = 1  # something else
    named = names(torch.tensor([[5, DOG], [DOG, 6]]), torch.zeros(2, 2, 8), torch.ones(2, 2, dtype=torch.bool))
    torch.testing.assert_close(named.sum((1, 2)), torch.ones(2))
    found, there = PartSearch(8)(torch.cat([shares, place_parts(shares)], 1), torch.zeros(2, 8), named)
    best = [divmod(int(place), 20) for place in found.argmax(1)]
    assert shares[0, 1, best[0][0], best[0][1]] == shares[1, 1, best[1][0], best[1][1]] == 1
    assert best[0][1] < 9
    assert best[1][1] >= 15
    assert there.min() > 0.5


def test_the_map_of_a_name_is_the_evidence_of_its_class(network):
    """The gradient's mean at a class is what Grad-CAM weighs its evidence by."""
    for word, part, other in ((DOG, 1, 2), (CAT, 2, 1)):
        features = evidence(network, part).requires_grad_()
        shift = network.change(features, *text(network, 5, word))
        gradient = torch.autograd.grad((shift * shift.detach()).sum(), features)[0].mean((2, 3))[0, 16:20]
        assert gradient[part] > 5 * gradient[other].abs()
        assert gradient[part] > 5 * gradient[3].abs()


def test_more_of_a_feature_everywhere_changes_the_amount_alone(network):
    """So Grad-CAM weighs the evidence of what is named, and nothing that merely looks like it."""
    grid, found = (each.requires_grad_() for each in pooled(network, evidence(network, 1)))
    shift = network.shift(grid, *text(network, 5, DOG), evidence=found)
    changed, weights = torch.autograd.grad((shift * shift.detach()).sum(), [grid, found])
    assert changed.abs().max() > 0
    assert changed.mean((2, 3)).abs().max() < 1e-3 * weights[0, 1].mean()
    assert weights[0, 1].mean() > 20 * weights[0, 2].mean().abs()


def test_a_text_changes_little_where_what_it_names_is_not(network):
    _, sentence, _, named = text(network, 5, DOG)
    with torch.no_grad():
        there, absent = (
            network.shift.search(pooled(network, evidence(network, part))[1], sentence, named) for part in (1, 2)
        )
    assert there[1] > 3 * absent[1] > 0
    assert there[0][0, 0] > 2 * there[0][0, 1:].max()


def test_the_presence_of_what_a_text_names_can_be_recorded(network):
    """It is not a number where a text names nothing."""
    seen = []
    handle = network.shift.search.presence.register_forward_hook(lambda *call: seen.append(float(call[2])))
    with torch.no_grad():
        for part, word in ((1, DOG), (1, CAT), (2, CAT), (1, 5)):
            features = evidence(network, part)
            network.compose(features, *text(network, word))
    handle.remove()
    shown, other, again, unnamed = seen
    assert min(shown, again) > 0.5
    assert other < 0.05
    assert math.isnan(unnamed)


def test_the_features_hold_the_classes_of_the_head(network):
    pixels = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        features = network.encode_image(pixels)
        shares = network.segmenter(network.visual(pixels)[-1]).softmax(1)
        embedding = network.embed(features)
    assert features.shape[1] == network.config.grid_width == 16 + 7 * 4 + 12
    torch.testing.assert_close(features[:, 16:20].sum(1), torch.ones(1, *features.shape[2:]))
    torch.testing.assert_close(features[:, 16:20].mean((2, 3)), shares.mean((2, 3)), atol=0.05, rtol=0)
    assert embedding.shape == (1, network.embed_dim)
    assert network.named.parts is None  # none is trained
    torch.testing.assert_close(features[:, 32:], place_parts(features[:, 16:20]))


@pytest.mark.parametrize("sizes", [{"parts": 4}, {"segmenter": 4}, {"parts": 3, "segmenter": 4}, {}])
def test_named_parts_are_the_classes_of_the_head(sizes):
    with pytest.raises(InputError, match="named_parts: the parts are the classes of the segmentation head"):
        NetworkConfig(named_parts=True, **sizes)
