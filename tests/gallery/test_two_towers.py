"""A gallery of a model with two towers, against the model of transformers alone."""

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.nn import functional
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    PreTrainedTokenizerFast,
    Siglip2Config,
    Siglip2ImageProcessor,
    Siglip2Model,
)

from mmgrad_explain import load_composer
from mmgrad_explain.composers.embedding import embed_images, identify
from mmgrad_explain.errors import InputError
from mmgrad_explain.gallery.gallery import Gallery

WORDS = ["<pad>", "<unk>", "<bos>", "<eos>", "make", "it", "red", "larger"]
SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def tokenizer():
    words = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 3)])
    special = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<bos>", "eos_token": "<eos>"}
    return PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=8, **special)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    torch.manual_seed(0)
    text = {**SIZES, "vocab_size": len(WORDS), "max_position_embeddings": 8, "eos_token_id": 3, "pad_token_id": 0}
    config = CLIPConfig(text_config=text, vision_config={**SIZES, "image_size": 32, "patch_size": 8}, projection_dim=12)
    folder = tmp_path_factory.mktemp("models") / "clip"
    CLIPModel(config).eval().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def naflex(tmp_path_factory):
    torch.manual_seed(0)
    text = {**SIZES, "vocab_size": len(WORDS), "max_position_embeddings": 8, "projection_size": 16}
    config = Siglip2Config(text_config=text, vision_config={**SIZES, "patch_size": 8, "num_patches": 16})
    folder = tmp_path_factory.mktemp("models") / "naflex"
    Siglip2Model(config).eval().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    Siglip2ImageProcessor(patch_size=8, max_num_patches=16).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    for index in range(6):
        shape = (40, 64, 3) if index % 2 else (64, 40, 3)
        Image.fromarray(np.random.default_rng(index).integers(0, 255, shape, dtype=np.uint8)).save(
            root / f"{index}.png"
        )
    return root


def by_hand(folder, pictures):
    """Unit embeddings of the pictures, and of the first with a text added, from CLIP alone."""
    model, prepare = CLIPModel.from_pretrained(folder).eval(), CLIPImageProcessor.from_pretrained(folder)
    images = [Image.open(pictures / f"{index}.png") for index in range(6)]
    words = tokenizer()(["make it red"], return_tensors="pt")
    with torch.no_grad():
        output = model(
            pixel_values=prepare(images=images, return_tensors="pt")["pixel_values"],
            input_ids=words["input_ids"],
            attention_mask=words["attention_mask"],
        )
    own = functional.normalize(output.image_embeds, dim=-1)
    return own, functional.normalize(own[0] + functional.normalize(output.text_embeds[0], dim=-1), dim=-1)


def test_two_towers(clip, pictures, tmp_path):
    own, query = by_hand(clip, pictures)
    with Gallery(tmp_path / "mine.db", clip, create=True) as gallery:
        assert gallery.index([pictures]).added == 6
        found = gallery.retrieve(pictures / "0.png", "make it red", k=6, keep_reference=True)
        expected = (own @ query).sort(descending=True)
        assert [hit.path for hit in found.hits] == [str(pictures / f"{index}.png") for index in expected.indices]
        torch.testing.assert_close(torch.tensor([hit.score for hit in found.hits]), expected.values, atol=1e-5, rtol=0)
        assert gallery.explain(found).heatmap(1).shape == Image.open(found.hits[0].path).size[::-1]


def test_images_that_keep_their_shapes(naflex, pictures, tmp_path):
    composer = load_composer(naflex)
    images = [Image.open(pictures / f"{index}.png") for index in range(3)]
    together = embed_images(composer, images)
    for row, image in zip(together, images, strict=True):
        torch.testing.assert_close(row, embed_images(composer, [image])[0])
    with Gallery(tmp_path / "mine.db", composer, create=True) as gallery:
        assert gallery.index([pictures]).added == 6
        assert len(gallery.retrieve(pictures / "0.png", "make it red", k=3).hits) == 3


def test_a_model_without_an_embedding_of_its_own(clip):
    composer = load_composer(clip)
    composer.compose = lambda *_: torch.zeros(1, 3)
    composer.forward = lambda **_: torch.zeros(1, 3)
    with pytest.raises(InputError, match="model 'clip' gives no embedding of an image alone"):
        identify(composer)
