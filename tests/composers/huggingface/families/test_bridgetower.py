"""BridgeTower: its two streams read one another, and its tower has the sequence as its first dimension."""

import pytest
import torch

pytestmark = [
    pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning"),  # random: a map may be empty
    pytest.mark.parametrize("kind", ["bridgetower"], indirect=True),
]


def test_the_match_is_that_of_the_models_own_forward(loaded, picture):
    composer, model = loaded
    inputs = composer.preprocess([picture] * 2, ["make it red", "a blue square"]).tensors
    output = composer(**inputs)
    torch.testing.assert_close(output.match, model(**inputs).logits[:, 1], atol=1e-5, rtol=1e-4)
    assert output.target_match is None


def test_an_encoded_image_is_its_embedded_patches(loaded, picture):
    """The streams also read the tower's layers, so that nothing before them can be kept for another text."""
    composer, model = loaded
    pixels = composer.preprocess([picture], ["make it red"]).tensors["pixel_values"]
    visual = model.bridgetower.vision_model.visual
    torch.testing.assert_close(composer.encode_image(pixels), visual.forward_pre(pixels).transpose(0, 1))


def test_layouts_of_the_tower_the_image_stream_and_others(loaded, picture):
    composer, _ = loaded
    tensors = composer.preprocess([picture], ["make it red"]).tensors
    tokens = torch.arange(17.0).reshape(1, 17, 1)
    expected = torch.arange(1.0, 17).reshape(4, 4)
    stream = composer.layout_for("model.bridgetower.cross_modal_image_layers.0", **tensors)
    assert torch.equal(stream(tokens)[0, 0], expected)
    tower = composer.layout_for("model.bridgetower.vision_model.visual.transformer.resblocks.0", **tensors)
    assert torch.equal(tower(tokens.transpose(0, 1))[0, 0], expected)
    assert composer.layout_for("model.bridgetower.cross_modal_text_layers.0", **tensors) is None


def test_the_default_layer_is_the_input_of_the_last_layer_of_both_streams(loaded):
    composer, model = loaded
    assert composer.get_submodule(composer.target_layer) is composer.model.bridgetower.cross_modal_image_link_tower[-1]
    assert len(model.bridgetower.cross_modal_image_layers) == 2
