"""Files of a model folder: what is damaged or does not fit is said, and no code in them is run."""

import json
import pickle
import shutil
import subprocess

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from mmgrad_explain.composers.files import check_sizes, load_weights, read_weights, save_weights
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.errors import InputError


@pytest.fixture
def folder(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder, tmp_path / "model")


@pytest.mark.parametrize("text", ["{", "[1]", "\xff\xfe"])
def test_a_damaged_config(folder, text):
    (folder / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"config\.json (cannot be read|is not a JSON object)"):
        load_composer(folder)


def test_a_model_of_another_kind(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(InputError, match="'bert' model"):
        load_composer(folder)


def test_weights_that_do_not_fit(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "embed_dim": 9}))
    with pytest.raises(InputError, match=r"weights in .* do not fit its config"):
        load_composer(folder)


def test_damaged_safetensors(folder):
    (folder / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"model\.safetensors is damaged"):
        load_composer(folder)


def test_no_weights(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="has no weights"):
        load_composer(folder)


def test_torch_weights_are_read_as_weights_only(folder):
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    assert read_weights(folder).keys() == weights.keys()
    load_composer(folder)


class Attack:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return subprocess.check_call, (["touch", str(self.marker)],)


def test_code_in_a_weights_file_is_not_run(folder, tmp_path):
    marker = tmp_path / "ran"
    (folder / "model.safetensors").unlink()
    for write in (
        lambda p: torch.save({"w": Attack(marker)}, p),
        lambda p: p.write_bytes(pickle.dumps(Attack(marker))),
        lambda p: p.write_bytes(b"no weights"),
    ):
        write(folder / "pytorch_model.bin")
        with pytest.raises(InputError, match="code is never run"):
            load_composer(folder)
        assert not marker.exists()


def test_a_torch_file_that_is_no_state_dict(folder):
    (folder / "model.safetensors").unlink()
    torch.save([1, 2], folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="holds no plain state dict"):
        load_composer(folder)


def test_weights_of_any_module_come_back(tmp_path):
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    save_weights(model, tmp_path / "new" / "folder")
    load_weights(other, tmp_path / "new" / "folder")
    assert other.weight.equal(model.weight)
    with pytest.raises(InputError, match=r"the weights in .*folder do not fit Linear"):
        load_weights(nn.Linear(2, 2), tmp_path / "new" / "folder")
    with pytest.raises(InputError, match="has no weights"):
        load_weights(other, tmp_path)


def test_sizes_that_no_model_has():
    check_sizes({"num_hidden_layers": 1000, "vision": {"hidden_size": 2**26}}, "config.json")
    for config, match in (
        ({"num_hidden_layers": 1001}, "num_hidden_layers is 1001, and no model has more than 1000"),
        ({"vision": [{"hidden_size": 2**26 + 1}]}, "config.json: hidden_size is"),
    ):
        with pytest.raises(InputError, match=match):
            check_sizes(config, "config.json")
