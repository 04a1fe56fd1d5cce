"""Finding the layer: the last grid the gradient reaches before text comes in, and what is said about the others."""

import copy

import pytest
import torch
from torch import nn

from mmgrad_explain.attention import MMGrad, candidate_layers
from mmgrad_explain.errors import GradientError, InputError


def first(output):
    return output.embedding[:, 0]


def names(candidates, **wanted):
    return [c.name for c in candidates if all(getattr(c, key) == value for key, value in wanted.items())]


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
