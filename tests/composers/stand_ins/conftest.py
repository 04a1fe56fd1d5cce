"""A stand-in of each kind in a folder, and an image."""

import copy
import functools

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain import load_composer
from mmgrad_explain.composers.stand_ins.build import KINDS, stand_in


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    return {kind: stand_in(kind, tmp_path_factory.mktemp("models") / kind) for kind in KINDS}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="session")
def loaded_once(folders):
    return functools.cache(lambda kind: load_composer(folders[kind]))


@pytest.fixture
def composer(kind, loaded_once):
    return copy.deepcopy(loaded_once(kind))


@pytest.fixture
def photo():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8))
