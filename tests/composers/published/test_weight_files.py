"""Files of weights: read without running code, found under their names, complete and without others."""

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
    with pytest.raises(
        InputError, match=r"bad.pt was not loaded: it is damaged or holds more than weights, and code is"
    ):
        read_weight_file(tmp_path / "bad.pt")
    assert capsys.readouterr().out == ""
    with pytest.raises(InputError, match=r"is no file: give the file of weights as it was published"):
        read_weight_file(tmp_path)
    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(InputError, match=r"holds a list, no dict of weights"):
        read_weight_file(tmp_path / "list.pt")


def test_weights_are_found_under_a_name_or_by_themselves(tmp_path):
    save_file({"a.weight": torch.ones(2)}, tmp_path / "plain.safetensors")
    held = read_weight_file(tmp_path / "plain.safetensors")
    assert weights_in(held, ("Net",), "f")["a.weight"].tolist() == [1, 1]
    found = weights_in({"Net": {"module._orig_mod.a.weight": torch.ones(2).half()}, "epoch": 3}, ("Net",), "f")
    assert found["a.weight"].dtype == torch.float32
    with pytest.raises(InputError, match=r"f holds no weights under Net: it has 'epoch'"):
        weights_in({"epoch": 3}, ("Net",), "f")


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
