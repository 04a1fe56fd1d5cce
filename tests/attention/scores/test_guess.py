"""The score that an output suggests: the right one at every batch size, or an error whose every choice works."""

import re
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.nn import functional

from mmgrad_explain import MMGrad, candidate_layers
from mmgrad_explain.attention.scores.guess import guess_score
from mmgrad_explain.errors import GradientError, InputError


class Pair(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor


def vectors(batch=3, width=4, seed=0):
    return torch.randn(batch, width, generator=torch.Generator().manual_seed(seed)).double()


class TestDefaultScore:
    def test_one_number_a_sample(self):
        for output in (torch.arange(3.0), torch.arange(3.0)[:, None]):
            score = guess_score(output)
            assert score.name == "output"
            assert score(output).tolist() == [0, 1, 2]

    def test_matched_embeddings(self):
        image, text = vectors(seed=0).float(), vectors(seed=1).float()
        output = SimpleNamespace(image_embeds=image, text_embeds=text, logits_per_image=torch.zeros(3, 3))
        score = guess_score(output)
        assert score.name == "image-text"
        assert torch.allclose(score(output), functional.cosine_similarity(image, text), atol=1e-6)

    def test_diagonal_of_the_logits(self):
        output = SimpleNamespace(logits_per_image=torch.arange(9.0).view(3, 3))
        score = guess_score(output)
        assert score.name == "logits_per_image"
        assert score(output).tolist() == [0, 4, 8]

    def test_logits_of_one_text(self):
        score = guess_score(
            SimpleNamespace(logits_per_image=torch.arange(3.0)[:, None], logits_per_text=torch.ones(1, 3))
        )
        assert score.name == "logits_per_image"
        assert score(SimpleNamespace(logits_per_image=torch.arange(3.0)[:, None])).tolist() == [0, 1, 2]

    def test_features_of_other_libraries(self):
        image, text = vectors(seed=0).float(), vectors(seed=1).float()
        output = {"image_features": image, "text_features": text, "logit_scale": torch.tensor(100.0)}
        score = guess_score(output)
        assert score.name == "image-text"
        assert torch.allclose(score(output), functional.cosine_similarity(image, text), atol=1e-6)

    def test_matching_logits(self):
        output = SimpleNamespace(itm_score=torch.arange(6.0).view(3, 2), logits_per_image=torch.zeros(3, 3))
        score = guess_score(output)
        assert score.name == "match"
        assert score(output).tolist() == [1, 3, 5]

    @pytest.mark.parametrize(
        ("output", "name"),
        [
            ({"similarity": torch.arange(3.0), "vectors": torch.zeros(3, 8)}, "similarity"),
            (SimpleNamespace(fits=torch.arange(3.0)[:, None], ids=torch.arange(3)), "fits"),
            ((torch.tensor(0.5), torch.arange(3.0)[:, None]), "output[1]"),
            (Pair(torch.zeros(3, 4), torch.arange(3.0)), "second"),
            ({"loss_of_each": torch.ones(3), "score": torch.arange(3.0)}, "score"),
            ({"temperature": torch.ones(1), "score": torch.arange(3.0).requires_grad_()}, "score"),
        ],
    )
    def test_the_one_part_with_a_number_a_sample(self, output, name):
        score = guess_score(output)
        assert score.name == name
        assert score(output).tolist() == [0, 1, 2]

    def test_several_such_parts(self):
        with pytest.raises(
            InputError, match=r"with near \(2,\), far \(2,\), .* one number a sample \(near, far\); choose"
        ):
            guess_score({"near": torch.zeros(2), "far": torch.zeros(2)})

    def test_texts_that_are_no_pairs(self):
        output = SimpleNamespace(logits_per_image=torch.zeros(1, 3), logits_per_text=torch.zeros(3, 1))
        with pytest.raises(
            InputError, match=r"not one text for each image; repeat .*output.logits_per_image\[:, index\]"
        ):
            guess_score(output)

    @pytest.mark.parametrize("output", [torch.zeros(2, 5), SimpleNamespace(logits=torch.zeros(2, 3)), (1, 2)])
    def test_lists_the_options(self, output):
        with pytest.raises(InputError, match="does not say by itself what to explain; pass score= "):
            guess_score(output)


class TwoTowers(nn.Module):
    """Pictures and words to what ``says`` makes of both."""

    def __init__(self, says):
        super().__init__()
        self.body, self.words = nn.Conv2d(3, 6, 4, stride=4), nn.Embedding(20, 6)
        self.scale, self.bias = nn.Parameter(torch.tensor([2.0])), nn.Parameter(torch.tensor(-1.0))
        self.loose = torch.tensor([3.0], requires_grad=True)  # neither a parameter nor a buffer
        self.says = says

    def forward(self, pixels, ids):
        grid = functional.gelu(self.body(pixels))
        image, text = grid.mean((2, 3)) + 0.1 * grid.square().mean((2, 3)), self.words(ids).mean(1)
        return self.says(self, functional.normalize(image, dim=1), functional.normalize(text, dim=1))


def cosines(image, text):
    return (functional.normalize(image, dim=1) * functional.normalize(text, dim=1)).sum(1)


def scale_of(model):
    return model.scale.exp()


GUESSED = {
    "a tuple with a scale": lambda m, i, t: (i, t, scale_of(m)),
    "a list with a scale of no dimension": lambda m, i, t: [i, t, scale_of(m)[0]],
    "with a bias": lambda m, i, t: (i, t, scale_of(m), m.bias),
    "by other names": lambda m, i, t: {"picture": i, "sentence": t, "temperature": scale_of(m)},
    "of any length": lambda m, i, t: (3 * i, 2 * t, m.loose * 2),
    "features by name": lambda m, i, t: {"image_features": i, "text_features": t, "logit_scale": scale_of(m)},
    "features, scale and bias by name": lambda m, i, t: {
        "image_features": i, "text_features": t, "logit_scale": scale_of(m), "logit_bias": m.bias[None],
    },
    "logits and their transpose": lambda m, i, t: (i @ t.t(), t @ i.t()),
    "logits, their transpose and a scale": lambda m, i, t: (i @ t.t(), t @ i.t(), scale_of(m)),
    "a score and a temperature": lambda m, i, t: ((i * t).sum(1), scale_of(m)),
    "a temperature and a score": lambda m, i, t: (m.loose, (i * t).sum(1)),
    "a score of the words alone": lambda m, i, t: {"words": t.sum(1), "fits": (i * t).sum(1)},
    "a loss": lambda m, i, t: {"loss": (i * t).sum(1), "fits": (i * t).sum(1)},
}  # fmt: skip


@pytest.mark.parametrize("batch", [1, 2, 6])
@pytest.mark.parametrize("says", GUESSED.values(), ids=GUESSED)
def test_the_cosine_is_found_at_every_batch_size(zoo, says, batch):
    """Six is also the width of the embeddings: a square that is no matrix of logits."""
    model = zoo.build(lambda: TwoTowers(says))
    x, ids = zoo.pictures(batch, (16, 16)), torch.arange(2 * batch).view(batch, 2)
    expected = MMGrad(zoo.build(lambda: TwoTowers(lambda _, i, t: cosines(i, t))), "body")(x, ids)
    found = MMGrad(model, "body")(x, ids)
    torch.testing.assert_close(found.score, expected.score)
    torch.testing.assert_close(found.maps, expected.maps)
    assert MMGrad(model)(x, ids).layer_names == ("body",)


@pytest.mark.parametrize("as_mapping", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_models_of_open_clip(zoo, as_mapping, bias):
    open_clip = pytest.importorskip("open_clip")
    vision = {"image_size": 32, "patch_size": 8, "width": 16, "layers": 2, "head_width": 8}
    text = {"context_length": 4, "vocab_size": 20, "width": 16, "heads": 2, "layers": 1}
    options = {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text, "output_dict": as_mapping}
    model = zoo.build(lambda: open_clip.model.CLIP(**options, init_logit_bias=-10.0 if bias else None)).eval()
    layer = "visual.transformer.resblocks.0"
    for batch in (1, 2):
        x, ids = zoo.pictures(batch, (32, 32)), torch.tensor([[1, 5, 19, 0], [2, 9, 19, 0]])[:batch]
        made = MMGrad(model, layer)(x, ids)
        assert made.score_name == "image-text"
        expected = (model.encode_image(x, normalize=True) * model.encode_text(ids, normalize=True)).sum(1)
        torch.testing.assert_close(made.score, expected.detach(), atol=1e-5, rtol=1e-4)
    assert MMGrad(model, layer, "image-text")(x, ids).maps.shape == MMGrad(model)(x, ids).maps.shape


def test_one_text_for_all_pictures(zoo):
    model = zoo.build(lambda: TwoTowers(GUESSED["a tuple with a scale"]))
    x, ids = zoo.pictures(3, (16, 16)), torch.tensor([[1, 2]])
    torch.testing.assert_close(MMGrad(model, "body")(x, ids).maps, MMGrad(model, "body")(x, ids.expand(3, -1)).maps)


REFUSED = {
    "a matrix and a temperature": lambda m, i, t: (i @ t.t(), scale_of(m)),
    "a matrix by name": lambda m, i, t: {"similarity": i @ t.t()},
    "two numbers a sample": lambda m, i, t: {"near": (i * t).sum(1), "far": -(i * t).sum(1)},
    "a number and a matrix": lambda m, i, t: (i @ t.t(), (i * t).sum(1)),
    "two vectors": lambda m, i, t: (i, t),
    "two heads and a temperature": lambda m, i, t: (2 * i * t, 3 * i - t, scale_of(m)),
    "class logits": lambda m, i, t: 2 * i * t,
    "class logits by name": lambda m, i, t: SimpleNamespace(logits=2 * i * t, temperature=scale_of(m)),
    "logits of words": lambda m, i, t: {
        "logits": (i * t)[:, None].expand(-1, 3, -1),
        "labels": torch.ones(2, 3).long(),
    },
}


def choices_of(error):
    """What a message says score may be, as Python."""
    told = str(error).partition("pass score= ")[2].removesuffix("a callable that gives one number a sample")
    parts = re.findall(r"lambda output: .*?(?=, lambda|, or |$)|'[a-z-]+'", told.rstrip(" or").rstrip(" ,"))
    return [eval(part.strip(" ,").replace("index", "0"), {"torch": torch}) for part in parts]


@pytest.mark.parametrize("says", REFUSED.values(), ids=REFUSED)
def test_every_choice_of_a_refusal_works(zoo, says):
    model = zoo.build(lambda: TwoTowers(says))
    x, ids = zoo.pictures(2, (16, 16)), torch.tensor([[1, 2], [3, 4]])
    for ask in (MMGrad(model, "body"), MMGrad(model), lambda *given: candidate_layers(model, *given)):
        with pytest.raises(InputError, match=r"does not say by itself what to explain; .*pass score= ") as error:
            ask(x, ids)
        choices = choices_of(error.value)
        assert choices
        for choice in choices:
            assert MMGrad(model, "body", choice)(x, ids).maps.shape == (2, 4, 4)


def test_several_texts_for_one_picture(zoo):
    """Both ways out work: take one text, or repeat the picture."""
    x, ids = zoo.pictures(1, (16, 16)), torch.tensor([[1, 2], [3, 4], [5, 6]])
    for says in (GUESSED["a tuple with a scale"], GUESSED["features by name"]):
        model = zoo.build(lambda says=says: TwoTowers(says))
        with pytest.raises(InputError, match="not one text for each image; repeat the image for each text") as error:
            MMGrad(model, "body")(x, ids)
        repeated = MMGrad(model, "body")(x.expand(3, -1, -1, -1), ids)
        last = MMGrad(model, "body", choices_of(error.value)[-1])(x, ids)
        torch.testing.assert_close(last.maps, repeated.maps[:1])


@pytest.mark.parametrize(
    ("says", "guess"),
    [
        (lambda m, i, t: {"fits": (i * t).sum(1).detach()}, r"output\['fits'\], the one part that holds one number a"),
        (lambda m, i, t: (i.detach(), t, scale_of(m)), r"the cosine of output\[0\] and output\[1\], row by row"),
        (lambda m, i, t: {"fits": (i * t).sum()[None]}, r"output\['fits'\]"),
        (lambda m, i, t: (i * t).sum(1).detach(), "the output itself"),
        (lambda m, i, t: (i * t).sum(1) / 0, "the output itself"),
    ],
)
def test_an_error_after_a_guess_names_it(zoo, says, guess):
    model = zoo.build(lambda: TwoTowers(says))
    x, ids = zoo.pictures(2, (16, 16)), torch.tensor([[1, 2], [3, 4]])
    match = rf"\(score was guessed: {guess}.*; pass score= to choose"
    with pytest.raises((InputError, GradientError), match=match):
        MMGrad(model, "body")(x, ids)


def test_a_search_for_layers_names_it(zoo):
    model = zoo.build(lambda: TwoTowers(lambda m, i, t: (i * t).sum(1).detach()))
    with pytest.raises(
        GradientError, match=r"depends on no layer .*\(score was guessed: the output itself; pass score="
    ):
        MMGrad(model)(zoo.pictures(2, (16, 16)), torch.tensor([[1, 2], [3, 4]]))


def test_a_score_that_was_named_is_not_called_a_guess(zoo):
    model = zoo.build(lambda: TwoTowers(lambda m, i, t: (i * t).sum(1).detach()))
    with pytest.raises(GradientError) as error:
        MMGrad(model, "body", lambda output: output)(zoo.pictures(2, (16, 16)), torch.tensor([[1, 2], [3, 4]]))
    assert "guessed" not in str(error.value)
