"""Folders of sentence-transformers: the CLIP inside is found, other models are refused."""

import json
import shutil

import pytest

from mmgrad_explain import explain
from mmgrad_explain.composers.huggingface.sentence_transformers import sentence_transformers_part
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.errors import InputError


def test_other_folders_are_returned_themselves(tmp_path):
    assert sentence_transformers_part(tmp_path) == tmp_path
    (tmp_path / "modules.json").write_text("no JSON")
    (tmp_path / "config.json").write_text("{}")  # a model of transformers, whatever else is beside it
    assert sentence_transformers_part(tmp_path) == tmp_path


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # random: a map may be empty
def test_a_folder_of_sentence_transformers(clip_folder, picture, tmp_path):
    shutil.copytree(clip_folder, tmp_path / "0_CLIPModel")
    module = {"idx": 0, "name": "0", "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}
    modules = tmp_path / "modules.json"
    modules.write_text(json.dumps([module]))
    found = explain(picture, "make it red", model=tmp_path)
    assert found.maps.equal(explain(picture, "make it red", model=clip_folder).maps)
    assert found.model == tmp_path.name
    for content, match in (
        ([{**module, "type": "sentence_transformers.models.Transformer"}], "with Transformer: of these a single CLIP"),
        ([module, {**module, "type": "sentence_transformers.models.Dense"}], "with CLIPModel, Dense: of these"),
        ([{**module, "path": "../elsewhere"}], r"names a folder outside its own: \.\./elsewhere"),
        ({"0": 1}, "modules.json cannot be read"),
    ):
        modules.write_text(json.dumps(content))
        with pytest.raises(InputError, match=match):
            load_composer(tmp_path)
