"""Published weights compute what their papers' networks compute, and stay the same in a folder."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from mmgrad_explain import explain
from mmgrad_explain.composers import FusionComposer, fingerprint, load_composer
from mmgrad_explain.composers.published import PUBLISHED, open_published
from mmgrad_explain.errors import InputError

TEXTS = ["make it red", "is darker and has no sleeves"]


@pytest.fixture
def images():
    return [Image.effect_noise((40, 32), 90).convert("RGB"), Image.linear_gradient("L").convert("RGB")]


def run(composer, images):
    """What a composer gives for the images with the texts, and the tensors that it read."""
    tensors = composer.preprocess(images, TEXTS, images[::-1]).tensors
    with torch.no_grad():
        return composer(**tensors), tensors


def same(found, expected):
    torch.testing.assert_close(F.normalize(found, dim=-1), F.normalize(expected, dim=-1), rtol=1e-4, atol=1e-5)


def test_clip4cir(clip_file, forwards, images, tmp_path):
    file, clip = clip_file
    weights = forwards.combiner_weights()
    torch.save({"epoch": 9, "Combiner": weights}, tmp_path / "combiner.pt")
    composer = open_published("clip4cir", tmp_path / "combiner.pt", tower=file)
    output, tensors = run(composer, images)
    pixels = tensors["pixel_values"]
    expected = forwards.combine(
        weights, forwards.clip_image(clip, pixels), forwards.clip_text(clip, tensors["input_ids"])
    )
    same(output.embedding, expected)
    same(output.target, forwards.clip_image(clip, pixels.flip(0)))
    unit = forwards.combine(
        weights, *(F.normalize(one, dim=-1) for one in (
            forwards.clip_image(clip, pixels), forwards.clip_text(clip, tensors["input_ids"])))
    )  # fmt: skip
    assert (F.normalize(output.embedding, dim=-1) - unit).abs().max() > 0.01  # these are not what the paper's reads
    composer.save_pretrained(tmp_path / "model")
    again = load_composer(tmp_path / "model")
    assert torch.equal(run(again, images)[0].embedding, output.embedding)
    assert explain(images[0], TEXTS[0], model=again).maps[0].max() > 0


def test_long_images_are_padded_as_theirs_and_maps_come_back_to_the_image(clip_file, forwards, tmp_path):
    file, clip = clip_file
    weights = forwards.combiner_weights()
    torch.save({"Combiner": weights}, tmp_path / "combiner.pt")
    composer = open_published("clip4cir", tmp_path / "combiner.pt", tower=file)
    marked = np.zeros((40, 120, 3), np.uint8)
    marked[10:30, 40:60] = 255
    wide, tall = Image.fromarray(marked), Image.fromarray(marked).rotate(90, expand=True)
    pixels = torch.stack([forwards.target_pad(one, 32) for one in (wide, tall)])
    output, tensors = run(composer, [wide, tall])
    torch.testing.assert_close(tensors["pixel_values"], pixels)
    same(output.target, forwards.clip_image(clip, pixels.flip(0)))
    composer.save_pretrained(tmp_path / "model")
    again = load_composer(tmp_path / "model")
    assert fingerprint(again) == fingerprint(composer)
    inputs = again.preprocess([wide, tall], TEXTS)
    assert torch.equal(inputs.tensors["pixel_values"], tensors["pixel_values"])
    for image, placement, values in zip((wide, tall), inputs.placements, pixels, strict=True):
        own, found = np.asarray(image)[..., 0] / 255, placement.to_original((values[0] > 0.5).float().numpy())
        seen = placement.seen()
        assert seen.mean() == pytest.approx(0.8, abs=0.02)  # the ends are cut off even so
        assert not found[~seen].any()
        assert ((found > 0.5) == own)[seen].mean() > 0.97
    drawn = explain(wide, TEXTS[0], model=again).heatmap(0)
    assert drawn.shape == (40, 120)
    assert drawn[:, :5].max() == 0 < drawn.max()
    plain = FusionComposer(composer.tower, "combiner", composer.fusion)
    assert (run(plain, [wide, tall])[1]["pixel_values"] - pixels).abs().max() > 1
    assert fingerprint(plain) != fingerprint(composer)


def test_who_pads(clip_file, forwards, tmp_path):
    torch.save({"Phi": forwards.phi_weights()}, tmp_path / "phi.pt")
    found = {
        name: open_published(name, tmp_path / "phi.pt", tower=clip_file[0]).pad_ratio for name in ("searle", "lincir")
    }
    assert found == {"searle": 1.25, "lincir": None}


@pytest.mark.parametrize("name", ["searle", "lincir"])
def test_searle_and_lincir(name, clip_file, forwards, images, tmp_path):
    file, clip = clip_file
    weights = forwards.phi_weights()
    torch.save({"Phi": weights}, tmp_path / "phi.pt")
    composer = open_published(name, tmp_path / "phi.pt", tower=file)
    output, tensors = run(composer, images)
    ids = composer.processor.inner.encode_texts([f"a photo of $ that {text}" for text in TEXTS])[0]
    image = forwards.clip_image(clip, tensors["pixel_values"])
    place = (ids[0] == 259).nonzero().item()  # the token of $
    same(output.embedding, forwards.clip_text(clip, ids, forwards.phi(weights, image), place))
    same(output.target, image.flip(0))


def test_pic2word_holds_its_clip(clip_file, forwards, images, tmp_path):
    _, clip = clip_file
    weights = forwards.im2text_weights()
    held = {
        "state_dict": {f"module.{name}": value for name, value in clip.items()},
        "state_dict_img2text": {f"module.{name}": value for name, value in weights.items()},
    }
    torch.save(held, tmp_path / "pic2word.pt")
    composer = open_published("pic2word", tmp_path / "pic2word.pt")
    output, tensors = run(composer, images)
    ids = composer.processor.inner.encode_texts([f"a photo of * , {text}" for text in TEXTS])[0]
    word = forwards.im2text(weights, forwards.clip_image(clip, tensors["pixel_values"]))
    same(output.embedding, forwards.clip_text(clip, ids, word, 4))


def test_what_does_not_fit_is_said(clip_file, forwards, tmp_path):
    file, _ = clip_file
    torch.save({"Combiner": forwards.combiner_weights()}, tmp_path / "combiner.pt")
    torch.save({"Phi": forwards.phi_weights()}, tmp_path / "phi.pt")
    with pytest.raises(InputError, match=r"published: there is no 'clip4cur'; did you mean 'clip4cir'"):
        open_published("clip4cur", file)
    with pytest.raises(InputError, match=r"tower: name the CLIP that .*combiner.pt was trained on"):
        open_published("clip4cir", tmp_path / "combiner.pt")
    with pytest.raises(InputError, match=r"phi.pt holds no weights under Combiner, state_dict: it has 'Phi'"):
        open_published("clip4cir", tmp_path / "phi.pt", tower=file)
    wide = {
        name: torch.randn(30, 30) if value.ndim > 1 else torch.randn(30)
        for name, value in forwards.phi_weights().items()
    }
    torch.save({"Phi": wide}, tmp_path / "wide.pt")
    with pytest.raises(
        InputError, match=r"wide.pt reads embeddings of 30 numbers and writes words of 30, and cirr_clip has"
    ):
        open_published("searle", tmp_path / "wide.pt", tower=file)
    with pytest.raises(InputError, match=r"prompt: clip4cir has none: it reads texts as they are"):
        open_published("clip4cir", tmp_path / "combiner.pt", tower=file, prompt="a $ {text}")
    with pytest.raises(InputError, match=r"'CLIP' is a fine-tuned CLIP, which is given as the tower"):
        open_published("clip4cir", file, tower=tmp_path / "combiner.pt")
    with pytest.raises(InputError, match=r"combiner.pt holds no weights under CLIP, .* 'Combiner' is the combiner of"):
        open_published("clip4cir", tmp_path / "combiner.pt", tower=tmp_path / "combiner.pt")
    assert {"clip4cir", "searle", "lincir", "pic2word"} <= set(PUBLISHED)
