"""A tower's patches on their grid and its tokens; towers of several kinds below a method."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from mmgrad_explain import explain
from mmgrad_explain.composers.dual_encoder import DualEncoder
from mmgrad_explain.composers.fusion import tower_reading
from mmgrad_explain.composers.fusion.composer import FusionComposer
from mmgrad_explain.composers.fusion.tower_reading import on_grid, token_layer, tokens_in
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.composers.towers.composer import TwoTowerComposer
from mmgrad_explain.errors import InputError

_SPEC = importlib.util.spec_from_file_location("small_towers", Path(__file__).with_name("small_towers.py"))
small_towers = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small_towers)


def test_patches_on_their_grid():
    tokens = torch.arange(2 * 17 * 3).reshape(2, 17, 3).float()
    grid = on_grid(tokens, (32, 32))
    assert grid.shape == (2, 3, 4, 4)
    torch.testing.assert_close(grid[:, :, 1, 2], tokens[:, 1 + 4 + 2])
    wide = on_grid(torch.arange(20.0).reshape(1, 20, 1), (24, 40))  # five registers
    assert wide[0, 0].tolist() == torch.arange(5.0, 20).reshape(3, 5).tolist()
    image = torch.rand(1, 7, 3, 5)
    torch.testing.assert_close(on_grid(image, (24, 40)), image)
    torch.testing.assert_close(on_grid(image.permute(0, 2, 3, 1), (24, 40)), image)
    with pytest.raises(InputError, match="10 patches fit no grid of an image of 30 x 43 pixels: make images"):
        on_grid(torch.rand(1, 10, 4), (30, 43))


def test_tokens_are_found_in_what_a_module_gives():
    tokens = torch.rand(1, 2, 3)
    assert tokens_in({"pooled": torch.rand(1, 3), "all": (None, tokens)}) is tokens
    assert tokens_in([torch.ones(1, 2, 3).long()]) is None
    assert tokens_in("nothing") is None


GRIDS = {"siglip": (4, 6), "align": (2, 2), "blip": (4, 4)}


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")
@pytest.mark.parametrize("kind", sorted(GRIDS))
def test_on_other_towers(kind, method, saved, picture):
    """The map is Grad-CAM of the shift at the explained layer, whichever tower stands below."""
    composer = small_towers.compose(saved(kind)[0], method)
    explanation = explain([picture] * 2, small_towers.TEXTS, picture.rotate(180), composer)
    signed = explanation.signed[composer.target_layer]
    assert len(signed) == 2
    assert signed[0].shape == (2, *GRIDS[kind])
    assert (signed[0][0] - signed[0][1]).abs().max() > 1e-4 * signed[0].abs().max() > 0
    outputs = []
    handle = composer.get_submodule(composer.target_layer).register_forward_hook(
        lambda _module, _inputs, output: outputs.append(tokens_in(output))
    )
    output = composer(**composer.preprocess([picture] * 2, small_towers.TEXTS).tensors)
    handle.remove()
    activation = outputs[0]
    (gradient,) = torch.autograd.grad((output.shift * output.shift.detach()).sum(), activation)
    if activation.ndim == 3:
        first = activation.shape[1] - GRIDS[kind][0] * GRIDS[kind][1]
        activation, gradient = (one[:, first:].mT.unflatten(2, GRIDS[kind]) for one in (activation, gradient))
    expected = (gradient.mean((2, 3), keepdim=True) * activation).sum(1).detach()
    top = expected.abs().max()
    torch.testing.assert_close(signed[0] / top, expected / top, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", ["clip", "siglip", "blip"])
@pytest.mark.parametrize("corner", [(8, 14), (26, 40)])
def test_a_marked_place_is_found_again(kind, corner, saved):
    """What changes in the patches that a method reads lies where the picture changes."""
    composer = small_towers.compose(saved(kind)[0], "film")
    pixels = np.full((48, 64, 3), 128, np.uint8)
    row, column = corner
    marked = pixels.copy()
    marked[row : row + 10, column : column + 10] = (255, 0, 0)
    prepared = composer.preprocess([Image.fromarray(pixels), Image.fromarray(marked)], small_towers.TEXTS)
    with torch.no_grad():
        grid = composer.encode_image(prepared.tensors["pixel_values"]).grid
    change = (grid[1] - grid[0]).square().sum(0)
    found = prepared.placements[1].to_original(change.numpy())
    y, x = np.unravel_index(found.argmax(), found.shape)
    assert max(abs(y - (row + 4.5)), abs(x - (column + 4.5))) < 5 + 48 / min(change.shape)


def test_what_no_method_can_sit_on(saved, tiny, monkeypatch):
    with pytest.raises(InputError, match=r"ReferenceComposer\) has no two towers for a method: take a"):
        FusionComposer.from_tower(tiny, "tirg")
    with pytest.raises(InputError, match=r"fusion: there is no 'sum'; .*Known: tirg, tirg-spatial, film"):
        FusionComposer.from_tower(saved("clip")[0], "sum")
    tower = load_composer(saved("clip")[0])
    tower.target_layer = None
    assert FusionComposer.from_tower(tower, "tirg", width=4).target_layer is None
    with pytest.raises(InputError, match="names no target layer to read this method's patches from"):
        FusionComposer.from_tower(tower, "film")
    monkeypatch.setattr(tower_reading, "tokens_in", lambda output: None)
    with pytest.raises(InputError, match="no layer of its text tower gives the text's tokens, which this method needs"):
        token_layer(tower, {"words"})
    monkeypatch.setattr(torch, "equal", lambda one, other: False)
    with pytest.raises(InputError, match="no layer of its text tower looks up tokens, which this method needs"):
        FusionComposer.from_tower(saved("clip")[0], "inversion")


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # a random model may have an empty map
def test_on_a_tower_of_timm(tmp_path, picture):
    """A Swin on pictures of 64 x 96: windows, channels last, a layout that the tower knows, a folder of its own."""
    small_towers.make_tower("clip", tmp_path / "bert")  # for its tokenizer
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    bert = transformers.BertModel(
        transformers.BertConfig(vocab_size=len(small_towers.WORDS), max_position_embeddings=24, **small)
    )
    bert.save_pretrained(tmp_path / "bert")
    windows = {"embed_dim": 16, "depths": (2, 2), "num_heads": (1, 2), "window_size": 4, "img_size": (64, 96)}
    tower = TwoTowerComposer.from_timm(
        "swin_tiny_patch4_window7_224",
        tmp_path / "bert",
        16,
        vision_options=windows,
        data={"input_size": (3, 64, 96), "crop_pct": 1.0},
    )
    composer = FusionComposer.from_tower(tower, "film", width=8)
    pixels = np.full((64, 96, 3), 128, np.uint8)
    marked = pixels.copy()
    marked[40:44, 72:76] = (255, 0, 0)
    pictures = [Image.fromarray(pixels), Image.fromarray(marked)]
    inputs = composer.preprocess(pictures, small_towers.TEXTS).tensors
    grid = composer.encode_image(inputs["pixel_values"]).grid
    change = (grid[1] - grid[0]).square().sum(0)
    assert grid.shape == (2, 32, 8, 12)
    assert divmod(int(change.argmax()), 12) == (5, 9)
    assert explain(picture, small_towers.TEXTS[0], model=composer).maps.shape == (1, 8, 12)
    composer.save_pretrained(tmp_path / "model")
    read = load_composer(tmp_path / "model")
    torch.testing.assert_close(read(**inputs).embedding, composer(**inputs).embedding)


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")
def test_a_tower_that_knows_its_layout_is_asked(saved, picture):
    """A vision tower whose output is transposed, as only it can know."""
    tower = load_composer(saved("siglip")[0])
    asked = []

    def layout_for(layer, *args, **kwargs):
        asked.append((layer, *kwargs))
        return lambda tokens: tokens.mT.unflatten(2, (6, 4)).mT

    tower.layout_for = layout_for
    composer = FusionComposer.from_tower(tower, "film", width=8)
    inputs = composer.preprocess([picture], small_towers.TEXTS[:1]).tensors
    assert composer.encode_image(inputs["pixel_values"]).grid.shape == (1, 32, 4, 6)
    assert {layer for layer, *_ in asked} == {"model.vision_model.post_layernorm"}
    assert composer.layout_for(composer.target_layer, **inputs)(torch.rand(1, 24, 32)).shape == (1, 32, 4, 6)
    assert composer.layout_for("fusion.enter", **inputs) is None
    assert explain(picture, small_towers.TEXTS[0], model=composer).maps.shape == (1, 4, 6)
    assert not hasattr(small_towers.compose(saved("clip")[0], "tirg"), "layout_for")


def test_a_tower_that_cannot_be_saved(saved, tmp_path):
    class Own(DualEncoder):
        encode_image = embed_text = None

    composer = small_towers.compose(saved("clip")[0], "tirg")
    composer.tower = Own()
    with pytest.raises(InputError, match="Own cannot be saved: it has no save_pretrained"):
        composer.save_pretrained(tmp_path / "none")
    composer.tower.save_pretrained = lambda folder: folder.mkdir()
    composer.save_pretrained(tmp_path / "own")
    assert (tmp_path / "own" / "tower").is_dir()


def test_a_tower_is_saved_without_a_word(saved, tmp_path, capfd):
    small_towers.compose(saved("clip")[0], "tirg").save_pretrained(tmp_path)
    assert capfd.readouterr() == ("", "")
    assert (tmp_path / "tower" / "model.safetensors").stat().st_mode == (tmp_path / "config.json").stat().st_mode
