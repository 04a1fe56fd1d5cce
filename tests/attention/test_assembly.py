"""Explanations of maps that say nothing: they are noted, and a warning names the samples."""

import pytest
import torch
from torch import nn

from mmgrad_explain.attention import MMGrad
from mmgrad_explain.errors import MMGradWarning


class TestFlatMaps:
    """Blank maps are zeros with a flag and a warning, and never NaN."""

    class Brightness(nn.Module):
        def __init__(self, sign):
            super().__init__()
            self.layer = nn.Identity()
            self.sign = sign

        def forward(self, x):
            return self.layer(x).mean((1, 2, 3)) * self.sign

    def test_all_clipped(self, zoo):
        x = zoo.pictures(2).abs()
        x[1] = -x[1]
        with pytest.warns(MMGradWarning, match=r"sample 0: the map is empty: .* the ReLU removed all of it") as caught:
            made = MMGrad(self.Brightness(-1.0), "layer")(x)
        assert len(caught) == 1
        assert caught[0].filename == __file__
        assert made.clipped.tolist() == made.flat.tolist() == [True, False]
        assert made.maps[0].abs().max() == 0
        assert made.signed["layer"][0][0].max() < 0
        assert "note: sample 0: the map is empty" in repr(made)
        for layer in (made.heatmap(0), made.resize(5)[0].numpy()):
            assert (layer == 0).all()

    def test_flat(self):
        with pytest.warns(MMGradWarning, match="^the map is flat: no place counts more than another"):
            made = MMGrad(self.Brightness(1.0), "layer")(torch.ones(2, 3, 4, 6))
        assert made.flat.all()
        assert not made.clipped.any()
        assert (made.heatmap(0) == 0).all()

    def test_no_gradient_anywhere(self, zoo, cnn, x):
        with pytest.warns(MMGradWarning, match="^the map is flat"):
            made = MMGrad(cnn, "late", lambda output: output[:, 0] * 0)(x)
        assert made.maps.abs().max() == 0

    @pytest.mark.parametrize("fuse", ["mean", "max", "product"])
    def test_one_empty_map_among_several_layers(self, zoo, fuse):
        """It takes part as zeros; nothing is divided by its largest value."""

        class Halves(nn.Module):
            def __init__(self):
                super().__init__()
                self.rising, self.falling = nn.Identity(), nn.Identity()

            def forward(self, x):
                return self.rising(x).mean((1, 2, 3)) - self.falling(x * 2).mean((1, 2, 3))

        x = zoo.pictures().abs()
        mmgrad = MMGrad(Halves(), ["rising", "falling"], fuse=fuse)
        if fuse == "product":
            with pytest.warns(MMGradWarning, match="^the map is empty"):
                made = mmgrad(x)
        else:
            made = mmgrad(x)
        brightest = x.mean(1) / x.mean(1).amax((1, 2), keepdim=True)
        expected = {"mean": brightest / 2, "max": brightest, "product": brightest * 0}[fuse]
        assert torch.allclose(made.maps, expected, atol=1e-6)
        with mmgrad.capture() as seen:
            score = mmgrad.model(x.requires_grad_())
        maps = mmgrad.attend(score, seen, create_graph=True)
        assert torch.autograd.grad(maps.sum(), x)[0].isfinite().all()
