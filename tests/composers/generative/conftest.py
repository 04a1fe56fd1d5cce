"""A small random LLaVA in a folder, images, and small models of every family."""

import copy
import importlib.util
from pathlib import Path

import pytest
import torch
from PIL import Image

from mmgrad_explain import load_composer

_SPEC = importlib.util.spec_from_file_location("small_llava", Path(__file__).with_name("small_llava.py"))
small_llava = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small_llava)
_SPEC = importlib.util.spec_from_file_location("small", Path(__file__).with_name("small_models.py"))
small = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "llava"
    small_llava.model().save_pretrained(folder)
    small_llava.processor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def loaded_once(folder):
    return load_composer(folder)


@pytest.fixture
def composer(loaded_once):
    return copy.deepcopy(loaded_once)


@pytest.fixture
def pictures():
    torch.manual_seed(3)
    return [Image.fromarray(torch.randint(0, 256, (40, 60, 3), dtype=torch.uint8).numpy()) for _ in range(2)]


@pytest.fixture(scope="session")
def models():
    """Family to its small random model."""
    return {kind: small.Answering(kind) for kind in small.KINDS}
