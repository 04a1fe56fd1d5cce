"""Families are found by the ``model_type`` and the architectures of a config."""

import pytest

from mmgrad_explain.composers.huggingface.family import contrastive_families, contrastive_family_of
from mmgrad_explain.errors import InputError


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "vilt"},
        {"model_type": "vilt", "architectures": None},
        {"model_type": "vilt", "architectures": ["ViltForImageAndTextRetrieval"]},
        {"model_type": "vilt", "architectures": ["Other", "ViltForImageAndTextRetrieval"]},
    ],
)
def test_a_supported_architecture_or_none(config):
    assert contrastive_family_of(config, "it") is contrastive_families()["vilt"]


def test_any_architecture_where_the_family_names_none():
    assert contrastive_family_of({"model_type": "clip", "architectures": ["Mine"]}, "it").title == "CLIP"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "bert"}, "model is a 'bert' model: supported types are 'align', 'blip', 'blip-2', .*'vilt'$"),
        (
            {"model_type": "clip_vision_model"},
            "a 'clip_vision_model' model, a vision tower without its text tower: supp",
        ),
        ({"model_type": "siglip_text_model"}, "a 'siglip_text_model' model, a text tower without its vision tower: su"),
        ({"model_type": "owlv2"}, "a 'owlv2' model, which finds boxes and has no score of a whole image and text: "),
        (
            {"model_type": "blip-2", "architectures": ["Blip2ForConditionalGeneration"]},
            "which has no image-text matching head: use a Blip2ForImageTextRetrieval, such as Salesforce/blip2-itm-vit",
        ),
        (
            {"model_type": "vilt", "architectures": ["ViltForQuestionAnswering"]},
            "which does not say how well image and text match: use a ViltForImageAndTextRetrieval, such as dandelin",
        ),
        (
            {"model_type": "blip", "architectures": ["BlipForQuestionAnswering"]},
            "of class BlipForQuestionAnswering, which has no image-text matching head: use a BlipForImageTextRetrieval",
        ),
    ],
)
def test_models_of_other_kinds(values, message):
    with pytest.raises(InputError, match=message):
        contrastive_family_of(values, "model")
