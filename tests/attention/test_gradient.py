"""The gradient of a score at a layer: half precision, and scores that see only prefix tokens."""

import pytest
import torch
from torch import nn

from mmgrad_explain.attention import MMGrad
from mmgrad_explain.errors import GradientError


class TestVisionTransformers:
    @pytest.mark.parametrize(
        ("layer", "before"), [("blocks.2", "blocks.1"), ("norm", "blocks.1"), ("blocks.2.mlp", "blocks.1")]
    )
    def test_the_last_block_of_a_class_token(self, zoo, x, layer, before):
        model = zoo.build(zoo.ViT)
        with (
            zoo.leaves_alone(model),
            pytest.raises(
                GradientError,
                match=rf"gradient is zero on every patch of layer '{layer}'.*take the block before it, '{before}'",
            ),
        ):
            MMGrad(model, layer, zoo.class_score())(x)

    @pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")
    @pytest.mark.parametrize(
        ("layer", "pool"), [("blocks.1", "token"), ("blocks.2.norm1", "token"), ("blocks.2", "mean")]
    )
    def test_the_layers_that_do(self, zoo, x, layer, pool):
        made = MMGrad(zoo.build(zoo.ViT, pool=pool), layer, zoo.class_score(), "layercam")(x)
        assert made.maps.shape == (2, 2, 3)
        assert made.signed[layer][0].abs().amax((1, 2)).min() > 0


class TestHalfPrecision:
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    @pytest.mark.parametrize("weighting", ["gradcam", "gradcam++", "xgradcam", "layercam", "hirescam"])
    def test_close_to_float32(self, zoo, x, dtype, weighting):
        model = zoo.build(zoo.CNN)
        expected = zoo.scaled(MMGrad(model, "late", zoo.class_score(), weighting)(x).maps)
        made = MMGrad(model.to(dtype), "late", zoo.class_score(), weighting)(x.to(dtype))
        assert made.maps.dtype == made.score.dtype == torch.float32
        assert (zoo.scaled(made.maps) - expected).abs().max() < (0.15 if dtype == torch.bfloat16 else 0.02)
        assert made.heatmap(0).dtype == "float32"

    def test_small_gradients_do_not_vanish(self, zoo, x):
        """The mean over many places makes gradients as small as half precision gets."""
        model = zoo.build(zoo.CNN)
        expected = zoo.scaled(MMGrad(model, "late", lambda o: o[:, 1] * 1e-6)(x).maps)
        made = MMGrad(model.half(), "late", lambda o: o[:, 1].float() * 1e-6)(x.half())
        assert (zoo.scaled(made.maps) - expected).abs().max() < 0.05

    def test_float64_gives_float32(self, zoo, cnn, x):
        made = MMGrad(cnn.double(), "late", zoo.class_score())(x.double())
        assert made.maps.dtype == made.score.dtype == made.signed["late"][0].dtype == torch.float32


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")
class TestPrefixOnly:
    """Two calls of one transformer, on pictures of different sizes: each is judged on its own grid."""

    class Tower(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.block = nn.Conv2d(3, 4, 8, stride=8), nn.Identity()

        def forward(self, image, reads):
            grid = self.embed(image).flatten(2).transpose(1, 2)
            out = self.block(torch.cat([grid.mean(1, keepdim=True), grid], 1))
            return out[:, 0] if reads == "class" else out.mean(1)

    class Twice(nn.Module):
        def __init__(self, first, second):
            super().__init__()
            self.tower, self.reads = TestPrefixOnly.Tower(), (first, second)

        def forward(self, x, y):
            return (self.tower(x, self.reads[0]) * self.tower(y, self.reads[1])).sum(1)

    @pytest.mark.parametrize("reads", [("class", "class"), ("class", "mean"), ("mean", "class")])
    def test_each_call(self, zoo, reads):
        mmgrad = MMGrad(self.Twice(*reads), "tower.block")
        x, y = zoo.pictures(2, (32, 16)), zoo.pictures(2, (16, 24))
        if "mean" in reads:
            assert [tuple(one.shape) for one in mmgrad(x, y).calls] == [(2, 4, 2), (2, 2, 3)]
        else:
            with pytest.raises(
                GradientError, match=r"zero on every patch of layer 'tower.block'.*take an earlier layer"
            ):
                mmgrad(x, y)
