"""One picture, many texts: the picture is encoded once, and every map is that of a call for its text alone."""

from typing import ClassVar

import pytest
import torch

from mmgrad_explain import MMGrad
from mmgrad_explain.errors import GradientError, InputError

pytestmark = pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")


def score(output):
    return output.embedding[:, 0]


def stages(zoo, model):
    return {
        "encode": model.tower,
        "compose": lambda grid, ids: zoo.Composed(model.compose(grid, model.words(ids))),
    }


def one_by_one(mmgrad, image, ids):
    return [mmgrad(image, row[None]) for row in ids]


@pytest.mark.parametrize("layer", ["tower", "tower.stem", "fusion", ["tower.stem", "fusion"], ["tower.stem", "tower"]])
@pytest.mark.parametrize("weighting", ["gradcam", "layercam"])
def test_equals_one_by_one(zoo, model, layer, weighting):
    image, ids = zoo.pictures(1), zoo.ids(5)
    mmgrad = MMGrad(model, layer, score, weighting, words=True)
    with zoo.leaves_alone(model):
        together = mmgrad.texts(image, ids, **stages(zoo, model))
    assert len(together) == 5
    for index, single in enumerate(one_by_one(mmgrad, image, ids)):
        torch.testing.assert_close(together.maps[index], single.maps[0], rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(together.score[index], single.score[0])
        for ours, theirs in zip(together.words[index], single.words[0], strict=True):
            assert ours.value == pytest.approx(theirs.value, rel=1e-4, abs=1e-7)
    assert not torch.equal(together.maps[0], together.maps[1])
    assert together.input_size == (16, 24)


def test_the_picture_is_encoded_once(zoo, model):
    sizes = []
    model.tower.stem.register_forward_hook(lambda module, args, output: sizes.append(len(output)))
    MMGrad(model, "tower", score).texts(zoo.pictures(1), zoo.ids(5), **stages(zoo, model))
    assert sizes == [1]


def test_inputs_by_name_and_in_order(zoo, model):
    image, ids = zoo.pictures(1), zoo.ids(3)
    mmgrad, plain = MMGrad(model, "tower", score), stages(zoo, model)
    expected = mmgrad.texts(image, ids, **plain).maps
    assert torch.equal(mmgrad.texts((image,), (ids,), **plain).maps, expected)
    assert torch.equal(mmgrad.texts({"x": image}, {"ids": ids}, **plain).maps, expected)


@pytest.fixture
def staged(zoo):
    class Staged(zoo.TwoInput):
        target_layer = "tower.body"
        default_score = "shift"
        encoded: ClassVar[list[int]] = []  # how many texts, call by call

        def encode_image(self, pixels):
            return self.tower(pixels)

        def encode_text(self, ids):
            self.encoded.append(len(ids))
            return self.words(ids)

        def compose(self, grid, text):
            shift = super().compose(grid, text)
            return zoo.Composed(grid.mean((2, 3)) + shift, shift)

        def forward(self, image, ids):
            return self.compose(self.encode_image(image), self.encode_text(ids))

    return zoo.build(Staged)


def test_a_composer_in_stages_needs_no_functions(zoo, staged):
    image, ids = zoo.pictures(1), zoo.ids(3)
    found = MMGrad(staged).texts(image, ids)
    torch.testing.assert_close(found.maps, MMGrad(staged)(image.expand(3, -1, -1, -1), ids).maps)


def test_texts_encoded_in_advance(zoo, staged):
    pictures, ids = zoo.pictures(2), zoo.ids(3)
    mmgrad = MMGrad(staged)
    staged.words.train()
    with zoo.leaves_alone(staged), torch.inference_mode():
        encoded = mmgrad.encode_texts(ids)
    assert (len(encoded), encoded.texts, staged.encoded) == (3, None, [3])
    assert not encoded.vectors.requires_grad
    found = [mmgrad.texts(pictures[i : i + 1], encoded).maps for i in range(2)]
    assert staged.encoded == [3]
    assert torch.equal(found[0], mmgrad.texts(pictures[:1], ids).maps)
    assert torch.equal(found[1], mmgrad.texts(pictures[1:], ids).maps)
    assert not torch.equal(found[0], found[1])


def test_what_cannot_be_encoded_in_advance(zoo, model, staged):
    image, ids = zoo.pictures(1), zoo.ids(3)
    with pytest.raises(InputError, match="encode_texts: TwoInput has no encode_text; encode the texts yourself"):
        MMGrad(model).encode_texts(ids)
    with pytest.raises(InputError, match=r"not batches of \[\]"):
        MMGrad(staged).encode_texts([])
    with pytest.raises(InputError, match="Staged has no processor with encode_images and encode_texts"):
        MMGrad(staged).encode_texts("make it red")
    encoded = MMGrad(staged).encode_texts(ids)
    with pytest.raises(InputError, match="for compose= pass the vectors themselves"):
        MMGrad(staged).texts(image, encoded, **stages(zoo, staged))
    with pytest.raises(InputError, match="for words= the texts"):
        MMGrad(staged, words=True).texts(image, encoded)


def test_without_gradients_of_the_callers(zoo, model):
    image, ids = zoo.pictures(1), zoo.ids(3)
    mmgrad, plain = MMGrad(model, "tower.stem", score), stages(zoo, model)
    expected = mmgrad.texts(image, ids, **plain).maps
    with torch.inference_mode():
        assert torch.equal(mmgrad.texts(image.clone(), ids, **plain).maps, expected)


def test_what_cannot_be_asked(zoo, model):
    image, ids = zoo.pictures(1), zoo.ids(3)
    mmgrad, plain = MMGrad(model, "tower", score), stages(zoo, model)
    with pytest.raises(InputError, match="texts: TwoInput does not say how to encode an image by itself"):
        mmgrad.texts(image, ids)
    with pytest.raises(InputError, match="pass both encode="):
        mmgrad.texts(image, ids, encode=model.tower)
    with pytest.raises(InputError, match="texts: one image is explained for many texts, not a batch of 2"):
        mmgrad.texts(zoo.pictures(2), ids, **plain)
    with pytest.raises(InputError, match=r"not batches of \[\]"):
        mmgrad.texts(image, [], **plain)
    with pytest.raises(InputError, match="TwoInput has no processor with encode_images and encode_texts"):
        mmgrad.texts(image, ["make it red"], **plain)
    with pytest.raises(InputError, match="texts: no target layer is known"):
        MMGrad(model, None, score).texts(image, ids, **plain)
    with pytest.raises(InputError, match=r"encode gave features of shape \(2, 8, 4, 6\), whose batch is not 1"):
        mmgrad.texts(image, ids, encode=lambda x: model.tower(x).repeat(2, 1, 1, 1), compose=plain["compose"])
    words_alone = lambda grid, ids: zoo.Composed(model.words(ids))  # noqa: E731
    for layer in ("tower", ["tower", "words.mix"]):
        with pytest.raises(GradientError, match="the score does not depend on layer 'tower'"):
            MMGrad(model, layer, score, "gradcam", words=True).texts(
                image, ids, encode=model.tower, compose=words_alone
            )
