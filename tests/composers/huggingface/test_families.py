"""Contrastive models of transformers as they are: each family as a small random model, saved as a user has it."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain import explain
from mmgrad_explain.attention import MMGrad, candidate_layers, to_grid
from mmgrad_explain.attention.places.record_layouts import find_layouts
from mmgrad_explain.errors import GradientError

_SPEC = importlib.util.spec_from_file_location("small", Path(__file__).with_name("small_models.py"))
small = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small)
pytestmark = pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # random: a map may be empty


def test_every_family_is_here():
    assert small.CONFIGS.keys() == small.PROCESSORS.keys() == small.PLACES.keys() == small.FAMILIES.keys()


def test_the_map_is_plain_grad_cam(kind, loaded, picture):
    composer, model = loaded
    explanation = explain([picture] * 2, small.TEXTS, model=composer, layer=None, method="gradcam")
    expected, score = small.plain_grad_cam(kind, model, *small.own_inputs(kind, composer, [picture] * 2, small.TEXTS))
    assert explanation.score_name == ("match" if kind in small.MATCHING else "image-text")
    assert explanation.layer_names == (composer.target_layer,)
    torch.testing.assert_close(explanation.score, score.detach(), atol=1e-5, rtol=1e-4)
    signed, top = explanation.signed[composer.target_layer][0], expected.abs().max()
    torch.testing.assert_close(signed / top, expected / top, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(explanation.maps, signed.relu())
    assert (signed[0] - signed[1]).abs().max() > 0.01 * top  # another text, another map


def test_a_batch_is_a_loop_and_the_model_is_left_alone(loaded, picture, shared):
    shared.batch_is_a_loop(loaded[0], [picture, picture.rotate(180)], small.TEXTS)


@pytest.mark.parametrize("corner", [(8, 14), (26, 40), (30, 20)])
def test_a_marked_place_is_found_again(loaded, corner):
    """What changes at the layer when a place on the picture changes lies on that place, on the picture's own pixels."""
    composer, _ = loaded
    pixels = np.full((48, 64, 3), 128, np.uint8)
    row, column = corner
    marked = pixels.copy()
    marked[row : row + 10, column : column + 10] = (255, 0, 0)
    pictures = [Image.fromarray(pixels), Image.fromarray(marked)]
    prepared = composer.preprocess(pictures, small.TEXTS[:1] * 2)
    with MMGrad(composer).capture() as seen:
        composer(**prepared.tensors)
    layer = composer.target_layer
    values = to_grid(seen.calls(layer)[0].activation.detach(), find_layouts(seen, None, composer, {})[layer][0])
    grid = (values[1] - values[0]).square().sum(0)
    found = prepared.placements[1].to_original(grid.numpy())
    y, x = np.unravel_index(found.argmax(), found.shape)
    assert max(abs(y - (row + 4.5)), abs(x - (column + 4.5))) < 5 + 48 / min(grid.shape)


@pytest.mark.parametrize(
    "kind",
    sorted(small.FAMILIES.keys() - {"align", "groupvit", "siglip", "siglip2", "vilt", "bridgetower"}),
    indirect=True,
)
def test_the_layer_is_the_one_that_is_found(loaded, picture):
    """By looking for the last grid that a gradient reaches; it may have another name for the same tensor.

    In ALIGN that is a picture with a border of zeros, in GroupViT a grid of channels, in SigLIP the whole tower, whose
    patches are handed on inside it; in ViLT and BridgeTower picture and text are one from early on.
    """
    composer, _ = loaded
    inputs = composer.preprocess([picture] * 2, small.TEXTS).tensors
    expected = MMGrad(composer, method="hirescam")(**inputs).maps
    composer.target_layer = None
    (chosen,) = [one for one in candidate_layers(composer, **inputs) if one.chosen]
    torch.testing.assert_close(MMGrad(composer, chosen.name, method="hirescam")(**inputs).maps, expected)


@pytest.mark.parametrize("kind", ["clip", *small.MATCHING], indirect=True)
def test_a_target_gets_a_map_and_leaves_the_others_alone(loaded, picture):
    composer, _ = loaded
    turned = picture.rotate(180)
    alone = explain(picture, small.TEXTS[0], model=composer)
    both = explain(picture, small.TEXTS[0], turned, model=composer)
    of_target = explain(turned, small.TEXTS[0], model=composer)
    (layer,) = both.layer_names
    for found, expected in zip(both.signed[layer], (alone, of_target), strict=True):
        torch.testing.assert_close(found, expected.signed[layer][0], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("kind", sorted(small.FAMILIES.keys() - {"bridgetower", "vilt"}), indirect=True)
def test_picture_plus_text_is_the_sum(kind, loaded, picture):
    composer, _ = loaded
    target = picture.rotate(180)
    output = composer(**composer.preprocess([picture] * 2, ["", small.TEXTS[0]], [target] * 2).tensors)
    assert not output.text[0].any()
    torch.testing.assert_close(output.embedding[0], output.image[0])
    torch.testing.assert_close(output.embedding[1], output.image[1] + output.text[1])
    torch.testing.assert_close(output.target_composed, output.target + output.text)
    torch.testing.assert_close(output.text[1].norm(), torch.tensor(1.0))
    with pytest.raises(GradientError, match="the score does not depend on layer"):
        explain(picture, small.TEXTS[0], model=composer, score="shift")
    # BLIP's towers are read at the class token alone.
    layer = "model.vision_model.encoder.layers.1.layer_norm1" if kind == "blip" else None
    assert len(explain(picture, small.TEXTS[0], target, composer, score="pair", layer=layer).calls) == 2
    torch.testing.assert_close(
        explain(picture, small.TEXTS[0], target, composer, score="similarity", layer=layer).score[0],
        torch.cosine_similarity(output.embedding[1], output.target[1], dim=0).detach(),
        atol=1e-4,
        rtol=1e-4,
    )


@pytest.mark.parametrize(
    ("kind", "layers", "grid"),
    [
        ("vilt", ("encoder.layer.0", "embeddings.patch_embeddings.projection"), (4, 6)),
        (
            "bridgetower",
            ("cross_modal_image_layers.0", "vision_model.visual.transformer.resblocks.1", "vision_model.visual.ln_pre"),
            (4, 4),
        ),
    ],
    indirect=["kind"],
)
def test_other_layers_of_models_that_read_together(kind, loaded, picture, layers, grid):
    """Before ViLT's patches are put in order its convolution lies on a grid; BridgeTower's tower has the batch second.

    A marked place is found in all of them.
    """
    composer, _ = loaded
    names = [f"model.{kind}.{layer}" for layer in layers]
    marked = np.asarray(picture.resize((60, 40))).copy()
    marked[20:30, 30:40] = (255, 0, 0)
    tensors = composer.preprocess([picture, Image.fromarray(marked)], small.TEXTS[:1] * 2).tensors
    with MMGrad(composer, names).capture() as seen:
        composer(**tensors)
    layouts = find_layouts(seen, None, composer, {})
    for name in names:
        values = to_grid(seen.calls(name)[0].activation.detach(), layouts[name][0])
        assert values.shape[2:] == grid
        place = divmod(int((values[1] - values[0]).square().sum(0).argmax()), grid[1])
        assert place == (2, grid[1] // 2)
