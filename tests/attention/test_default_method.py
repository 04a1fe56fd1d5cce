"""The method where none is named: by what the model does with its layers."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from mmgrad_explain.attention import MMGrad, default_method
from mmgrad_explain.attention.methods.fused import Fused, Part
from mmgrad_explain.attention.methods.named import ensure_method
from mmgrad_explain.errors import InputError

SIZE = (64, 64)
FUSED = "layercam at third + layercam at second + layercam at first"


class Pyramid(nn.Module):
    """Stages that each halve the grid of 64 x 64, read by ``head`` at every place or at their mean."""

    def __init__(self, channels=6, *, pooled=False, wide=64):
        super().__init__()
        stages = [nn.Conv2d(before, channels, 3, 2, 1) for before in (3, channels, channels)]
        self.first, self.second, self.third = stages
        self.pooled = pooled
        self.head = nn.Linear(channels if pooled else channels * (wide // 8) ** 2, 5)

    def see(self, x):
        return self.third(functional.gelu(self.second(functional.gelu(self.first(x)))))

    def read(self, grid):
        return self.head(grid.mean((2, 3)) if self.pooled else torch.tanh(grid).flatten(1))

    def forward(self, x):
        return self.read(self.see(x))


class LateText(Pyramid):
    """The text gates what the last stage sees."""

    def __init__(self):
        super().__init__()
        self.words, self.gate = nn.Embedding(20, 6), nn.Linear(6, 6)

    def forward(self, x, ids):
        gate = torch.sigmoid(self.gate(self.words(ids).mean(1)))[:, :, None, None]
        fine = functional.gelu(self.second(functional.gelu(self.first(x))))
        return self.read(self.third(fine * gate))


class Residual(Pyramid):
    """A side path of the last stage has a layer of the grid before it."""

    def __init__(self):
        super().__init__()
        self.side, self.down, self.join = nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 3, 2, 1), nn.Conv2d(6, 6, 1)

    def see(self, x):
        fine = self.second(functional.gelu(self.first(x)))
        return self.join(self.third(fine) + self.down(functional.gelu(self.side(fine))))


class Decoder(Pyramid):
    """The last stage is enlarged again."""

    def __init__(self):
        super().__init__(wide=128)
        self.up = nn.ConvTranspose2d(6, 6, 2, 2)

    def see(self, x):
        return self.up(super().see(x))


class Mixing(nn.Module):
    """A block without attention."""

    def __init__(self, tokens, width):
        super().__init__()
        self.mix, self.norm = nn.Linear(tokens, tokens), nn.LayerNorm(width)

    def forward(self, x):
        return x + self.mix(self.norm(x).transpose(1, 2)).transpose(1, 2)


@pytest.fixture
def x(zoo):
    return zoo.pictures(2, SIZE)


@pytest.fixture
def pyramid(zoo):
    return zoo.build(Pyramid)


@pytest.fixture
def vit(zoo):
    return zoo.build(zoo.ViT)


@pytest.fixture
def small(zoo):
    return zoo.pictures()


class TestLayersThatAreFound:
    def test_pooled_globally(self, zoo, x):
        mmgrad = MMGrad(zoo.build(Pyramid, pooled=True), score=zoo.class_score())
        found = mmgrad(x)
        assert (found.method, mmgrad.layer_names) == ("gradcam", ("third",))
        other = MMGrad(mmgrad.model, "third", zoo.class_score(), "hirescam")(x)
        torch.testing.assert_close(found.maps, other.maps)

    def test_a_pyramid_is_fused_of_three_grids(self, zoo, pyramid, x):
        mmgrad = MMGrad(pyramid, score=zoo.class_score())
        with zoo.leaves_alone(pyramid):
            found = mmgrad(x)
        assert (found.method, mmgrad.layer_names) == (FUSED, ("third", "second", "first"))
        parts = tuple(Part(ensure_method("layercam"), layer) for layer in mmgrad.layer_names)
        named = MMGrad(pyramid, list(mmgrad.layer_names), zoo.class_score(), Fused(parts))(x)
        assert torch.equal(found.maps, named.maps)
        assert found.maps.shape == (2, 32, 32)

    def test_grids_finer_than_the_finest_take_no_part(self, zoo, pyramid, x, monkeypatch):
        monkeypatch.setattr(default_method, "FINEST", 16)
        mmgrad = MMGrad(pyramid, score=zoo.class_score())
        assert (mmgrad(x).method, mmgrad.layer_names) == ("layercam", ("third",))

    def test_too_few_grids(self, zoo, pyramid, x, monkeypatch):
        monkeypatch.setattr(default_method, "PYRAMID_GRIDS", 4)
        assert MMGrad(pyramid, score=zoo.class_score())(x).method == "layercam"

    def test_layers_behind_text_take_no_part(self, zoo, x):
        model = zoo.build(LateText)
        mmgrad = MMGrad(model, score=zoo.class_score())
        assert (mmgrad(x, zoo.ids()).method, mmgrad.layer_names) == ("layercam", ("second",))

    def test_layers_on_a_side_path_take_no_part(self, zoo, x):
        mmgrad = MMGrad(zoo.build(Residual), score=zoo.class_score())
        assert mmgrad(x).method == "layercam at join + layercam at second + layercam at first"

    def test_a_decoder_makes_no_pyramid(self, zoo, x):
        mmgrad = MMGrad(zoo.build(Decoder), score=zoo.class_score())
        assert (mmgrad(x).method, mmgrad.layer_names) == ("layercam", ("up",))


class Block(nn.Module):
    """Attention with or without a residual connection around it."""

    def __init__(self, residual):
        super().__init__()
        self.attend, self.norm, self.residual = nn.MultiheadAttention(8, 2, batch_first=True), nn.LayerNorm(8), residual

    def forward(self, x):
        read = self.norm(x)
        return self.attend(read, read, read, need_weights=False)[0] + (x if self.residual else 0)


class Pooled(nn.Module):
    """A query that reads the patches."""

    def __init__(self, patches):
        super().__init__()
        self.patches, self.blocks = patches, nn.Sequential(Block(residual=True), Block(residual=True))
        self.query, self.pool = nn.Parameter(torch.randn(1, 1, 8)), nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        tokens = self.blocks(self.patches(x).flatten(2).transpose(1, 2))
        return self.head(self.pool(self.query.expand(len(x), -1, -1), tokens, tokens, need_weights=False)[0][:, 0])


class TestTransformers:
    def test_class_token(self, zoo, vit, small):
        mmgrad = MMGrad(vit, score=zoo.class_score())
        with zoo.leaves_alone(vit):
            found = mmgrad(small)
        assert found.method == mmgrad(small).method == "relevancy"
        assert torch.equal(found.maps, MMGrad(vit, score=zoo.class_score(), method="relevancy")(small).maps)
        assert len(mmgrad.layer_names) == 1

    @pytest.mark.parametrize("prefix", [0, 1])
    def test_the_mean_of_all_tokens(self, zoo, small, prefix):
        model = zoo.build(zoo.ViT, prefix=prefix, pool="mean")
        assert MMGrad(model, score=zoo.class_score())(small).method == "relevancy"

    @pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # a random map may be empty
    def test_the_mean_of_tokens_without_attention_is_global_pooling(self, zoo, small):
        model = zoo.build(zoo.ViT, prefix=0, pool="mean")
        model.blocks = nn.ModuleList(zoo.build(Mixing, 6, 8) for _ in range(2))
        assert MMGrad(model, score=zoo.class_score())(small).method == "gradcam"

    def test_attention_pooling(self, zoo, small):
        model = zoo.build(lambda: Pooled(nn.Conv2d(3, 8, 8, 8)))
        assert MMGrad(model, score=zoo.class_score())(small).method == "relevancy"

    def test_the_models_own_layer_leaves_it_to_attention(self, zoo, vit, small):
        vit.target_layer = "blocks.1"
        assert MMGrad(vit, score=zoo.class_score())(small).method == "relevancy"

    @pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # a random map may be empty
    def test_a_layer_that_is_named(self, zoo, vit, small):
        assert MMGrad(vit, "blocks.1", zoo.class_score())(small).method == "layercam"

    def test_no_attention(self, zoo, vit, small):
        vit.blocks = nn.ModuleList(zoo.build(Mixing, 7, 8) for _ in range(2))
        assert MMGrad(vit, score=zoo.class_score())(small).method == "layercam"

    @pytest.mark.parametrize(("residual", "method"), [(True, "relevancy"), (False, "layercam")])
    def test_relevancy_takes_residual_connections_as_given(self, zoo, vit, small, residual, method):
        vit.blocks = nn.ModuleList(zoo.build(Block, residual) for _ in range(3))
        assert MMGrad(vit, score=zoo.class_score())(small).method == method


class TestWhatIsSaid:
    def test_a_model_that_declares_its_method(self, zoo, pyramid, x):
        pyramid.default_method = "gradcam"
        mmgrad = MMGrad(pyramid, score=zoo.class_score())
        assert (mmgrad(x).method, mmgrad.layer_names) == ("gradcam", ("third",))

    def test_a_method_that_is_named(self, zoo, pyramid, x):
        mmgrad = MMGrad(pyramid, score=zoo.class_score(), method="hirescam")
        assert (mmgrad(x).method, mmgrad.layer_names) == ("hirescam", ("third",))

    @pytest.mark.parametrize(("pooled", "method"), [(True, "gradcam"), (False, "layercam")])
    def test_layers_that_are_named(self, zoo, x, pooled, method):
        model = zoo.build(Pyramid, pooled=pooled)
        found = MMGrad(model, "third", zoo.class_score())(x)
        assert found.method == method
        assert torch.equal(found.maps, MMGrad(model, "third", zoo.class_score(), method)(x).maps)

    def test_one_uneven_layer_of_several_is_enough(self, zoo, x):
        model = zoo.build(Pyramid, pooled=True)
        assert MMGrad(model, ["second", "third"], zoo.class_score())(x).method == "layercam"

    def test_the_models_own_layer_counts_as_named(self, zoo, pyramid, x):
        pyramid.target_layer = "second"
        mmgrad = MMGrad(pyramid, score=zoo.class_score())
        assert (mmgrad(x).method, mmgrad.layer_names) == ("layercam", ("second",))


class TestRemembering:
    def test_the_model_is_searched_once(self, zoo, pyramid, x):
        runs = []
        pyramid.register_forward_pre_hook(lambda *_: runs.append(1))
        mmgrad = MMGrad(pyramid, score=zoo.class_score())
        methods = [mmgrad(x).method, mmgrad(x).method]
        assert (methods, len(runs)) == ([FUSED, FUSED], 4 + 2)

    def test_later_gradients_are_not_looked_at(self, zoo, x, monkeypatch):
        mmgrad = MMGrad(zoo.build(Pyramid), "third", zoo.class_score())
        mmgrad(x)
        monkeypatch.setattr(default_method, "measure_unevenness", None)  # fails if it is called
        assert mmgrad(x).method == "layercam"


class TestTraining:
    def test_named_layers_without_a_call(self, zoo, pyramid, x):
        mmgrad = MMGrad(pyramid, "third")
        output, seen = zoo.captured(mmgrad, pyramid, x)
        maps = mmgrad.attend(output[:, 1], seen, create_graph=True)
        other = mmgrad.attend(output[:, 1], seen, create_graph=True, method="layercam")
        torch.testing.assert_close(maps, other)
        maps.sum().backward()
        assert pyramid.first.weight.grad.abs().sum() > 0
        assert mmgrad.settings.choose_method().name == "layercam"

    def test_a_pyramid_after_a_call(self, zoo, pyramid, x):
        mmgrad = MMGrad(pyramid, score=zoo.class_score())
        expected = mmgrad(x).maps
        output, seen = zoo.captured(mmgrad, pyramid, x)
        maps = mmgrad.attend(output[:, 1], seen, create_graph=True)
        torch.testing.assert_close(maps.detach(), expected)
        maps.sum().backward()
        assert pyramid.first.weight.grad.abs().sum() > 0

    def test_a_search_that_failed_decides_nothing(self, zoo, pyramid, x):
        mmgrad = MMGrad(pyramid, score=zoo.class_score())
        with pytest.raises(InputError, match="capture"):
            mmgrad.capture()
        assert mmgrad(x).method == FUSED
