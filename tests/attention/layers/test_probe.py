"""The search for layers: which layers are listed, in which order, and what is found out about each."""

import torch
from torch import nn

from mmgrad_explain.attention import Candidate, candidate_layers


def first(output):
    return output.embedding[:, 0]


def names(candidates, **wanted):
    return [c.name for c in candidates if all(getattr(c, key) == value for key, value in wanted.items())]


class TestConvolutions:
    def test_everything_about_each(self, zoo, x):
        model = zoo.build(zoo.CNN)
        with zoo.leaves_alone(model):
            found = candidate_layers(model, x, score=zoo.class_score())
        assert names(found) == ["early", "norm", "late"], "in the order in which they run"
        assert names(found, chosen=True) == ["late"]
        late = found[-1]
        assert isinstance(late, Candidate)
        assert (late.type, late.grid, late.channels, late.layout.kind) == ("Conv2d", (4, 6), 6, "nchw")
        assert (late.calls, late.gradient_reaches, late.mixes_text) == (1, True, None)

    def test_a_grid_worth_looking_at_is_preferred(self, zoo):
        model = zoo.build(zoo.CNN)
        for size, chosen in (((16, 16), "late"), ((8, 8), "norm"), ((4, 4), "norm")):
            found = candidate_layers(model, zoo.pictures(size=size), score=zoo.class_score())
            assert names(found, chosen=True) == [chosen if size != (4, 4) else "norm"]
        assert names(found) == ["early", "norm"], "one cell is no grid"

    def test_a_branch_the_gradient_does_not_reach(self, zoo, x):
        class Branching(zoo.CNN):
            def __init__(self):
                super().__init__()
                self.side = nn.Conv2d(6, 6, 1)

            def forward(self, x):
                output = super().forward(x)
                self.side(self.features(x))
                return output

        found = candidate_layers(zoo.build(Branching), x, score=zoo.class_score())
        assert names(found, gradient_reaches=False) == ["side"]
        assert names(found, chosen=True) == ["late"]
        assert next(c for c in found if c.name == "late").calls == 2

    def test_the_tower_of_a_pair(self, zoo, x):
        """The second call comes after the composition of the first; the layer counts where it first ran."""
        found = candidate_layers(zoo.build(zoo.TwoInput), x, zoo.ids(), x.flip(3), score="pair")
        assert names(found, chosen=True) == ["tower"]
        assert next(c for c in found if c.name == "tower.body").calls == 2

    def test_in_place_operations_and_containers(self, x):
        model = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 1),
        ).eval()
        found = candidate_layers(model, x)
        assert names(found) == ["0.0", "0.1", "0.2", "0"]
        assert names(found, chosen=True) == ["0"]


class TestText:
    def test_before_text_is_mixed_in(self, zoo, x):
        model = zoo.build(zoo.TwoInput)
        found = candidate_layers(model, x, zoo.ids(), score=first)
        assert names(found, mixes_text=True) == ["fusion"]
        assert names(found, mixes_text=False) == ["tower.stem", "tower.body", "tower"]
        assert names(found, chosen=True) == ["tower"]

    def test_words_are_no_grid(self, zoo, x):
        """Sixteen words would make a 4 x 4 grid; they do not hang on the picture."""
        found = candidate_layers(zoo.build(zoo.TwoInput), x, zoo.ids(words=16), score=first)
        assert not any(c.name.startswith("words") for c in found)

    def test_when_every_layer_holds_text(self, zoo, x):
        class Early(zoo.TwoInput):
            def forward(self, image, ids):
                text = self.words(ids)
                return zoo.Composed(self.compose(self.tower(image + text[:, :3, None, None]), text))

        found = candidate_layers(zoo.build(Early), x, zoo.ids(), score=first)
        assert names(found, mixes_text=False) == []
        assert names(found, chosen=True) == ["fusion"]

    def test_no_words_no_answer(self, zoo, x):
        assert {c.mixes_text for c in candidate_layers(zoo.build(zoo.CNN), x, score=zoo.class_score())} == {None}


class TestTransformers:
    def test_class_token(self, zoo):
        """The last block's output is dead, its input is not; queries and values are not preferred to it."""
        model = zoo.build(zoo.ViT, size=(32, 40))
        found = candidate_layers(model, zoo.pictures(size=(32, 40)), score=zoo.class_score())
        assert names(found, chosen=True) == ["blocks.2.norm1"] or names(found, chosen=True) == ["blocks.2.qkv"]
        assert "blocks.2" in names(found, gradient_reaches=False)
        assert {c.layout.prefix for c in found if c.name.startswith("blocks")} == {1}

    def test_attention_inside_is_not_preferred(self):
        class Attention(nn.Module):
            def __init__(self):
                super().__init__()
                self.values = nn.Linear(4, 4)

            def forward(self, x):
                return self.values(x).mean(1)

        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.embed, self.norm, self.self_attention = nn.Conv2d(3, 4, 4, 4), nn.LayerNorm(4), Attention()

            def forward(self, x):
                return self.self_attention(self.norm(self.embed(x).flatten(2).transpose(1, 2)))[:, 0]

        found = candidate_layers(Model(), torch.randn(1, 3, 16, 16))
        assert names(found)[-2:] == ["norm", "self_attention.values"]
        assert names(found, chosen=True) == ["norm"]

    def test_mean_of_the_patches(self, zoo):
        model = zoo.build(zoo.ViT, pool="mean", size=(32, 40))
        found = candidate_layers(model, zoo.pictures(size=(32, 40)), score=zoo.class_score())
        assert names(found, chosen=True) == ["norm"]
