"""Models of people who do not know this package: their own signatures, outputs and towers, explained in three lines."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from mmgrad_explain import MMGrad, candidate_layers
from mmgrad_explain.errors import GradientError, InputError

SIZE, GRID = (32, 48), (4, 6)


def same_map(made, expected):
    torch.testing.assert_close(made, expected, atol=1e-6 * float(expected.abs().max() + 1), rtol=1e-4)
    assert made.amax((1, 2)).min() > 0


class Convolutions(nn.Module):
    """A plain residual network."""

    def __init__(self, width=8):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 4, 4), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        self.stage = nn.Conv2d(width, width, 2, 2)
        self.inside = nn.Conv2d(width, width, 3, 1, 1)

    def forward(self, x):
        x = self.stage(self.stem(x))
        return x + self.inside(functional.relu(x))


class Siamese(nn.Module):
    """Two pictures and a sentence, all by name; a dictionary."""

    def __init__(self):
        super().__init__()
        self.eye = Convolutions()
        self.word_table = nn.Embedding(20, 8)
        self.gate = nn.Linear(8, 8)

    def look(self, picture):
        return self.eye(picture).mean((2, 3))

    def forward(self, *, first, second, sentence):
        gate = torch.sigmoid(4 * self.gate(self.word_table(sentence).mean(1)))
        one, other = self.look(first) * gate, self.look(second) * gate
        return {"similarity": torch.cosine_similarity(one, other), "features": (one, other)}


class TestSiamese:
    def test_three_lines(self, zoo):
        model = zoo.build(Siamese)
        given = {"first": zoo.pictures(2, SIZE), "second": zoo.pictures(2, SIZE, 5), "sentence": zoo.ids(2)}
        with zoo.leaves_alone(model):
            explanation = MMGrad(model, method="gradcam")(**given)
        assert (explanation.layer_names, explanation.score_name) == (("eye",), "similarity")
        expected = zoo.plain_maps(model, "eye", lambda x: x, lambda o: o["similarity"], lambda: model(**given))
        for made, plain in zip(explanation.calls, expected, strict=True):
            same_map(made, plain)
        call = lambda first: model(**{**given, "first": first})  # noqa: E731
        assert zoo.finds_cells(model, "eye", lambda x: x, call, given["first"])

    def test_another_sentence_and_one_at_a_time(self, zoo):
        model = zoo.build(Siamese)
        given = {"first": zoo.pictures(2, SIZE), "second": zoo.pictures(2, SIZE, 5), "sentence": zoo.ids(2)}
        both = MMGrad(model)(**given)
        other = MMGrad(model)(**{**given, "sentence": zoo.ids(2, seed=7)})
        assert (both.maps - other.maps).abs().amax((1, 2)).min() > 0.01 * both.maps.max()
        for index in range(2):
            alone = MMGrad(model)(**{name: value[index : index + 1] for name, value in given.items()})
            torch.testing.assert_close(alone.maps[0], both.maps[index])
            torch.testing.assert_close(alone.score[0], both.score[index])


@dataclass
class Verdict:
    fits: torch.Tensor
    vector: torch.Tensor
    note: str = "ok"


class Attentive(nn.Module):
    """Patches, registers and words in one sequence; a dataclass with a score of shape (B, 1)."""

    def __init__(self, zoo, *, registers=4, stretch=False):
        super().__init__()
        self.cut = nn.Conv2d(3, 16, 8, 8)
        self.extra = nn.Parameter(torch.randn(1, 1 + registers, 16))
        self.places = nn.Parameter(torch.randn(1, 16, 4, 4))
        self.sees = nn.ModuleList(zoo.Block(16) for _ in range(2))
        self.reads = nn.Embedding(20, 16)
        self.joins = zoo.Block(16)
        self.says = nn.Linear(16, 1)

    def forward(self, pixels, *, tokens, mask=None):
        x = self.cut(pixels)
        x = x + functional.interpolate(self.places, x.shape[2:], mode="bicubic")
        x = torch.cat([self.extra.expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], 1)
        for block in self.sees:
            x = block(x)
        words = self.reads(tokens) * (1 if mask is None else mask[..., None])
        joint = self.joins(torch.cat([words, x], 1))
        return Verdict(self.says(joint[:, 0]), joint[:, 1])


class TestOneSequence:
    @pytest.mark.parametrize("size", [(32, 32), (32, 48), (64, 24)])
    def test_any_shape_of_pictures(self, zoo, size):
        """Registers before the patches, positions stretched to the picture, words in front of all."""
        model = zoo.build(Attentive, zoo)
        x, ids = zoo.pictures(2, size), zoo.ids(2)
        with zoo.leaves_alone(model):
            explanation = MMGrad(model, method="gradcam")(x, tokens=ids, mask=torch.ones(2, 4))
        read = zoo.tokens(5, (size[0] // 8, size[1] // 8))
        assert (explanation.layer_names, explanation.score_name) == (("sees.1",), "fits")
        call = lambda x: model(x, tokens=ids)  # noqa: E731
        (expected,) = zoo.plain_maps(model, "sees.1", read, lambda o: o.fits[:, 0], lambda: call(x))
        same_map(explanation.maps, expected)
        assert zoo.finds_cells(model, "sees.1", read, call, x)

    def test_a_reading_of_the_joint_sequence_that_does_not_fit_is_none(self, zoo):
        """Four words, five extra tokens and 24 patches: 33 tokens are not 4 x 8 after the first."""
        found = candidate_layers(zoo.build(Attentive, zoo), zoo.pictures(2, SIZE), tokens=zoo.ids(2))
        assert not [one for one in found if one.name.startswith("joins") and one.layout.prefix != 9]
        assert {one.mixes_text for one in found if one.name.startswith("sees")} == {False}


class Tokenizing(nn.Module):
    """Strings that become numbers inside; the loss stands before the logits."""

    WORDS = ("make", "it", "red", "blue", "remove", "the", "star")

    def __init__(self):
        super().__init__()
        self.eye = Convolutions()
        self.table, self.order = nn.Embedding(8, 8), nn.Embedding(8, 8)
        self.mix = nn.Conv2d(8, 8, 1)
        self.out = nn.Linear(8, 1)

    def read(self, sentences):
        rows = [[1 + self.WORDS.index(word) for word in sentence.split()][:6] for sentence in sentences]
        ids = torch.tensor([row + [0] * (6 - len(row)) for row in rows])
        return (self.table(ids) + self.order(torch.arange(6)[None].expand(len(ids), -1))).mean(1)

    def forward(self, sentences, images, answers=None):
        grid = self.mix(self.eye(images) * torch.tanh(4 * self.read(sentences))[:, :, None, None])
        logits = self.out(functional.gelu(grid).mean((2, 3)))
        wanted = torch.ones(len(logits)) if answers is None else answers
        return functional.binary_cross_entropy_with_logits(logits[:, 0], wanted), logits


class TestTokenizing:
    def test_three_lines(self, zoo):
        model, x = zoo.build(Tokenizing), zoo.pictures(2, SIZE)
        sentences = ["make it red", "remove the blue star"]
        explanation = MMGrad(model, method="gradcam")(sentences, x)
        assert (explanation.layer_names, explanation.score_name) == (("eye",), "output[1]")
        (expected,) = zoo.plain_maps(model, "eye", lambda x: x, lambda o: o[1], lambda: model(sentences, x))
        same_map(explanation.maps, expected)
        other = MMGrad(model, method="gradcam")(sentences[::-1], x)
        assert (explanation.maps - other.maps).abs().amax((1, 2)).min() > 0.01 * explanation.maps.max()

    @pytest.mark.parametrize("wrap", [list, tuple, lambda texts: {"texts": texts}])
    def test_text_is_noticed_inside(self, zoo, wrap):
        class Wrapped(Tokenizing):
            def read(self, sentences):
                return super().read(sentences["texts"] if isinstance(sentences, dict) else sentences)

        found = candidate_layers(zoo.build(Wrapped), wrap(["make it red"]), zoo.pictures(1, SIZE))
        assert [one.name for one in found if one.mixes_text] == ["mix"]
        assert [one.name for one in found if one.chosen] == ["eye"]


class TestPictures:
    def test_bytes(self, zoo):
        class Bytes(nn.Module):
            def __init__(self):
                super().__init__()
                self.eye, self.table = Convolutions(), nn.Embedding(20, 8)

            def forward(self, x, ids):
                return (self.eye(x.float() / 255 - 0.5).mean((2, 3)) * self.table(ids).mean(1)).sum(1)

        x = torch.randint(0, 256, (2, 3, *SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        model, given = zoo.build(Bytes), zoo.ids(2, 16)
        explanation = MMGrad(model)(x, given)
        assert explanation.layer_names == ("eye",), "sixteen words are no grid of four by four"
        same_map(explanation.maps, zoo.plain_maps(model, "eye", lambda x: x, lambda o: o, lambda: model(x, given))[0])

    def test_pictures_that_are_made_tensors_inside(self, zoo):
        class Opening(nn.Module):
            def __init__(self):
                super().__init__()
                self.vit, self.table = zoo.ViT(16, 2, size=SIZE, pool="mean"), nn.Embedding(20, 5)

            def forward(self, pictures, ids):
                x = torch.stack([torch.from_numpy(np.asarray(picture) / np.float32(255)) for picture in pictures])
                return (self.vit(x.permute(0, 3, 1, 2)) * self.table(ids).mean(1)).sum(1)

        values = np.random.default_rng(0).integers(0, 256, (2, *SIZE, 3), dtype=np.uint8)
        pictures, ids = [Image.fromarray(one) for one in values], zoo.ids(2, 16)
        model = zoo.build(Opening)
        explanation = MMGrad(model)(pictures, ids)
        assert explanation.layer_names == ("vit.norm",)
        expected = zoo.plain_maps(
            model, "vit.norm", zoo.tokens(1, GRID), lambda output: output, lambda: model(pictures, ids)
        )
        same_map(explanation.maps, expected[0])

    def test_pictures_that_are_resized_inside(self, zoo):
        """The grid is that of the picture which the patches are cut from: 24 tokens, not 3 x 8 of a wide one."""

        class Resizing(nn.Module):
            def __init__(self):
                super().__init__()
                self.cut, self.block, self.out = nn.Conv2d(3, 8, 8, 8), zoo.Block(8), nn.Linear(8, 1)

            def forward(self, x):
                x = functional.interpolate(x, SIZE, mode="bilinear")
                return self.out(self.block(self.cut(x).flatten(2).transpose(1, 2)).square().mean(1))

        model, x = zoo.build(Resizing), zoo.pictures(2, (24, 192))
        explanation = MMGrad(model)(x)
        assert explanation.layouts == {"block": ("tokens 4 x 6 after 0",)}
        assert zoo.finds_cells(model, "block", zoo.tokens(0, GRID), model, x)

    def test_tiles(self, zoo):
        """Each tile is a sample of its own to the tower, and the joint tokens lie in no grid."""

        class Tiles(nn.Module):
            def __init__(self):
                super().__init__()
                self.cut, self.joins, self.out = nn.Conv2d(3, 8, 8, 8), zoo.Block(8), nn.Linear(8, 1)

            def forward(self, tiles):
                x = self.cut(tiles.flatten(0, 1)).flatten(2).transpose(1, 2)
                return self.out(self.joins(x.unflatten(0, tiles.shape[:2]).flatten(1, 2)).square().mean(1))

        tiles = zoo.pictures(8, (32, 32)).unflatten(0, (2, 4))
        message = r"layer 'cut' saw a batch of 8, 4 for each.*\(windows, tiles, frames\), .* give layout= a callable"
        with pytest.raises(InputError, match=message):
            MMGrad(zoo.build(Tiles))(tiles)


def test_what_a_layer_used_inside_does_not_come_after_it(zoo):
    """A tower that pools its own patches and hands on both: the score hangs on the pooled ones alone."""

    class Tower(nn.Module):
        def __init__(self):
            super().__init__()
            self.cut, self.block, self.pool = nn.Conv2d(3, 8, 8, 8), zoo.Block(8), nn.Linear(8, 8)

        def forward(self, x):
            x = self.block(self.cut(x).flatten(2).transpose(1, 2))
            return {"patches": x, "pooled": self.pool(x.mean(1))}

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.tower = Tower()

        def forward(self, x):
            return self.tower(x)["pooled"].square().sum(1)

    model, x = zoo.build(Model), zoo.pictures(2, SIZE)
    found = {one.name: one for one in candidate_layers(model, x)}
    assert not found["tower"].gradient_reaches
    assert MMGrad(model, method="gradcam")(x).layer_names == ("tower.block",)


def test_attention_heads_are_no_pictures(zoo):
    """Queries of three heads, (B, 3, N, d), look like pictures of N x d pixels to a norm that gets them."""

    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.cut, self.norm, self.late = nn.Conv2d(3, 12, 8, 8), nn.LayerNorm(4), nn.Conv2d(12, 12, 1)

        def forward(self, x):
            x = self.cut(x)
            heads = self.norm(x.flatten(2).unflatten(1, (3, 4)).transpose(2, 3))
            x = x + heads.transpose(2, 3).flatten(1, 2).view_as(x)
            return self.late(x).flatten(2).transpose(1, 2).square().mean((1, 2))

    found = candidate_layers(zoo.build(Heads), zoo.pictures(2, SIZE))
    assert [(one.name, one.grid) for one in found if one.chosen] == [("late", GRID)]


class TestWhenItAsks:
    def test_several_scores(self, zoo):
        class Two(Siamese):
            def forward(self, **inputs):
                value = super().forward(**inputs)["similarity"]
                return {"closeness": value, "distance": 1 - value, "loss": (1 - value).mean()}

        given = {"first": zoo.pictures(2, SIZE), "second": zoo.pictures(2, SIZE, 5), "sentence": zoo.ids(2)}
        with pytest.raises(InputError, match=r"several parts of it hold one number a sample \(closeness, distance\)"):
            MMGrad(zoo.build(Two))(**given)
        made = MMGrad(zoo.build(Two), score=lambda output: output["closeness"])(**given)
        torch.testing.assert_close(made.maps, MMGrad(zoo.build(Siamese))(**given).maps)

    def test_nothing_in_place(self, zoo):
        model = nn.Sequential(nn.Flatten(2), nn.Linear(SIZE[0] * SIZE[1], 16), nn.Flatten(), nn.Linear(48, 1)).eval()
        with pytest.raises(GradientError, match="no layer of the model has both a spatial grid and a gradient"):
            MMGrad(model)(zoo.pictures(2, SIZE))
