"""Folders of open_clip: which model is taken, what is fetched, and what cannot be used."""

import json
import shutil
import sys

import pytest
import torch

from mmgrad_explain import explain
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.composers.openclip.composer import OpenClipComposer
from mmgrad_explain.composers.openclip.folders import WEIGHT_FILES
from mmgrad_explain.errors import InputError

TEXT = "make it red"


@pytest.mark.parametrize("form", ["open_clip_pytorch_model.bin", "open_clip_pytorch_model.safetensors"])
def test_other_weight_files(form, saved, picture, tmp_path):
    folder, _, composer = saved("class token")
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "open_clip_model.safetensors").rename(tmp_path / form)
    if form.endswith(".bin"):
        torch.save(dict(composer.model.state_dict()), tmp_path / form)
    expected = explain(picture, TEXT, model=composer).maps
    torch.testing.assert_close(explain(picture, TEXT, model=tmp_path).maps, expected)
    (tmp_path / form).unlink()
    with pytest.raises(
        InputError, match=r"no weights of open_clip: expected open_clip_model.safetensors \(or open_clip"
    ):
        load_composer(tmp_path)


class Harmful:
    def __reduce__(self):
        return print, ("never",)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (
            lambda folder, config: config["model_cfg"].update(embed_dim=8),
            "cannot be loaded as a model of open_clip: Err",
        ),
        (lambda folder, config: config["model_cfg"].update(colour="red"), "unexpected keyword argument 'colour'"),
        (
            lambda folder, config: config["model_cfg"]["vision_cfg"].update(timm_model_name="hf-hub:a/b"),
            r"must not load weights from elsewhere \(hf-hub:a/b\)",
        ),
        (lambda folder, config: config.pop("model_cfg"), "describes no model: it has no model_cfg"),
        (
            lambda folder, config: config["model_cfg"]["text_cfg"].update(tokenizer_kwargs={"colour": 1}),
            "the tokenizer of .* cannot be read: .*colour",
        ),
        (
            lambda folder, config: (folder / "open_clip_model.safetensors").write_bytes(b"x" * 20),
            "cannot be loaded as a model of open_clip",
        ),
        (
            lambda folder, config: (
                (folder / "open_clip_model.safetensors").unlink(),
                torch.save({"a": Harmful()}, folder / "open_clip_pytorch_model.bin"),
            ),
            "cannot be loaded as a model of open_clip: Weights only load failed",
        ),
    ],
)
def test_folders_that_cannot_be_used(break_it, message, saved, tmp_path):
    shutil.copytree(saved("class token")[0], tmp_path, dirs_exist_ok=True)
    path = tmp_path / "open_clip_config.json"
    config = json.loads(path.read_text())
    break_it(tmp_path, config)
    path.write_text(json.dumps(config))
    with pytest.raises(InputError, match=message):
        load_composer(tmp_path)


def test_a_damaged_config(tmp_path):
    (tmp_path / "open_clip_config.json").write_text("{")
    with pytest.raises(InputError, match=r"open_clip_config.json cannot be read"):
        load_composer(tmp_path)


def test_without_open_clip(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(InputError, match=r'pip install "mmgrad-explain\[openclip\]"'):
        load_composer(saved("class token")[0])


def test_which_model_of_a_folder_is_taken(saved, tmp_path, tiny_folder):
    """A transformers model beside it is taken, unless the name begins as open_clip's users write it."""
    shutil.copytree(tiny_folder, tmp_path / "both")
    shutil.copytree(saved("class token")[0], tmp_path / "both", dirs_exist_ok=True)
    assert not isinstance(load_composer(tmp_path / "both"), OpenClipComposer)
    named = load_composer(f"local-dir:{tmp_path / 'both'}")
    assert isinstance(named, OpenClipComposer)
    assert named.name == "both"
    (tmp_path / "both" / "config.json").write_text(json.dumps({"architecture": "vit"}))  # as timm writes it
    assert isinstance(load_composer(tmp_path / "both"), OpenClipComposer)


@pytest.mark.parametrize("file", WEIGHT_FILES[::2])
def test_hub_ids(file, saved, tmp_path, tiny_folder, monkeypatch):
    """Config and tokenizer first, then the weights of the one model that is wanted."""
    shutil.copytree(tiny_folder, tmp_path / "both")
    shutil.copytree(saved("class token")[0], tmp_path / "both", dirs_exist_ok=True)
    if file.endswith(".bin"):
        torch.save(dict(saved("class token")[1].state_dict()), tmp_path / "both" / file)
        (tmp_path / "both" / "open_clip_model.safetensors").unlink()
    asked = []

    def download(hub_id, allow_patterns, **_):
        asked.append((hub_id, [one for one in allow_patterns if "model" in one and not one.startswith("*")]))
        return str(tmp_path / "both")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert isinstance(load_composer("hf-hub:owner/name"), OpenClipComposer)
    assert asked[-1] == ("owner/name", [file])
    assert not isinstance(load_composer("owner/name"), OpenClipComposer)
    assert "model*.safetensors" in asked[-1][1]


@pytest.mark.parametrize("place", ["in the folder", "below the folder", "elsewhere"])
def test_a_text_tower_without_the_hub(place, with_roberta, picture, tmp_path, monkeypatch, no_hub):
    """Config and tokenizer that a model names by a hub id lie in its folder, or it names a folder."""
    folder, _ = with_roberta
    expected = explain(picture, TEXT, model=folder)
    where = {"in the folder": folder, "below the folder": folder / "tower", "elsewhere": tmp_path / "other"}[place]
    shutil.copytree(tmp_path / "text", where, dirs_exist_ok=True)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.move(folder / file, where / file)
    shutil.rmtree(tmp_path / "text")
    name = {"in the folder": "owner/tower", "below the folder": "tower", "elsewhere": str(where)}[place]
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"]["text_cfg"] |= {"hf_model_name": name, "hf_tokenizer_name": name}
    path.write_text(json.dumps(config))
    monkeypatch.setattr("huggingface_hub.snapshot_download", no_hub)
    assert explain(picture, TEXT, model=folder).maps.equal(expected.maps)
    if place == "in the folder":
        (folder / "config.json").unlink()
        with pytest.raises(InputError, match=r"check the network, or put its config\.json into the model's folder"):
            load_composer(folder)
