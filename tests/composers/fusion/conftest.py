"""Small towers in folders, and each method on the CLIP among them."""

import importlib.util
from pathlib import Path

import pytest

from mmgrad_explain.composers.fusion.registry import METHODS

_SPEC = importlib.util.spec_from_file_location("small_towers", Path(__file__).with_name("small_towers.py"))
small_towers = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small_towers)


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Kind to its folder and the model that was saved there, made when it is first asked for."""
    made = {}

    def get(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            made[kind] = folder, small_towers.make_tower(kind, folder)
        return made[kind]

    return get


@pytest.fixture(params=sorted(METHODS))
def method(request):
    return request.param


@pytest.fixture
def composer(saved, method):
    return small_towers.compose(saved("clip")[0], method)


@pytest.fixture
def inputs(composer, picture):
    return composer.preprocess([picture, picture.rotate(180)], small_towers.TEXTS, [picture.rotate(90)] * 2).tensors
