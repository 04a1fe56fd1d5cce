"""Tensors of images on disk: made once, whole, and read as they were."""

import pytest
import torch

from mmgrad_explain.errors import InputError
from mmgrad_explain.training.tensor_store import TensorStore

CPU = torch.device("cpu")


def test_only_what_is_missing_is_made(tmp_path):
    asked = []

    def make(missing):
        asked.append(missing)
        return [torch.tensor(missing, dtype=torch.half), torch.ones(len(missing), 2)]

    store = TensorStore(tmp_path)
    first, ones = store.read(["aa", "bb", "aa"], make, CPU)
    assert asked == [[2, 1]]  # the same image once
    assert first.tolist() == [2, 1, 2]
    assert (first.dtype, ones.shape) == (torch.half, (3, 2))
    again, _ = store.read(["bb", "cc"], make, CPU)
    assert asked == [[2, 1], [1]]
    assert again.tolist() == [1, 1]
    assert sorted(file.name for file in tmp_path.rglob("*.*")) == ["aa.safetensors", "bb.safetensors", "cc.safetensors"]


def test_a_damaged_file_and_a_folder_that_cannot_be_written_are_named(tmp_path):
    store = TensorStore(tmp_path)
    store.read(["aa"], lambda _: [torch.ones(1)], CPU)
    (tmp_path / "aa" / "aa.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match=r"model\.cache: .*aa\.safetensors is damaged: delete it"):
        store.read(["aa"], lambda _: [torch.ones(1)], CPU)
    (tmp_path / "bb").write_text("")
    with pytest.raises(InputError, match=r"model\.cache: .*bb cannot be written"):
        store.read(["bb"], lambda _: [torch.ones(1)], CPU)
