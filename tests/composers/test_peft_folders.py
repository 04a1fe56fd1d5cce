"""Folders of PEFT's adapters."""

import json
import shutil

import pytest
import torch
import transformers

from mmgrad_explain import InputError, explain, load_composer
from mmgrad_explain.composers.stand_ins.models import write_model_folder

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # random: a map may be empty

TEXT = "make it red"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """The folder of a random CLIP."""
    folder = tmp_path_factory.mktemp("base") / "clip"
    write_model_folder("clip", folder)
    return folder


@pytest.fixture
def adapter_folder(clip, tmp_path):
    """LoRA on a CLIP, saved as PEFT saves it; the same model in memory."""
    torch.manual_seed(1)
    lora = peft.LoraConfig(r=2, lora_alpha=16, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model = peft.get_peft_model(transformers.CLIPModel.from_pretrained(clip), lora)
    model.save_pretrained(tmp_path / "adapters")
    return tmp_path / "adapters", model


def test_a_folder_is_explained_as_the_model_in_memory(adapter_folder, clip, picture, picture_file, tmp_path, run):
    folder, model = adapter_folder
    load = transformers.AutoImageProcessor, transformers.AutoTokenizer
    expected = explain(picture, TEXT, model=model, processor=tuple(one.from_pretrained(clip) for one in load))
    found = explain(picture, TEXT, model=folder)
    torch.testing.assert_close(found.maps, expected.maps, atol=1e-5, rtol=1e-3)
    assert (explain(picture, TEXT, model=clip).score - found.score).abs() > 1e-3
    assert found.model == "adapters"
    assert not load_composer(folder).training
    code, out, _ = run("overlay", picture_file, TEXT, "--model", folder, "--out", tmp_path / "map.png", "--json")
    assert code == 0
    assert json.loads(out)[0]["score"] == pytest.approx(float(found.score[0]))


def test_a_base_beside_the_adapters(adapter_folder, clip, picture):
    folder, _ = adapter_folder
    expected = explain(picture, TEXT, model=folder)
    shutil.copytree(clip, folder / "base")
    change(folder, base_model_name_or_path="base")
    assert explain(picture, TEXT, model=folder).maps.equal(expected.maps)


def change(folder, **values):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_what_an_adapter_folder_lacks(adapter_folder, clip, tmp_path, monkeypatch):
    folder, _ = adapter_folder
    write_model_folder("blip", tmp_path / "blip")
    asked = []
    with monkeypatch.context() as patch:
        patch.setattr("mmgrad_explain.composers.load.fetch", lambda *given, **_: asked.append(given[0]) or 1 / 0)
        change(folder, base_model_name_or_path="owner/base")
        with pytest.raises(InputError, match="cannot be loaded: division by zero"):
            load_composer(folder)
    assert asked == ["owner/base"]
    for values, match in (
        ({"base_model_name_or_path": None}, "names no base model"),
        ({"base_model_name_or_path": str(folder)}, "names its own folder as the base model"),
        ({"base_model_name_or_path": "reference"}, "adapters go into models of transformers and of open_clip"),
        ({"base_model_name_or_path": str(tmp_path / "blip")}, "cannot be put into .*blip: "),
        ({"base_model_name_or_path": str(clip), "target_modules": ["k_proj"]}, "do not fit .*clip: base_"),
        ({"base_model_name_or_path": str(clip), "peft_type": "NOTHING"}, "cannot be put into .*clip: "),
    ):
        change(folder, **values)
        with pytest.raises(InputError, match=match):
            load_composer(folder)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no adapters: expected adapter_model.safetensors \(or adapter_model.bin"):
        load_composer(folder)
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    (folder / "adapter_model.bin").touch()
    with pytest.raises(InputError, match=r'^adapters holds adapters of PEFT, .*pip install "mmgrad-explain\[train\]"'):
        load_composer(folder)
    (folder / "adapter_config.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"adapter_config\.json cannot be read"):
        load_composer(folder)
