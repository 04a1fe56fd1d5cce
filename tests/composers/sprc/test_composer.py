"""BLIP-2 by its own Q-Former: what a text changes, its maps, its scores, and other models."""

import importlib.util
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from mmgrad_explain import MMGrad, load_composer
from mmgrad_explain.attention.scores.embedding import Similarity
from mmgrad_explain.composers import SprcComposer, embed_images, embed_query
from mmgrad_explain.errors import InputError
from mmgrad_explain.gallery import Gallery

_FILE = Path(__file__).parents[1] / "huggingface" / "small_models.py"
_SPEC = importlib.util.spec_from_file_location("small_models", _FILE)
small_models = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small_models)


@pytest.fixture(scope="module")
def composer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blip2")
    small_models.save_model("blip-2", folder)
    return SprcComposer.from_tower(folder)


@pytest.fixture
def images():
    return [Image.effect_noise((40, 32), 90).convert("RGB"), Image.linear_gradient("L").convert("RGB")]


def test_an_empty_text_changes_nothing_and_stages_are_the_whole(composer, images):
    tensors = composer.preprocess(images, ["red", ""], images[::-1]).tensors
    with torch.no_grad():
        output = composer(**tensors)
        assert torch.equal(output.shift[1], torch.zeros_like(output.shift[1]))
        assert output.shift[0].abs().max() > 1e-3
        torch.testing.assert_close(composer.embed(composer.encode_image(tensors["pixel_values"])), output.alone)
    assert output.target.shape == (2, 3, 16)
    torch.testing.assert_close(output.target, output.alone.flip(0))


def test_a_batch_is_its_samples(composer, images):
    whole = composer.preprocess(images, ["red", "make it blue"]).tensors
    with torch.no_grad():
        both = composer(**whole)
        alone = composer(**composer.preprocess(images[:1], ["red"]).tensors)
    torch.testing.assert_close(both.embedding[:1], alone.embedding, rtol=1e-4, atol=1e-5)


def test_the_score_takes_the_nearest_vector(composer, images):
    tensors = composer.preprocess(images, ["red", "blue"], images[::-1]).tensors
    output = composer(**tensors)
    assert Similarity().fits(output)
    expected = (output.embedding[:, None] * output.target).sum(-1).amax(1)
    torch.testing.assert_close(Similarity()(output), expected)
    gallery, query = embed_images(composer, images), embed_query(composer, images[0], "red")[0]
    assert gallery.shape == (2, 3, 16)
    torch.testing.assert_close(
        query, F.normalize(composer(**composer.preprocess(images[:1], ["red"]).tensors).embedding[0].detach(), dim=-1)
    )


def test_a_learned_prompt_needs_positions_of_its_own(composer, images):
    tensors = composer.preprocess(images, ["red", "make it blue"]).tensors
    output = composer(**tensors)
    short = [tensors[name][:, :5] for name in ("input_ids", "attention_mask")]
    assert composer.learned_prompt(output, *short).query.shape == (2, 16)
    longer = torch.ones(2, 6, dtype=torch.long)
    with pytest.raises(InputError, match=r"learned prompt and a text of 6 tokens are 9, and .* has 8 positions: use"):
        composer.learned_prompt(output, longer, longer)


def test_the_map_is_plain_grad_cam_at_the_last_norm(composer, images):
    tensors = composer.preprocess(images[:1], ["red"]).tensors
    kept = []
    layer = composer.get_submodule(composer.target_layer)
    hook = layer.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    shift = composer(**tensors).shift
    hook.remove()
    (gradient,) = torch.autograd.grad((shift * shift.detach()).sum(), kept[0])
    weights = gradient[:, 1:].mean(1, keepdim=True)
    expected = (weights * kept[0][:, 1:]).sum(-1).reshape(1, 4, 4)
    found = MMGrad(composer, score="shift", method="gradcam")(**tensors).maps
    expected = expected.relu().flatten(1)
    assert expected.max() > 0
    torch.testing.assert_close(F.normalize(found.flatten(1)), F.normalize(expected), rtol=1e-3, atol=1e-4)


def test_a_folder_is_read_again_and_other_models_are_refused(composer, images, tmp_path):
    with torch.no_grad():
        composer.logit_scale.fill_(3)
    composer.save_pretrained(tmp_path / "model")
    again = load_composer(tmp_path / "model")
    assert again.logit_scale.item() == 3
    tensors = composer.preprocess(images, ["red", "blue"]).tensors
    with torch.no_grad():
        assert torch.equal(again(**tensors).embedding, composer(**tensors).embedding)
    small_models.save_model("clip", tmp_path / "clip")
    with pytest.raises(InputError, match=r"has no Q-Former of BLIP-2: take a Blip2ForImageTextRetrieval"):
        SprcComposer.from_tower(tmp_path / "clip")


def test_a_gallery_of_images_of_several_vectors(composer, images, tmp_path):
    (tmp_path / "photos").mkdir()
    for number, image in enumerate([*images, images[0].rotate(90)]):
        image.save(tmp_path / "photos" / f"{number}.png")
    composer.save_pretrained(tmp_path / "model")
    with Gallery(tmp_path / "mine.db", tmp_path / "model", create=True) as gallery:
        gallery.index([tmp_path / "photos"])
        found = gallery.retrieve(tmp_path / "photos" / "0.png", "make it red", k=2)
        maps = gallery.explain(found, score="similarity")
    query = embed_query(composer, images[0], "make it red")[0]
    expected = (embed_images(composer, [images[1], images[0].rotate(90)]) @ query).amax(1)
    assert [hit.score for hit in found.hits] == pytest.approx(sorted(expected.tolist(), reverse=True), abs=1e-5)
    assert maps.found is found
