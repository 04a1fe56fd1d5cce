"""Families are collected from the files of a package and found by ``model_type``."""

import pytest

from mmgrad_explain.composers.family_files import find_family, last_block_input, read_families
from mmgrad_explain.errors import InputError


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "families_of_a_test"
    folder.mkdir()
    for file, text in {"__init__": "", "b": 'FAMILIES = {"two": 2}', "a": 'FAMILIES = {"one": 1, "uno": 1}'}.items():
        (folder / f"{file}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return folder.name


def test_a_file_in_the_package_is_enough(package):
    assert list(read_families(package).items()) == [("one", 1), ("uno", 1), ("two", 2)]


def test_a_family_is_found_by_its_type():
    families = {"one": 1, "two": 2}
    assert find_family(families, {"model_type": "two"}, "it") == 2
    message = r"it is a 'three' model, which is too many: supported types are 'one', 'two'$"
    with pytest.raises(InputError, match=message):
        find_family(families, {"model_type": "three"}, "it", ", which is too many")
    with pytest.raises(InputError, match="it is a None model: supported"):
        find_family(families, {}, "it")


def test_the_layer_is_in_the_last_block():
    class Config:
        num_hidden_layers = 12

    assert last_block_input("vision", "blocks", "norm")(Config) == "model.vision.blocks.11.norm"
