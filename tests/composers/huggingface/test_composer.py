"""The composer of the families: its layer, images of another size, missing scores, half precision, CLIPSeg."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers

from mmgrad_explain import explain
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.errors import InputError

_SPEC = importlib.util.spec_from_file_location("small", Path(__file__).with_name("small_models.py"))
small = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small)
pytestmark = pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # random: a map may be empty


@pytest.mark.parametrize("kind", ["clip"], indirect=True)
def test_a_match_logit_needs_a_model_that_has_one(loaded, picture):
    with pytest.raises(InputError, match="this model gives no match logit: use its default score"):
        explain(picture, small.TEXTS[0], model=loaded[0], score="match")


@pytest.mark.parametrize("kind", ["blip", "blip-2", "clip", "clipseg", "siglip"], indirect=True)
def test_pictures_of_another_size_stretch_the_positions(loaded, picture):
    composer, _ = loaded
    own = composer.processor.image_processor
    own.size, own.do_center_crop = {"height": 32, "width": 48}, False
    explanation = explain(picture, small.TEXTS[0], model=composer)
    assert explanation.maps.shape == (1, 4, 6)


@pytest.mark.parametrize("kind", ["blip-2", "bridgetower", "clipseg", "vilt"], indirect=True)
def test_weights_in_half_precision(loaded, picture):
    composer, _ = loaded
    (expected,) = explain(picture, small.TEXTS[0], model=composer, method="gradcam").signed[composer.target_layer]
    (signed,) = explain(picture, small.TEXTS[0], model=composer.bfloat16(), method="gradcam").signed[
        composer.target_layer
    ]
    torch.testing.assert_close(signed / expected.abs().max(), expected / expected.abs().max(), atol=0.1, rtol=0)


@pytest.mark.parametrize("kind", ["chinese_clip"], indirect=True)
def test_a_layer_that_has_another_name_is_looked_for(loaded, picture, saved, monkeypatch):
    family = replace(small.FAMILIES["chinese_clip"], layer=lambda config: "model.vision_model.trunk")
    monkeypatch.setitem(small.FAMILIES, "chinese_clip", family)
    composer = load_composer(saved("chinese_clip")[0])
    assert composer.target_layer is None
    found = explain(picture, small.TEXTS[0], model=composer, method="gradcam")
    assert found.layer_names == (loaded[0].target_layer,)


def test_clipseg_is_read_from_a_segmentation_models_folder(saved, tmp_path, picture):
    folder, clip = saved("clipseg")
    whole = transformers.CLIPSegForImageSegmentation(clip.config)
    whole.clip.load_state_dict(clip.state_dict())
    whole.save_pretrained(tmp_path)
    for file in ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    found, expected = (explain(picture, small.TEXTS[0], model=load_composer(where)) for where in (tmp_path, folder))
    torch.testing.assert_close(found.signed, expected.signed)


@pytest.mark.parametrize("kind", ["clip"], indirect=True)
@pytest.mark.parametrize("method", ["legrad", "relevancy", "attention-rollout", "dense", "occlusion", "layercam"])
def test_checks_change_the_text_whatever_the_method_is_made_of(loaded, picture, method):
    (check,) = explain(picture, small.TEXTS[0], model=loaded[0], method=method).check()
    assert "text" not in dict(check.missing), check.missing
    assert (check.text == pytest.approx(0)) == (method == "attention-rollout")
