"""MMGrad: its arguments, scores, several layers and calls of a layer, and what it refuses."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from mmgrad_explain.attention import MMGrad, MultiModalGradAttention, PairScore, Similarity, TextShift
from mmgrad_explain.errors import CaptureError, GradientError, InputError


@pytest.fixture
def model(zoo):
    return zoo.build(zoo.TwoInput)


def first(output):
    return output.embedding[:, 0]


def by_hand(zoo, model, inputs, score, target=None):
    """Grad-CAM at ``tower.body`` of the two-input model for reference and target, without hooks."""
    image, ids = inputs
    grids = [model.tower(picture).detach().requires_grad_() for picture in (image, target) if picture is not None]
    text = model.words(ids)
    output = zoo.Composed(model.compose(grids[0], text))
    if target is not None:
        plain = model.out(functional.gelu(model.fusion(grids[1])).mean((2, 3)))
        output = zoo.Composed(output.embedding, target=plain, target_composed=model.compose(grids[1], text))
    gradients = torch.autograd.grad(score(output).sum(), grids, allow_unused=True)
    return [
        torch.zeros_like(grid[:, 0]) if gradient is None else zoo.grad_cam(grid, gradient).detach()
        for grid, gradient in zip(grids, gradients, strict=True)
    ]


def test_the_alias():
    assert MMGrad is MultiModalGradAttention


def test_repr(zoo, cnn, x):
    mmgrad = MMGrad(cnn, score=zoo.class_score())
    assert repr(mmgrad) == "MultiModalGradAttention(CNN, to be found; <lambda>, default)"
    mmgrad(x)
    assert repr(MMGrad(cnn, "late")) == "MultiModalGradAttention(CNN, late; default, default)"


class TestScores:
    @pytest.mark.parametrize("score", ["pair", "pair-different", PairScore("different")])
    def test_pair_maps_both_pictures(self, zoo, model, x, score):
        target = zoo.pictures(seed=7)
        made = MMGrad(model, "tower.body", score, method="gradcam")(x, zoo.ids(), target=target)
        different = score != "pair"

        def formula(output):
            a, b = (functional.normalize(v) for v in (output.embedding, output.target_composed))
            weights = ((a - b).abs() if different else 1 - (a - b).abs()).detach()
            return (weights * a).sum(1) + (weights * b).sum(1)

        for made_map, expected in zip(made.calls, by_hand(zoo, model, (x, zoo.ids()), formula, target), strict=True):
            assert torch.allclose(made_map, expected, atol=1e-6)
        assert made.score_name == ("pair-different" if different else "pair")

    def test_similarity_to_the_target_in_the_output(self, zoo, model, x):
        """A tool that keeps only the last call of a shared tower gives the target's map for the reference's."""
        target = zoo.pictures(seed=7)
        made = MMGrad(model, "tower.body", "similarity", method="gradcam")(x, zoo.ids(), target)

        def cosine(output):
            return functional.cosine_similarity(output.embedding, output.target)

        reference, of_target = by_hand(zoo, model, (x, zoo.ids()), cosine, target)
        assert torch.allclose(made.maps, reference, atol=1e-6)
        assert torch.allclose(made.calls[1], of_target, atol=1e-6)
        assert not torch.allclose(reference, of_target, atol=1e-4)

    def test_shift_against_an_empty_text(self, zoo, model, x):
        with torch.no_grad():
            empty = model(x, torch.zeros(2, 4, dtype=torch.int64)).embedding
        made = MMGrad(model, "tower.body", TextShift(empty))(x, zoo.ids())

        def formula(output):
            change = output.embedding - empty
            return (change * change.detach()).sum(1)

        assert torch.allclose(made.maps, by_hand(zoo, model, (x, zoo.ids()), formula)[0], atol=1e-6)

    def test_the_models_own_default(self, zoo, model, x):
        model.default_score = "similarity"
        model.target_layer = "tower.stem"
        mmgrad = MMGrad(model)
        assert mmgrad.layer_names == ("tower.stem",)
        assert mmgrad(x, zoo.ids(), x.flip(3)).score_name == "similarity"
        assert MMGrad(model, "tower.body", first)(x, zoo.ids()).score_name == "first"

    def test_attributes_that_mean_something_else(self, zoo, model, x):
        """A model may have such a name for its own use."""
        model.target_layer = 3
        model.default_score = 0.5
        assert MMGrad(model, score=first)(x, zoo.ids()).layer_names
        with pytest.raises(InputError, match="does not say by itself what to explain"):
            MMGrad(model, "tower.body")(x, zoo.ids())

    def test_outputs_that_say_it_themselves(self, zoo, cnn, x):
        class Single(zoo.CNN):
            def forward(self, x):
                return super().forward(x)[:, 1:2]

        made = MMGrad(zoo.build(Single), "late")(x)
        assert torch.equal(made.maps, MMGrad(cnn, "late", zoo.class_score())(x).maps)
        assert made.score_name == "output"

    @pytest.mark.parametrize("score", [lambda o: o, lambda o: o.sum(), lambda o: o[:, :1].T])
    def test_not_one_number_a_sample(self, zoo, cnn, x, score):
        with pytest.raises(InputError, match=r"score must have one number a sample, shape \(2,\)"):
            MMGrad(cnn, "late", score)(x)

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_not_finite(self, cnn, x, bad):
        factor = torch.tensor([1.0, bad])
        with pytest.raises(GradientError, match=r"score is not finite for samples \[1\]"):
            MMGrad(cnn, "late", lambda output: output[:, 0] * factor)(x)

    def test_gradient_not_finite(self, cnn, x):
        with pytest.raises(GradientError, match="the map is not finite"):
            MMGrad(cnn, "late", lambda output: (output[:, 0] - output[:, 0].detach()).abs().sqrt())(x)


class TestSeveral:
    def test_calls_of_one_tower(self, zoo, model, x):
        made = MMGrad(model, "tower.body", first)(x, zoo.ids(), zoo.pictures(seed=7))
        assert len(made.calls) == len(made.layers["tower.body"]) == 2
        assert made.maps is made.calls[0]

    @pytest.mark.parametrize("fuse", ["mean", "max", "product", lambda maps: maps.amin(0)])
    def test_layers(self, zoo, cnn, x, fuse):
        made = MMGrad(cnn, ["late", "early"], zoo.class_score(), fuse=fuse)(x)
        assert made.grids == {"late": (4, 6), "early": (8, 12)}
        alone = [MMGrad(cnn, layer, zoo.class_score())(x).maps for layer in ("late", "early")]
        assert torch.allclose(made.layers["late"][0], alone[0], atol=1e-7)
        assert torch.allclose(made.layers["early"][0], alone[1], atol=1e-7)
        stack = []
        for one in alone:
            equal = one / one.amax((1, 2), keepdim=True)
            stack.append(functional.interpolate(equal[:, None], (8, 12), mode="bilinear", align_corners=False)[:, 0])
        stack = torch.stack(stack)
        expected = {"mean": stack.mean(0), "max": stack.amax(0), "product": stack.prod(0)}
        expected = expected[fuse] if isinstance(fuse, str) else stack.amin(0)
        assert torch.allclose(made.maps, expected, atol=1e-6)

    def test_layers_run_a_different_number_of_times(self, zoo, model, x):
        made = MMGrad(model, ["tower.body", "words.mix"], lambda o: o.embedding[:, 0], layout=None)
        with pytest.raises(InputError, match=r"layer 'words.mix': layout: cannot tell"):
            made(x, zoo.ids(), x)

        class Extra(zoo.TwoInput):
            def forward(self, image, ids, target):
                output = super().forward(image, ids, target)
                output.embedding = output.embedding + self.tower.stem(image).mean((1, 2, 3))[:, None]
                return output

        made = MMGrad(zoo.build(Extra), ["tower.body", "tower.stem"], lambda o: o.embedding[:, 0])(x, zoo.ids(), x)
        assert [len(calls) for calls in made.layers.values()] == [2, 3]
        assert [tuple(one.shape) for one in made.calls] == [(2, 8, 12)] * 3

    def test_layers_with_different_batches(self, zoo, x):
        class Uneven(nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.second = zoo.build(zoo.Tower), zoo.build(zoo.Tower)

            def forward(self, x):
                return self.first(x).mean((1, 2, 3)) + self.second(x[:1]).mean()

        with pytest.raises(InputError, match=r"fuse: the layers' batches differ: \[2, 1\]"):
            MMGrad(Uneven(), ["first", "second"])(x)

    def test_fuse_is_checked(self, zoo, cnn, x):
        with pytest.raises(InputError, match="fuse: there is no 'men'; did you mean 'mean'"):
            MMGrad(cnn, fuse="men")
        with pytest.raises(TypeError, match="fuse must be a name or a callable, not int"):
            MMGrad(cnn, fuse=1)
        with pytest.raises(InputError, match=r"fuse must return a map of shape \(2, 8, 12\), not \(2, 2, 8, 12\)"):
            MMGrad(cnn, ["late", "early"], zoo.class_score(), fuse=lambda maps: maps)(x)


class TestErrors:
    def test_a_layer_that_is_not_called(self, zoo, x):
        model = zoo.build(zoo.CNN)
        model.spare = nn.Conv2d(3, 3, 1)
        with zoo.leaves_alone(model), pytest.raises(CaptureError, match="layer 'spare' never ran in this forward"):
            MMGrad(model, "spare", zoo.class_score())(x)

    def test_the_models_own_errors_come_through(self, cnn):
        with pytest.raises(TypeError, match="conv2d"):
            MMGrad(cnn, "late")("words")

    def test_the_constructors_arguments(self, cnn):
        for name, value in itertools.product(("score", "weighting", "layout"), (3, "x")):
            with pytest.raises(InputError if value == "x" else TypeError, match=name):
                MMGrad(cnn, **{name: value})

    def test_similarity_to_a_target_of_one(self, zoo, model, x):
        made = MMGrad(model, "tower.body", Similarity(torch.ones(8)))(x, zoo.ids())
        assert made.score.abs().max() <= 1
