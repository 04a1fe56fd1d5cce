"""Families of generative models are found by the ``model_type`` of a config."""

import pytest

from mmgrad_explain.composers.generative.family import generative_families, generative_family_of
from mmgrad_explain.errors import InputError


def test_families_by_model_type():
    assert generative_family_of({"model_type": "qwen2_5_vl"}, "it") is generative_families()["qwen2_5_vl"]
    with pytest.raises(
        InputError, match=r"it is a 'clip' model: supported types are 'gemma3', .*'llava', .*'qwen3_vl'$"
    ):
        generative_family_of({"model_type": "clip"}, "it")


def test_only_families_with_tiles_of_their_own_count_them():
    assert generative_families()["llava"].tiles_of(None, None, {}) == {}
