"""The transformers face: save, load, and what the quick composer makes of the same folder."""

import pytest
import torch

from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.composers.reference.build import network_config
from mmgrad_explain.composers.reference.composer import ReferenceComposer
from mmgrad_explain.composers.reference.transformers_model import ReferenceConfig, ReferenceModel, ReferenceProcessor


@pytest.fixture(scope="module")
def saved(tmp_path_factory, tokenizer, tiny_config):
    from dataclasses import asdict

    folder = tmp_path_factory.mktemp("saved")
    torch.manual_seed(1)
    model = ReferenceModel(ReferenceConfig(**asdict(tiny_config))).eval()
    model.save_pretrained(folder)
    ReferenceProcessor(tokenizer, image_size=tiny_config.image_size).save_pretrained(folder)
    return folder, model


def test_files_are_safetensors_and_json(saved):
    folder, _ = saved
    names = {path.name for path in folder.iterdir()}
    assert names == {"config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"}


def test_round_trip_and_the_quick_composer_agree(saved, picture):
    folder, model = saved
    processor = ReferenceProcessor.from_pretrained(folder)
    tensors = processor([picture], ["make the red square blue"], [picture.rotate(90)]).tensors
    expected = model(**tensors)
    again = ReferenceModel.from_pretrained(folder).eval()
    composer = load_composer(folder)
    assert isinstance(composer, ReferenceComposer)
    assert not composer.training
    for other in (again, composer):
        for ours, theirs in zip(other(**tensors), expected, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_config_keeps_every_size(saved, tiny_config):
    folder, _ = saved
    assert network_config(ReferenceConfig.from_pretrained(folder).to_dict()) == tiny_config
    assert ReferenceConfig().model_type == "mmgrad_reference"
