"""Inputs that are marked in the graph: word embeddings, and features where there are no images."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from mmgrad_explain.attention import candidate_layers


def first(output):
    return output.embedding[:, 0]


def names(candidates, **wanted):
    return [c.name for c in candidates if all(getattr(c, key) == value for key, value in wanted.items())]


@pytest.mark.parametrize("change", [lambda ids: ids.int(), lambda ids: ids.clone(), lambda ids: ids[:, :3]])
def test_however_the_words_reach_the_embedding(zoo, x, change):
    class Changing(zoo.TwoInput):
        def forward(self, image, ids):
            return super().forward(image, change(ids))

    found = candidate_layers(zoo.build(Changing), x, zoo.ids(), score=first)
    assert names(found, mixes_text=True) == ["fusion"]


def test_an_embedding_that_is_called_by_name(zoo, x):
    class Named(zoo.Words):
        def forward(self, ids):
            return torch.tanh(self.mix(self.tokens(input=ids))).mean(1)

    model = zoo.build(zoo.TwoInput)
    model.words = Named()
    assert names(candidate_layers(model, x, zoo.ids(), score=first), mixes_text=True) == ["fusion"]


def test_features_instead_of_pictures(zoo):
    """What hangs on them counts; sixteen words are as many as sixteen regions, but they do not."""

    class Regions(nn.Module):
        def __init__(self):
            super().__init__()
            self.regions, self.words = zoo.Block(8), zoo.Block(8)
            self.table = nn.Embedding(20, 8)

        def forward(self, features, ids):
            words = self.words(self.table(ids))
            return (self.regions(features).mean(1) * words.mean(1)).sum(1)

    found = candidate_layers(zoo.build(Regions), torch.randn(2, 16, 8), zoo.ids(words=16))
    assert names(found, chosen=True) == ["regions"]
    assert not [one.name for one in found if one.name.startswith("words")]


def test_positions_of_the_image_are_no_text(zoo):
    """An embedding of positions on the image's own way is not the caller's."""

    class Positions(zoo.TwoInput):
        def __init__(self):
            super().__init__()
            self.columns = nn.Embedding(6, 8)

        def compose(self, grid, text):
            return super().compose(grid + self.columns(torch.arange(6)).T[None, :, None], text)

    found = candidate_layers(zoo.build(Positions), zoo.pictures(), zoo.ids(), score=first)
    assert names(found, mixes_text=True) == ["fusion"]

    class OnTower(Positions):
        def compose(self, grid, text):
            grid = self.fusion(grid + self.columns(torch.arange(6)).T[None, :, None])
            return self.out((functional.gelu(grid) * self.gate(text)[:, :, None, None]).mean((2, 3)))

    found = candidate_layers(zoo.build(OnTower), zoo.pictures(), zoo.ids(), score=first)
    assert names(found, mixes_text=True) == []
    assert names(found, chosen=True) == ["fusion"]
