"""Folders as the hub has them: the processor's geometry, texts, weights, the command line, and what can be wrong."""

import json

import pytest
import torch
import transformers
from PIL import Image
from transformers import (
    CLIPModel,
)
from transformers.utils import logging

from mmgrad_explain.cli.main import main
from mmgrad_explain.composers.clip.composer import ClipComposer
from mmgrad_explain.composers.dual_encoder import unit_features
from mmgrad_explain.composers.huggingface import loading
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.errors import InputError

CROP = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}


def change(folder, file, **values):
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


# -------------------------------------------------------------------------------------------------------------- folders


def test_the_weights_are_those_of_the_folder(clip_folder, folder):
    composer = load_composer(folder)
    assert (composer.name, composer.training) == ("model", False)
    weights = CLIPModel.from_pretrained(clip_folder).state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in composer.model.state_dict().items())
    (folder / "model.safetensors").unlink()
    torch.save({name: value.half() for name, value in weights.items()}, folder / "pytorch_model.bin")
    composer = load_composer(folder)
    assert composer.model.dtype == torch.float32
    torch.testing.assert_close(composer.model.logit_scale, weights["logit_scale"].half().float())


class Attack:
    def __reduce__(self):
        return print, ("ran",)


def test_weights_that_cannot_be_used(folder, capsys):
    change(folder, "config.json", projection_dim=9)
    with pytest.raises(InputError, match="cannot be loaded as CLIP: "):
        load_composer(folder)
    change(folder, "config.json", projection_dim=8)
    (folder / "model.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match=r"the safetensors file in .* is damaged"):
        load_composer(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no weights: expected model\.safetensors"):
        load_composer(folder)
    torch.save({"w": Attack()}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="code is never run"):
        load_composer(folder)
    torch.save({"logit_scale": torch.ones(())}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"do not fit its config\.json: text_model\.\S+ and \d+ more missing"):
        load_composer(folder)
    assert capsys.readouterr() == ("", "")


def test_one_weight_is_missing(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["logit_scale"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"do not fit its config\.json: logit_scale missing"):
        load_composer(folder)


def test_files_that_are_missing_or_damaged(folder):
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=r"the tokenizer in .* cannot be read"):
        load_composer(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"has no tokenizer: it needs one of tokenizer\.json, vocab\.json"):
        load_composer(folder)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match=r"has no image processor: it needs preprocessor_config\.json"):
        load_composer(folder)


@pytest.mark.parametrize("end", [None, [7], -1, 3, 10**25])
def test_an_end_token_that_no_text_has(folder, end):
    """Every text would be read at its first token, and all of them would mean the same."""
    config = json.loads((folder / "config.json").read_text())
    change(folder, "config.json", text_config={**config["text_config"], "eos_token_id": end})
    with pytest.raises(InputError, match=r"eos_token_id is .*'a' is \[1, \d+, 7\]\): set it to the tokenizer's end"):
        load_composer(folder)
    with pytest.raises(InputError, match="set it to the tokenizer's end token"):
        ClipComposer.from_clip(folder)


def test_a_transformers_without_the_class(folder, monkeypatch):

    monkeypatch.setattr(transformers, "CLIPModel", None)
    with pytest.raises(InputError, match=r"CLIPModel is not in transformers \d.*: get a newer one"):
        load_composer(folder)


def test_features_of_transformers_4():
    torch.testing.assert_close(unit_features(torch.full((1, 4), 3.0)), torch.full((1, 4), 0.5))


def test_bars_are_put_back():
    logging.disable_progress_bar()
    with loading.silent():
        pass
    assert not logging.is_progress_bar_enabled()
    logging.enable_progress_bar()
    with loading.silent():
        assert not logging.is_progress_bar_enabled()
    assert logging.is_progress_bar_enabled()


# --------------------------------------------------------------------------------------------------------- command line


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")
def test_overlay_and_layers_take_such_a_folder(clip_folder, picture_file, tmp_path, capsys):
    out = tmp_path / "where.png"
    assert (
        main(["overlay", str(picture_file), "make it red", "--model", str(clip_folder), "--out", str(out), "--json"])
        == 0
    )
    (result,) = json.loads(capsys.readouterr().out)
    assert result["score_name"] == "image-text"
    assert (result["method"], result["layers"], result["grid"]) == (
        "relevancy",
        ["model.vision_model.encoder.layers.1"],
        [4, 4],
    )
    assert Image.open(out).width > 60
    assert main(["layers", "--model", str(clip_folder)]) == 0
    assert "*  model.vision_model.encoder.layers.1.layer_norm1" in capsys.readouterr().out


def test_the_command_says_what_is_wrong(folder, picture_file, capsys):
    change(folder, "config.json", model_type="bert")
    assert main(["overlay", str(picture_file), "make it red", "--model", str(folder)]) == 2
    assert "supported types are" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------------- saved


def test_a_saved_model_is_the_same_and_readable(folder, tmp_path, picture, capfd):
    composer = load_composer(folder)
    composer.save_pretrained(tmp_path / "again")
    assert capfd.readouterr() == ("", "")
    inputs = composer.preprocess([picture], ["make it red"]).tensors
    again = load_composer(tmp_path / "again")
    assert all(
        torch.equal(value, inputs[name]) for name, value in again.preprocess([picture], ["make it red"]).tensors.items()
    )
    torch.testing.assert_close(again(**inputs).embedding, composer(**inputs).embedding)
    assert len({(tmp_path / "again" / one).stat().st_mode for one in ("config.json", "model.safetensors")}) == 1
