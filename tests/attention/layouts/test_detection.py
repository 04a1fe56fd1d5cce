"""Where a layer's numbers lie on the picture: found by themselves, or as told; a marked place is found again."""

import pytest
import torch
from torch import nn

from mmgrad_explain.attention import Layout, MMGrad, infer_layout
from mmgrad_explain.errors import InputError


def inferred(shape, size=None, module=None, model=None):
    return infer_layout(torch.zeros(shape), module=module, model=model, image_size=size)


class TestFourDimensions:
    @pytest.mark.parametrize(
        ("shape", "size", "kind"),
        [
            ((2, 64, 7, 7), (224, 224), "nchw"),
            ((2, 7, 7, 64), (224, 224), "nhwc"),
            ((2, 64, 4, 6), (64, 96), "nchw"),
            ((2, 4, 6, 64), (64, 96), "nhwc"),
            ((2, 6, 4, 6), (64, 96), "nchw"),
            ((2, 3, 5, 7), (70, 100), "nchw"),  # either side rounded on its own
            ((2, 64, 7, 7), None, "nchw"),
            ((2, 7, 7, 64), None, "nhwc"),
            ((2, 7, 7, 7), (224, 224), "nchw"),
        ],
    )
    def test_by_aspect(self, shape, size, kind):
        assert inferred(shape, size) == Layout(kind)

    def test_the_kind_of_module_decides(self):
        both = (2, 8, 8, 8)
        assert inferred(both, (64, 64), nn.Conv2d(3, 8, 1)).kind == "nchw"
        assert inferred((2, 5, 9, 4), (64, 64), nn.AvgPool2d(2)).kind == "nchw", (
            "odd strides are fine where it is clear"
        )
        assert inferred((2, 5, 9, 4), (64, 64), nn.Linear(3, 4)).kind == "nhwc"
        assert inferred((2, 5, 9, 4), (64, 64), nn.LayerNorm(4)).kind == "nhwc"
        assert inferred((2, 4, 5, 9), (64, 64), nn.LayerNorm(4)).kind == "nchw", "a LayerNorm of channels-first models"
        swin = nn.Module()
        swin.output_fmt = "NHWC"
        assert inferred(both, (64, 64), model=swin).kind == "nhwc"

    @pytest.mark.parametrize("shape", [(2, 3, 197, 64), (2, 3, 17, 17, 8), (2, 5)])
    def test_no_grid(self, shape):
        """Attention heads, videos, vectors."""
        with pytest.raises(
            InputError, match=r"cannot tell how an output of shape .* for images of 224 x 224 pixels lies"
        ):
            inferred(shape, (224, 224))


class TestTokens:
    @pytest.mark.parametrize(
        ("tokens", "size", "grid", "prefix"),
        [
            (196, (224, 224), (14, 14), 0),
            (197, (224, 224), (14, 14), 1),
            (198, (224, 224), (14, 14), 2),
            (201, (224, 224), (14, 14), 5),
            (50, None, (7, 7), 1),
            (24, (64, 96), (4, 6), 0),
            (25, (64, 96), (4, 6), 1),
            (25, (96, 64), (6, 4), 1),
            (24, (70, 100), (4, 6), 0),
        ],
    )
    def test_by_aspect(self, tokens, size, grid, prefix):
        assert inferred((2, tokens, 8), size) == Layout("tokens", grid, prefix)

    @pytest.mark.parametrize("tokens", [77, 23, 1, 2])
    def test_no_grid(self, tokens):
        with pytest.raises(InputError, match=r"layout=Layout\('tokens', grid=\(h, w\), prefix=k\), or a callable"):
            inferred((2, tokens, 8), (224, 224))

    @pytest.mark.parametrize("prefix", [0, 1, 3, 7, 20])
    @pytest.mark.parametrize("size", [(16, 24), (24, 16), (32, 32), (30, 17)])
    def test_by_the_patch_size(self, zoo, prefix, size):
        """Any number of prefix tokens, and pictures that are no multiple of the patch."""
        model = zoo.build(zoo.ViT, size=size, prefix=prefix, pool="mean")
        cells = (size[0] // 8, size[1] // 8)
        shape = (2, prefix + cells[0] * cells[1], 8)
        assert inferred(shape, size, model.blocks[0], model) == Layout("tokens", cells, prefix)

    def test_attributes_of_the_model(self):
        trunk, block = nn.Module(), nn.Linear(4, 4)
        trunk.block = block
        trunk.patch_embed = nn.Module()
        trunk.patch_embed.grid_size, trunk.patch_embed.patch_size = (2, 6), (16, 8)
        model = nn.Module()
        model.trunk = trunk
        assert inferred((2, 13, 4), None, block, model) == Layout("tokens", (2, 6), 1)
        assert inferred((2, 13, 4), (48, 32), block, model) == Layout("tokens", (3, 4), 1), (
            "the picture's own size counts"
        )
        trunk.num_prefix_tokens = 3
        assert inferred((2, 3 + 25, 4), (80, 80), block, model) == Layout("tokens", (5, 5), 3)

    def test_settings_of_the_model(self):
        class Config:
            image_size, patch_size, num_register_tokens = 32, 8, 4

        model = nn.Module()
        model.block, model.config = nn.Linear(4, 4), Config()
        assert inferred((2, 21, 4), None, model.block, model) == Layout("tokens", (4, 4), 5)
        assert inferred((2, 13, 4), (16, 32), model.block, model) == Layout("tokens", (2, 4), 5)

        class Both:
            vision_config = Config()

        model.config = Both()
        assert inferred((2, 21, 4), None, model.block, model) == Layout("tokens", (4, 4), 5)

    def test_patches_of_any_shape_have_padding_behind(self):
        """NaFlex: as many patches as the picture's shape asks for, none before them."""

        class Config:
            num_patches, patch_size = 16, 8

        model = nn.Module()
        model.block, model.config = nn.Linear(4, 4), Config()
        assert inferred((2, 16, 4), (24, 32), model.block, model) == Layout("tokens", (3, 4), 0)
        given = Layout("tokens", prefix=2)
        made = infer_layout(torch.zeros(2, 16, 4), module=model.block, model=model, image_size=(24, 32), given=given)
        assert made == Layout("tokens", (3, 4), 2)
        for size in (None, (48, 48)):
            with pytest.raises(InputError, match="cannot tell"):
                inferred((2, 16, 4), size, model.block, model)

    def test_patches_in_a_random_order(self):
        class ViltEmbeddings(nn.Module):
            pass

        model = nn.Module()
        model.block, model.embeddings = nn.Linear(4, 4), ViltEmbeddings()
        with pytest.raises(
            InputError, match="layout: ViltEmbeddings puts the patches in a random order at each forward"
        ):
            inferred((2, 16, 4), (32, 32), model.block, model)
        assert inferred((2, 4, 3, 5), (24, 40), model.block, model) == Layout("nchw")

    def test_partly_given(self):
        x = torch.zeros(2, 17, 4)
        assert infer_layout(x, given=Layout("tokens", (2, 4))) == Layout("tokens", (2, 4), 9)
        assert infer_layout(x, given=Layout("tokens", prefix=1)) == Layout("tokens", (4, 4), 1)
        assert infer_layout(x, given=Layout("tokens", (2, 4), 3)) == Layout("tokens", (2, 4), 3)
        assert infer_layout(x, given=Layout("nchw")) == Layout("nchw")
        with pytest.raises(InputError, match="cannot tell"):
            infer_layout(x, given=Layout("tokens", (5, 5)))


class TestMarkedPatch:
    """One bright patch, and a score that is the brightness alone: the map's peak is that patch."""

    class Bright(nn.Module):
        def __init__(self, kind, prefix=0):
            super().__init__()
            self.kind, self.prefix = kind, prefix
            self.embed = nn.Conv2d(3, 4, 8, stride=8, bias=False)
            nn.init.constant_(self.embed.weight, 0.01)
            self.layer = nn.Identity()

        def forward(self, x):
            x = self.embed(x)
            if self.kind == "nhwc":
                x = x.permute(0, 2, 3, 1)
            elif self.kind == "tokens":
                x = x.flatten(2).transpose(1, 2)
                x = torch.cat([x.new_full((len(x), self.prefix, 4), 9.0), x], 1)
            return self.layer(x).flatten(1).sum(1)

    @pytest.mark.parametrize("place", [(0, 0), (2, 5), (3, 1)])
    @pytest.mark.parametrize(
        ("kind", "prefix"), [("nchw", 0), ("nhwc", 0), ("tokens", 0), ("tokens", 1), ("tokens", 6)]
    )
    def test_is_where_the_map_is_brightest(self, kind, prefix, place):
        x = torch.zeros(1, 3, 32, 48)
        y, x0 = place
        x[:, :, 8 * y : 8 * y + 8, 8 * x0 : 8 * x0 + 8] = 1
        made = MMGrad(self.Bright(kind, prefix), "layer")(x)
        assert made.maps.shape == (1, 4, 6)
        assert divmod(int(made.maps[0].argmax()), 6) == place
        assert made.peak()[0] // 8 == y
        assert made.peak()[1] // 8 == x0

    def test_each_call_has_the_size_of_its_own_picture(self):
        class Twice(nn.Module):
            def __init__(self):
                super().__init__()
                self.tower = TestMarkedPatch.Bright("tokens", 1)

            def forward(self, first, second):
                return self.tower(first) + self.tower(second)

        first, second = torch.zeros(1, 3, 32, 16), torch.zeros(1, 3, 16, 24)
        first[..., 24:, 8:] = second[..., :8, 16:] = 1
        made = MMGrad(Twice(), "tower.layer")(first, second=second)
        assert [tuple(one.shape) for one in made.calls] == [(1, 4, 2), (1, 2, 3)]
        assert [int(one.argmax()) for one in made.calls] == [7, 2]

    def test_sequence_first_by_a_callable(self, zoo):
        class SequenceFirst(self.Bright):
            def forward(self, x):
                x = self.embed(x).flatten(2).permute(2, 0, 1)
                return self.layer(x).sum((0, 2))

        made = MMGrad(SequenceFirst("nchw"), "layer", layout=lambda x: x.permute(1, 2, 0).unflatten(2, (4, 6)))
        assert made(zoo.pictures(3, (32, 48)).abs()).maps.shape == (3, 4, 6)

    def test_a_layout_that_does_not_fit_names_the_layer(self, zoo):
        with pytest.raises(
            InputError, match=r"layer 'late': layout: cannot tell how an output of shape \(2, 6, 4, 6\)"
        ):
            MMGrad(zoo.build(zoo.CNN), "late", zoo.class_score(), layout="tokens")(zoo.pictures())
