"""Finding the layer: the last grid the gradient reaches before text comes in, and what is said about the others."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from mmgrad_explain.attention import Candidate, MMGrad, candidate_layers
from mmgrad_explain.errors import GradientError, InputError


def first(output):
    return output.embedding[:, 0]


@pytest.fixture
def x(zoo):
    return zoo.pictures()


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

    @pytest.mark.parametrize("change", [lambda ids: ids.int(), lambda ids: ids.clone(), lambda ids: ids[:, :3]])
    def test_however_the_words_reach_the_embedding(self, zoo, x, change):
        class Changing(zoo.TwoInput):
            def forward(self, image, ids):
                return super().forward(image, change(ids))

        found = candidate_layers(zoo.build(Changing), x, zoo.ids(), score=first)
        assert names(found, mixes_text=True) == ["fusion"]

    def test_an_embedding_that_is_called_by_name(self, zoo, x):
        class Named(zoo.Words):
            def forward(self, ids):
                return torch.tanh(self.mix(self.tokens(input=ids))).mean(1)

        model = zoo.build(zoo.TwoInput)
        model.words = Named()
        assert names(candidate_layers(model, x, zoo.ids(), score=first), mixes_text=True) == ["fusion"]

    def test_features_instead_of_pictures(self, zoo):
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

    def test_positions_of_the_image_are_no_text(self, zoo):
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


class TestUse:
    def test_the_choice_is_remembered(self, zoo, x):
        runs = []

        class Counting(zoo.CNN):
            def forward(self, x):
                runs.append(1)
                return super().forward(x)

        mmgrad = MMGrad(zoo.build(Counting), score=zoo.class_score())
        assert mmgrad.layer_names == ()
        made = mmgrad(x)
        assert made.layer_names == mmgrad.layer_names == ("late",)
        assert len(runs) == 5, "one to find the layer, three with a marked place, one to explain"
        mmgrad(x)
        assert len(runs) == 6
        named = MMGrad(zoo.build(zoo.CNN), "late", zoo.class_score())(x)
        assert torch.equal(named.maps, made.maps)

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
    def test_gradients_off(self, zoo, x, mode):
        class Frozen(zoo.CNN):
            def features(self, x):
                with torch.no_grad():
                    return super().features(x)

        model = zoo.build(Frozen)
        with mode():
            found = candidate_layers(model, x.clone(), score=zoo.class_score())
        assert names(found, chosen=True) == ["late"]

    def test_a_frozen_model_in_half_precision(self, zoo, x):
        model = zoo.build(zoo.CNN).bfloat16().requires_grad_(False)
        assert names(candidate_layers(model, x.bfloat16(), score=zoo.class_score()), chosen=True) == ["late"]

    def test_pictures_in_a_nest(self, zoo, x):
        class Nested(zoo.CNN):
            def forward(self, batch):
                return super().forward(batch["views"][0])

        found = candidate_layers(zoo.build(Nested), {"views": (x, "name")}, score=zoo.class_score())
        assert names(found, chosen=True) == ["late"]

    def test_pictures_that_are_changed_in_place(self, zoo, x):
        class Normalizing(zoo.CNN):
            def forward(self, x):
                return super().forward(x.sub_(0.5))

        given = copy.deepcopy(x)
        found = candidate_layers(zoo.build(Normalizing), given, score=zoo.class_score())
        assert names(found, chosen=True) == ["late"]
        assert torch.equal(given, x)

    def test_pictures_of_two_sizes(self, zoo):
        """A tower that sees both: the second call has another grid."""

        class Both(nn.Module):
            def __init__(self):
                super().__init__()
                self.cut, self.block = nn.Conv2d(3, 8, 8, 8), zoo.Block(8)

            def look(self, x):
                return self.block(self.cut(x).flatten(2).transpose(1, 2)).mean(1)

            def forward(self, image, target):
                return (self.look(image) * self.look(target)).sum(1)

        model, image, target = zoo.build(Both), zoo.pictures(2, (32, 48)), zoo.pictures(2, (32, 32), 4)
        (chosen,) = [one for one in candidate_layers(model, image, target) if one.chosen]
        assert (chosen.name, chosen.grid, chosen.calls) == ("block", (4, 6), 2)
        assert [one.shape for one in MMGrad(model)(image, target).calls] == [(2, 4, 6), (2, 4, 4)]

    def test_a_model_that_says_where_its_patches_lie_may_pack_them(self, zoo, x):
        class Packing(zoo.CNN):
            def layout_for(self, layer, *args, **kwargs):
                return None

            def forward(self, x, image_grid_thw):
                return super().forward(x)

        given = {"image_grid_thw": torch.tensor([[1, 2, 3]]), "score": zoo.class_score()}
        assert names(candidate_layers(zoo.build(Packing), x, **given), chosen=True) == ["late"]

    def test_no_layer_at_all(self):
        model = nn.Sequential(nn.Flatten(), nn.Linear(12, 1))
        with pytest.raises(GradientError, match="no layer with at least three dimensions"):
            MMGrad(model)(torch.zeros(2, 3, 2, 2))

    def test_no_layer_with_a_gradient(self, zoo, x):
        class Dead(zoo.CNN):
            def forward(self, x):
                return super().forward(x) * 0

        with pytest.raises(GradientError, match="no layer of the model has both a spatial grid and a gradient"):
            MMGrad(zoo.build(Dead), score=zoo.class_score())(x)

    def test_a_score_without_a_gradient(self, zoo, x):
        with pytest.raises(GradientError, match="check that the score is computed from the model's output"):
            candidate_layers(zoo.build(zoo.CNN), x, score=lambda output: output[:, 0].detach())

    def test_no_score(self, zoo, x):
        with pytest.raises(InputError, match="does not say by itself what to explain"):
            candidate_layers(zoo.build(zoo.CNN), x)


def test_the_models_own_target_layer_wins_even_if_it_does_nothing(tiny, picture):
    """The reference composer names an Identity: a place to hook, before the features are pooled for the fusion."""
    tensors = tiny.preprocess([picture], ["make it red"]).tensors
    assert [one.name for one in candidate_layers(tiny, **tensors) if one.chosen] == ["network.features"]
