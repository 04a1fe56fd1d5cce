"""CLIP with a combiner: CLIP's own embeddings, the way back to the pixels, files."""

import json
import shutil

import pytest
import torch
from transformers import CLIPModel, PretrainedConfig

from mmgrad_explain.attention import MMGrad, candidate_layers
from mmgrad_explain.composers.clip.composer import ClipComposer, _quiet, _run, is_clip
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.errors import InputError


def test_without_the_combiner_it_is_clip(composer, inputs):
    output = composer(**inputs)
    expected = composer.clip(
        input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], pixel_values=inputs["pixel_values"]
    )
    torch.testing.assert_close(output.embedding - output.shift, expected.image_embeds)
    sentence, worded = composer.encode_text(inputs["input_ids"], inputs["attention_mask"])
    torch.testing.assert_close(sentence, expected.text_embeds)
    assert worded.all()


def test_the_combiner_is_the_formula(composer, inputs):
    """CLIP4Cir's: an MLP, and a gated mean of picture and text."""
    image, (text, _) = (
        composer.embed(composer.encode_image(inputs["pixel_values"])),
        composer.encode_text(inputs["input_ids"], inputs["attention_mask"]),
    )
    both = torch.cat([composer.combiner.image(image), composer.combiner.text(text)], -1)
    gate = composer.combiner.gate(both)
    expected = composer.combiner.mix(both) + gate * text + (1 - gate) * image
    torch.testing.assert_close(composer(**inputs).embedding, expected)


def test_an_empty_text_changes_nothing(composer, picture):
    output = composer(**composer.preprocess([picture] * 2, ["", "make it red"]).tensors)
    assert output.shift[0].abs().max() == 0
    assert output.shift[1].abs().max() > 0
    assert output.target is None


def test_the_target_is_seen_alone_and_composed(composer, inputs):
    output = composer(**inputs)
    flipped = composer(inputs["target_pixel_values"], inputs["input_ids"], inputs["attention_mask"])
    torch.testing.assert_close(output.target_shift, flipped.shift)
    torch.testing.assert_close(output.target_composed, flipped.embedding)
    torch.testing.assert_close(output.target, flipped.embedding - flipped.shift)


def test_the_layer_is_the_one_that_is_found(composer, inputs):
    """The last one before text is mixed in, whose patches get a gradient."""
    named = composer.target_layer
    composer.target_layer = None
    (chosen,) = [one for one in candidate_layers(composer, **inputs) if one.chosen]
    assert chosen.name == named == "clip.vision_model.encoder.layers.1.layer_norm1"
    assert chosen.grid == (4, 4)


def test_maps_depend_on_the_text(composer, inputs):
    maps = MMGrad(composer, method="gradcam")(**inputs).layers[composer.target_layer][0]
    assert maps.shape == (2, 4, 4)
    assert not torch.allclose(maps[0], maps[1])


def test_the_features_lie_on_their_grid(composer, inputs):
    features = composer.encode_image(inputs["pixel_values"])
    grid = composer.feature_grid(features)
    assert grid.shape == (2, composer.feature_width, 4, 4)
    torch.testing.assert_close(grid[:, :, 1, 2], features[:, 1 + 4 + 2])


def test_an_embedding_stands_for_the_features(composer, inputs):
    texts = composer.encode_text(inputs["input_ids"], inputs["attention_mask"])
    features = composer.encode_image(inputs["pixel_values"])
    embedding = composer.embed(features)
    assert composer.embed(embedding) is embedding
    torch.testing.assert_close(composer.shift(embedding, texts), composer.shift(features, texts))
    for own, other in zip(composer.compose(embedding, texts)[:2], composer.compose(features, texts)[:2], strict=True):
        torch.testing.assert_close(own, other)


def test_saving(composer, inputs, tmp_path):
    composer.save_pretrained(tmp_path / "model")
    assert len({path.stat().st_mode for path in (tmp_path / "model").iterdir()}) == 1  # whoever reads one reads all
    read = load_composer(tmp_path / "model")
    assert not read.training
    assert read.name == "model"
    torch.testing.assert_close(read(**inputs).embedding, composer(**inputs).embedding)
    assert read.processor.encode_texts(["make it red"])[0].tolist() == [[1, 3, 5, 6, 2]]
    assert not is_clip(str(tmp_path / "model"))


def test_folders_that_are_none(clip_folder, composer, tmp_path):
    with pytest.raises(InputError, match="holds a 'clip' model, not a 'mmgrad_clip_composer' one"):
        ClipComposer.from_pretrained(clip_folder)
    composer.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "combiner": {"embed_dim": 16, "width": 9}}))
    with pytest.raises(InputError, match=r"do not fit its config.json"):
        ClipComposer.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match="is damaged"):
        ClipComposer.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no model.safetensors"):
        ClipComposer.from_pretrained(tmp_path)


def unreachable(name):
    raise OSError(name)


def test_what_cannot_be_clip(clip_folder, tmp_path, monkeypatch):
    assert is_clip(str(clip_folder))
    with monkeypatch.context() as patch:
        patch.setattr(PretrainedConfig, "get_config_dict", unreachable)
        assert not is_clip("someone/clip")
    with pytest.raises(InputError, match="cannot be loaded as CLIP"):
        ClipComposer.from_clip(tmp_path)
    pickled = tmp_path / "pickled"
    shutil.copytree(clip_folder, pickled)
    weights = CLIPModel.from_pretrained(clip_folder).state_dict()
    (pickled / "model.safetensors").unlink()
    torch.save(weights, pickled / "pytorch_model.bin")
    with pytest.raises(InputError, match="cannot be loaded as CLIP"):
        ClipComposer.from_clip(pickled)
    with pytest.raises(InputError, match="fit must be 'letterbox' or 'crop', not 'squeeze'"):
        ClipComposer.from_clip(clip_folder, fit="squeeze")


def test_a_hub_id_is_told_by_its_config(monkeypatch):
    monkeypatch.setattr(PretrainedConfig, "get_config_dict", lambda name: ({"model_type": "clip"}, {}))
    assert is_clip("someone/clip")


# ------------------------------------------------------------------------------------------------------ transformers 4


def test_blocks_of_transformers_4():
    """They want a second mask and give a tuple."""

    class Block(torch.nn.Module):
        def forward(self, hidden_states, attention_mask, causal_attention_mask):
            assert attention_mask is causal_attention_mask is None
            return (hidden_states + 1,)

    assert _run(Block(), torch.zeros(1)).item() == 1


def test_bars_are_put_back(monkeypatch):
    from transformers.utils import logging

    logging.enable_progress_bar()
    with _quiet():
        assert not logging.is_progress_bar_enabled()
    assert logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    with _quiet():
        assert not logging.is_progress_bar_enabled()
    assert not logging.is_progress_bar_enabled()
    logging.enable_progress_bar()
