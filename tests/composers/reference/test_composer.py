"""The reference model as a composer: its stages, and its folder."""

import json
import shutil

import pytest
import torch

from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.composers.model_capabilities import capabilities
from mmgrad_explain.composers.reference.composer import ReferenceComposer
from mmgrad_explain.errors import InputError


@pytest.fixture
def inputs(tiny, picture):
    return tiny.preprocess([picture, picture.rotate(90)], ["make it red", "remove the star"]).tensors


def test_the_stages_together_are_the_forward(tiny, inputs):
    with torch.no_grad():
        expected = tiny(**inputs)
        features = tiny.encode_image(inputs["pixel_values"])
        text = tiny.encode_text(inputs["input_ids"], inputs["attention_mask"])
        output = tiny.compose(features, text)
        torch.testing.assert_close(output, expected)
        torch.testing.assert_close(tiny.shift(features, text), expected.shift)
        torch.testing.assert_close(tiny.embed(features), expected.embedding - expected.shift)
    assert tiny.feature_grid(features).shape[:2] == (2, tiny.feature_width)
    assert expected.embedding.shape == (2, tiny.embed_dim)
    assert capabilities(tiny).training_stages is tiny


def test_the_names_of_its_layers_exist(tiny):
    named = (tiny.target_layer, tiny.pooling_layer, tiny.context_layer, *tiny.described_layers)
    assert all(tiny.get_submodule(name) for name in named)


def test_a_saved_model_is_the_same(tiny, inputs, tmp_path):
    tiny.save_pretrained(tmp_path / "again")
    assert len({path.stat().st_mode for path in (tmp_path / "again").iterdir()}) == 1  # whoever reads one reads all
    again = load_composer(tmp_path / "again")
    assert (again.name, again.training, again.familiarity) == ("again", False, None)
    with torch.no_grad():
        torch.testing.assert_close(again(**inputs), tiny.eval()(**inputs))


def test_a_copy_takes_images_of_another_size(tiny, picture, tmp_path):
    size = tiny.processor.image_size
    large = tiny.resized(2 * size)
    assert (large.network.config.image_size, tiny.network.config.image_size) == (2 * size, size)
    prepared = large.preprocess([picture], ["make it red"]).tensors
    assert prepared["pixel_values"].shape[-1] == 2 * size
    with torch.no_grad():
        found = large(**prepared)
        large.save_pretrained(tmp_path / "large")
        torch.testing.assert_close(load_composer(tmp_path / "large")(**prepared), large.eval()(**prepared))
        assert found.embedding.shape == (1, tiny.embed_dim)
    own, grown = tiny.network.neck.positions, large.network.neck.positions
    assert grown.shape[-1] == 2 * own.shape[-1]
    torch.testing.assert_close(grown.mean((1, 2)), own.mean((1, 2)))
    same = tiny.resized(size)
    torch.testing.assert_close(same.network.state_dict(), tiny.network.state_dict(), rtol=0, atol=0)
    with pytest.raises(InputError, match="image_size must be a multiple of 8, not 100"):
        tiny.resized(100)


def test_folders_that_do_not_fit(tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**settings, "image_size": 64}))
    with pytest.raises(InputError, match="its processor and its network have different image_size"):
        ReferenceComposer.from_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({**settings, "std": 0.5}))
    with pytest.raises(InputError, match=r"its processor and its network have different std: 0\.5 and 0\.25"):
        ReferenceComposer.from_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    old = {name: value for name, value in config.items() if name not in {"mean", "std", "taps", "frozen_norm"}}
    (folder / "config.json").write_text(json.dumps(old))  # a folder of before did not say what its network takes
    assert ReferenceComposer.from_pretrained(folder).processor.std == 0.5
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "clip"}))
    with pytest.raises(InputError, match="holds a 'clip' model, not a 'mmgrad_reference' one"):
        ReferenceComposer.from_pretrained(folder)
