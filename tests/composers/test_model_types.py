"""One list says which composer reads which ``model_type``."""

import json
import subprocess
import sys

import pytest

from mmgrad_explain.composers import model_types
from mmgrad_explain.composers.generative.family import generative_families
from mmgrad_explain.composers.huggingface.family import contrastive_families
from mmgrad_explain.composers.model_types import composer_class, is_generative, is_image_text_model


@pytest.mark.parametrize(
    ("model_type", "name"),
    [
        (model_types.REFERENCE, "ReferenceComposer"),
        (model_types.CLIP_COMBINER, "ClipComposer"),
        (model_types.FUSION, "FusionComposer"),
        (model_types.TWO_TOWER, "TwoTowerComposer"),
        (model_types.VISION_TEXT, "VisionTextComposer"),
        (model_types.OPEN_CLIP, "OpenClipComposer"),
        ("llava", "GenerativeComposer"),
        ("clip", "HuggingFaceComposer"),
        ("t5", "HuggingFaceComposer"),
    ],
)
def test_each_type_has_its_composer(model_type, name):
    assert composer_class(model_type).__name__ == name


def test_models_in_memory():
    for model_type in (model_types.REFERENCE, model_types.VISION_TEXT, model_types.OPEN_CLIP, "llava", "clip"):
        assert hasattr(composer_class(model_type, in_memory=True), "from_memory")
    assert composer_class(model_types.FUSION, in_memory=True).__name__ == "HuggingFaceComposer"


def test_families_are_of_one_kind():
    assert not contrastive_families().keys() & generative_families().keys()
    assert is_generative("llava")
    assert not is_generative("clip")
    assert is_image_text_model("llava")
    assert is_image_text_model("clip")
    assert is_image_text_model(model_types.VISION_TEXT)
    assert not is_image_text_model("bert")


def test_own_models_are_found_without_the_families():
    code = (
        "import json, sys; from mmgrad_explain.composers.model_types import composer_class;"
        "composer_class('mmgrad_reference'); print(json.dumps([name for name in sys.modules if '.families' in name]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
