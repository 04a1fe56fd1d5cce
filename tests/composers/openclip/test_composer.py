"""Models of open_clip: their layers, maps, and training."""

import json

import open_clip
import pytest
import torch
from open_clip.transform import image_transform_v2

from mmgrad_explain import explain
from mmgrad_explain.composers.fusion.composer import FusionComposer
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.composers.openclip.composer import OpenClipComposer, grid_layer_of
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.config_file import config_from
from mmgrad_explain.training.run import train

TEXTS = ["make it red", "a blue square, made larger"]
# What a reader of the code finds: the layer in the vision tower, the grid, the tokens before the patches.
PLACES = {
    "class token": ("transformer.resblocks.1.ln_1", (4, 6), 1),
    "custom text": ("transformer.resblocks.1.ln_1", (4, 6), 1),
    "average": ("ln_post", (4, 6), 1),
    "late norm": ("transformer.resblocks.1", (4, 6), 1),
    "attention pool": ("attn_pool.ln_k", (4, 6), 1),
    "CoCa": ("attn_pool.ln_k", (4, 6), 1),
    "CoCa, parallel": ("attn_pool_contrastive.ln_k", (4, 6), 1),
    "CoCa, cascade": ("attn_pool.ln_k", (4, 6), 1),
    "ResNet": ("layer4", (4, 4), None),
    "timm ViT": ("trunk.blocks.5.norm1", (10, 10), 1),
    "timm ConvNeXt": ("trunk.stages.3", (5, 5), None),
    "timm, attention pool": ("trunk.bn2", (5, 5), None),
}


def on_grid(values, grid, prefix):
    if prefix is None:
        return values
    return values[:, prefix : prefix + grid[0] * grid[1]].reshape(len(values), *grid, -1).permute(0, 3, 1, 2)


def own_ids(composer, texts):
    length = composer.processor.own_tokenizer.context_length
    return open_clip.SimpleTokenizer(context_length=length)(texts)


def run(visual, layer, call):
    outputs = []
    handle = visual.get_submodule(layer).register_forward_hook(lambda _m, _i, output: outputs.append(output))
    result = call()
    handle.remove()
    return outputs[0], result


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # a random model may have an empty map
@pytest.mark.parametrize("kind", PLACES)
def test_the_map_is_plain_grad_cam(kind, saved, picture, shared):
    """On the model as it was saved, with open_clip's own transform and tokenizer."""
    _, model, composer = saved(kind)
    layer, grid, prefix = PLACES[kind]
    explanation = explain([picture] * 2, TEXTS, model=composer, method="gradcam")
    config = open_clip.transform.PreprocessCfg(**{**model.visual.preprocess_cfg, "size": model.visual.image_size})
    pixels = image_transform_v2(config, is_train=False)(picture).expand(2, -1, -1, -1)
    ids = own_ids(composer, TEXTS)

    def embed():
        return model.encode_image(pixels, normalize=True).flatten(1), model.encode_text(ids, normalize=True)

    output, (image, text) = run(model.visual, layer, embed)
    score = (image * text).sum(-1)
    (gradient,) = torch.autograd.grad(score.sum(), output)
    activation, gradient = on_grid(output, grid, prefix), on_grid(gradient, grid, prefix)
    expected = shared.grad_cam(activation, gradient)
    assert composer.target_layer == f"model.visual.{layer}"
    assert explanation.score_name == "image-text"
    torch.testing.assert_close(explanation.score, score.detach(), atol=1e-5, rtol=1e-4)
    signed, top = explanation.signed[composer.target_layer][0], expected.abs().max()
    shared.same_map(signed, expected)
    assert (signed[0] - signed[1]).abs().max() > 0.01 * top  # another text, another map
    one = explain(picture, TEXTS, model=composer, method="gradcam")  # one encoding for both texts
    shared.same_map(one.signed[composer.target_layer][0], expected)


@pytest.mark.parametrize("cell", [(0, 1), (2, 0), (3, 2)])
@pytest.mark.parametrize("kind", PLACES)
def test_a_marked_cell_is_found_again(kind, saved, cell):
    composer = saved(kind)[2]
    known, (height, width) = composer.grid_layer, composer.input_size
    row, column = cell[0] * known.grid[0] // 4, cell[1] * known.grid[1] // 3
    high, wide = height // known.grid[0], width // known.grid[1]
    torch.manual_seed(1)
    pixels = torch.randn(1, 3, height, width).repeat(2, 1, 1, 1)
    pixels[1, :, row * high : (row + 1) * high, column * wide : (column + 1) * wide] += 2
    with torch.no_grad():
        output, _ = run(composer.model.visual, PLACES[kind][0], lambda: composer.encode_image(pixels))
    apart = known.read(output).diff(dim=0).square().sum((0, 1))
    found = divmod(int(apart.argmax()), known.grid[1])
    assert max(abs(found[0] - row), abs(found[1] - column)) <= (1 if PLACES[kind][2] is None else 0)


@pytest.mark.parametrize("kind", ["class token", "CoCa", "timm ViT"])
def test_a_batch_is_a_loop_and_the_model_is_left_alone(kind, saved, picture, shared):
    shared.batch_is_a_loop(saved(kind)[2], [picture, picture.rotate(180)], TEXTS)


def test_a_tower_without_one_embedding_is_refused():
    vision = {"image_size": (32, 48), "layers": 1, "width": 32, "head_width": 16, "patch_size": 8, "pool_type": "none"}
    visual = open_clip.CLIP(16, vision, {"context_length": 12, "width": 16, "heads": 2, "layers": 1}).visual
    with pytest.raises(InputError, match="does not pool its patches into one embedding"):
        grid_layer_of(visual, (32, 48))


# ------------------------------------------------------------------------------------------------- saved and trained


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # a random model may have an empty map
@pytest.mark.parametrize("kind", ["class token", "CoCa", "timm ViT"])
def test_a_saved_model_is_the_same(kind, saved, picture, tmp_path):
    folder, _, composer = saved(kind)
    composer.save_pretrained(tmp_path / "again")
    again = load_composer(tmp_path / "again")
    torch.testing.assert_close(
        explain(picture, TEXTS[0], model=again).maps, explain(picture, TEXTS[0], model=composer).maps
    )
    config, weights = (tmp_path / "again" / one for one in ("open_clip_config.json", "open_clip_model.safetensors"))
    assert json.loads(config.read_text()) == json.loads((folder / config.name).read_text())
    assert {one.name for one in (tmp_path / "again").iterdir()} == {config.name, weights.name}
    assert config.stat().st_mode == weights.stat().st_mode  # who may read the one may read the other


def test_a_model_without_its_config_is_not_saved(saved, tmp_path):
    composer = saved("class token")[2]
    alone = OpenClipComposer(composer.model, composer.processor, "mine")
    with pytest.raises(InputError, match=r"mine cannot be saved: pass the content of its open_clip_config.json as con"):
        alone.save_pretrained(tmp_path)


@pytest.mark.parametrize("method", ["film", None])
def test_the_trainer_trains_it(method, square, tmp_path, picture):
    """With a method on it, or directly: ``i + t``, maps of the cosine."""
    torch.manual_seed(0)  # a method whose maps are not empty
    start = square if method is None else FusionComposer.from_tower(square, method, width=8)
    start.save_pretrained(tmp_path / "start")
    torch.testing.assert_close(
        explain(picture, TEXTS[0], model=tmp_path / "start").maps, explain(picture, TEXTS[0], model=start).maps
    )
    config = config_from(
        {
            "steps": 2, "workers": 0, "log_every": 1, "save_every": 2, "tensorboard": False, "precision": "float32",
            "device": "cpu", "model": {"path": str(tmp_path / "start")},
            "sources": {"scenes": {"pictures": 2, "edits": 2}},
            "optimizer": {"warmup": 1, "lr": 0.01}, "evaluation": {"every": 2, "batches": 1, "maps": 0},
            "grounding": {"warm_start": 0.0, "score": "image-text" if method is None else "shift"},
        }
    )  # fmt: skip
    train(config, tmp_path / "run")
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert first.keys() >= {"retrieval", "dice"}
    before, after = start.state_dict(), load_composer(tmp_path / "run" / "model").state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    inside = "" if method is None else "tower."
    assert {f"{inside}model.visual.conv1.weight", f"{inside}model.token_embedding.weight"} <= changed
