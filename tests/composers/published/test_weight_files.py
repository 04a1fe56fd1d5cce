"""Files of weights: read without running code, found under their names, complete and without others."""

import zipfile

import pytest
import torch
from safetensors.torch import save_file

from mmgrad_explain.composers.published.weight_files import check_shapes, read_weight_file, rename, weights_in
from mmgrad_explain.errors import InputError


class Code:
    def __reduce__(self):
        return print, ("ran",)


def test_no_code_is_run(tmp_path, capsys):
    torch.save({"model": Code()}, tmp_path / "bad.pt")
    refused = (
        r"bad.pt was not loaded: it is damaged, or it holds more than weights, .* torch.save\(model.state_dict\(\)"
    )
    with pytest.raises(InputError, match=refused):
        read_weight_file(tmp_path / "bad.pt")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "bad.pt")
    with pytest.raises(InputError, match=refused):
        read_weight_file(tmp_path / "bad.pt")
    (tmp_path / "bad.pt").write_bytes(b"half a file")
    with pytest.raises(InputError, match=refused):
        read_weight_file(tmp_path / "bad.pt")
    assert capsys.readouterr().out == ""
    with pytest.raises(InputError, match=r"is no file: give the file of weights as it was published"):
        read_weight_file(tmp_path)
    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(InputError, match=r"holds a list, no dict of weights"):
        read_weight_file(tmp_path / "list.pt")


def test_an_archive_of_torchscript_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "ViT-B-32.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"")
        archive.writestr("archive/constants.pkl", b"")
    with pytest.raises(InputError, match=r"is a TorchScript archive, .* such as openai/clip-vit-large-patch14"):
        read_weight_file(tmp_path / "ViT-B-32.pt")


def test_weights_are_found_under_a_name_or_by_themselves(tmp_path):
    save_file({"a.weight": torch.ones(2)}, tmp_path / "plain.safetensors")
    held = read_weight_file(tmp_path / "plain.safetensors")
    assert weights_in(held, ("Net",), "f")["a.weight"].tolist() == [1, 1]
    found = weights_in({"Net": {"module._orig_mod.a.weight": torch.ones(2).half()}, "epoch": 3}, ("Net",), "f")
    assert found["a.weight"].dtype == torch.float32
    inner = {"epoch": 3, "Net": {"args": 1, "state_dict": {"module": {"a.weight": torch.ones(2)}}}}
    assert list(weights_in(inner, ("Net",), "f")) == ["a.weight"]
    for held in ({"epoch": 3}, {"epoch": 3, "Net": {"args": {}}}):
        with pytest.raises(InputError, match=r"f holds no weights under Net: it has 'epoch'"):
            weights_in(held, ("Net",), "f")
    with pytest.raises(
        InputError, match=r"under Net: it has 'CLIP'; 'CLIP' is a fine-tuned CLIP, which is given as the"
    ):
        weights_in({"CLIP": inner}, ("Net",), "f")


def test_missing_extra_and_wrong_shapes_are_named():
    weights = {"a.weight": torch.ones(2, 3), "a.bias": torch.ones(2)}
    assert set(rename(weights, {"a": "b"}, "net", "f")) == {"b.weight", "b.bias"}
    with pytest.raises(InputError, match=r"f is no net: c.weight, c.bias missing"):
        rename(weights, {"a": "b", "c": "d"}, "net", "f")
    weights["z"] = torch.ones(1)
    with pytest.raises(InputError, match=r"f is no net: it has z, which such a network does not have"):
        rename(weights, {"a": "b"}, "net", "f")
    assert set(rename(weights, {"a": "b"}, "net", "f", others=("z",))) == {"b.weight", "b.bias"}
    with pytest.raises(InputError, match=r"f: a.weight is 2 x 3, and with its other weights it must be 3 x 3"):
        check_shapes(weights, {"a.weight": (3, 3)}, "f")
