"""One call of MMGrad: what its result holds, and that samples and calls do not influence each other."""

import pytest
import torch

from mmgrad_explain.attention import MMGrad, PairScore
from mmgrad_explain.errors import GradientError


def first(output):
    return output.embedding[:, 0]


def test_everything_the_result_says(zoo, model, x):
    made = MMGrad(model, "tower.body", first, method="gradcam")(x, zoo.ids())
    (expected,) = zoo.plain_maps(model, "tower.body", lambda grid: grid, first, lambda: model(x, zoo.ids()))
    assert torch.allclose(made.maps, expected, atol=1e-6)
    assert made.maps.dtype == torch.float32
    assert made.maps.shape == (2, 4, 6)
    assert made.maps.min() >= 0
    assert torch.allclose(made.score, model(x, zoo.ids()).embedding[:, 0])
    assert not made.score.requires_grad
    assert (made.score_name, made.method, made.layer_names) == ("first", "gradcam", ("tower.body",))
    assert made.grids == {"tower.body": (4, 6)}
    assert made.input_size == (16, 24)
    assert made.versions["torch"] == torch.__version__
    assert made.model == "TwoInput"
    assert made.notes == ()


def test_arguments_are_passed_on_unchanged(zoo, x):
    seen = []

    class Picky(zoo.CNN):
        def forward(self, x, /, *more, flag, **rest):
            seen.append((more, flag, rest))
            return super().forward(x)

    marker = object()
    MMGrad(zoo.build(Picky), "late", zoo.class_score())(x, "a", marker, flag=True, option=[marker])
    assert seen == [(("a", marker), True, {"option": [marker]})]


def test_the_text_changes_the_map(zoo, model):
    """The same picture with two texts: the maps differ; with the same text twice: they do not."""
    picture = zoo.pictures(1).expand(3, -1, -1, -1)
    texts = torch.tensor([[1, 2, 3], [15, 4, 11], [1, 2, 3]])
    maps = zoo.scaled(MMGrad(model, "tower.body", first, "layercam")(picture, texts).maps)
    assert torch.allclose(maps[0], maps[2], atol=1e-6)
    assert (maps[0] - maps[1]).abs().max() > 0.01


@pytest.mark.parametrize("weighting", ["gradcam", "gradcam++", "xgradcam", "layercam", "hirescam"])
def test_a_batch_is_a_loop_of_singles(zoo, model, weighting):
    x, ids, target = zoo.pictures(4).double(), zoo.ids(4), zoo.pictures(4, seed=8).double()
    # In float64: X-Grad-CAM divides by a channel's sum, and some of these are nearly 0.
    mmgrad = MMGrad(model.double().train(), "tower.body", PairScore(), weighting)
    together = mmgrad(x, ids, target)
    for index in range(4):
        part = slice(index, index + 1)
        alone = mmgrad(x[part], ids[part], target[part])
        assert torch.allclose(alone.score, together.score[part], atol=1e-6)
        for one, other in zip(alone.calls, together.calls, strict=True):
            assert torch.allclose(one, other[part], rtol=1e-5, atol=1e-7)


def test_twice_is_the_same(zoo, cnn, x):
    mmgrad = MMGrad(cnn.train(), "late", zoo.class_score())
    assert torch.equal(mmgrad(x).maps, mmgrad(x).maps)


def test_an_error_of_the_model_is_not_translated(cnn, x):
    class Failing(type(cnn)):
        def forward(self, x):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1 and mat2") as caught:
        MMGrad(Failing(), "late", lambda output: output[:, 0])(x)
    assert not isinstance(caught.value, GradientError)
