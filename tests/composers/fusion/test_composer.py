"""Methods of composed image retrieval on small random towers: each equation and each map written out once more."""

import inspect
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.func import functional_call
from torch.nn import functional as F

from mmgrad_explain import explain
from mmgrad_explain.attention import MMGrad
from mmgrad_explain.cli.main import main
from mmgrad_explain.composers.dual_encoder import DualEncoder
from mmgrad_explain.composers.fusion import tower_reading
from mmgrad_explain.composers.fusion.composer import FusionComposer
from mmgrad_explain.composers.fusion.registry import METHODS
from mmgrad_explain.composers.fusion.tower_reading import token_layer, tokens_in
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.composers.towers.composer import TwoTowerComposer
from mmgrad_explain.errors import InputError

WORDS = ["<pad>", "<start>", "make", "it", "red", "blue", "a", "photo", "of", "that", "<unk>", "<end>"]
SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = {**SMALL, "vocab_size": len(WORDS), "max_position_embeddings": 16, "pad_token_id": 0}
ENDS = {**TEXT, "bos_token_id": 1, "eos_token_id": 11}
VISION = {**SMALL, "image_size": 32, "patch_size": 8}
CONFIGS = {
    "clip": {"text_config": ENDS, "vision_config": VISION, "projection_dim": 16},
    "siglip": {"text_config": {**ENDS, "projection_size": 32}, "vision_config": VISION},
    "align": {
        "text_config": TEXT,
        "vision_config": {"image_size": 64, "width_coefficient": 0.1, "depth_coefficient": 0.1, "hidden_dim": 32},
        "projection_dim": 32,
    },
    "blip": {
        "text_config": {**ENDS, "encoder_hidden_size": 32, "sep_token_id": 11},
        "vision_config": VISION,
        "projection_dim": 16,
        "image_text_hidden_size": 16,
    },
}
CLASSES = {
    "clip": "CLIPModel",
    "siglip": "SiglipModel",
    "align": "AlignModel",
    "blip": "BlipForImageTextRetrieval",
}
CROP = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
PROCESSORS = {
    "clip": ("CLIPImageProcessor", CROP),
    "siglip": ("SiglipImageProcessor", {"size": {"height": 32, "width": 48}}),  # its positions are stretched
    "align": ("EfficientNetImageProcessor", {"size": {"height": 64, "width": 64}, "do_center_crop": False}),
    "blip": ("BlipImageProcessor", {"size": {"height": 32, "width": 32}}),
}
OPTIONS = {
    "tirg": {"width": 24},
    "tirg-spatial": {"width": 8},
    "film": {"width": 12, "blocks": 2},
    "cross-attention": {"width": 16, "heads": 2, "layers": 2},
    "combiner": {"width": 12},
    "inversion": {"width": 24},
    "qformer": {"width": 16, "heads": 2, "layers": 2, "queries": 3},
}
READ_PATCHES = {"tirg-spatial", "film", "cross-attention", "qformer"}
TEXTS = ["make it red", "a blue photo of it"]


def make_tower(kind, folder):
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 11)]
    )
    names = {"bos_token": "<start>", "eos_token": "<end>", "pad_token": "<pad>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    name, options = PROCESSORS[kind]
    getattr(transformers, name)(**options).save_pretrained(folder)
    torch.manual_seed(0)
    model_class = getattr(transformers, CLASSES[kind])
    model = model_class(model_class.config_class(**CONFIGS[kind])).eval()
    with torch.no_grad():
        for value in model.parameters():
            if value.ndim > 1:  # the usual small random weights hardly let anything through
                value.normal_(0, value[0].numel() ** -0.5)
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Kind to its folder and the model that was saved there, made when it is first asked for."""
    made = {}

    def get(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            made[kind] = folder, make_tower(kind, folder)
        return made[kind]

    return get


@pytest.fixture(params=sorted(METHODS))
def method(request):
    return request.param


def compose(folder, method, **more):
    torch.manual_seed(1)
    return FusionComposer.from_tower(folder, method, **{**OPTIONS[method], **more})


@pytest.fixture
def composer(saved, method):
    return compose(saved("clip")[0], method)


@pytest.fixture
def inputs(composer, picture):
    return composer.preprocess([picture, picture.rotate(180)], TEXTS, [picture.rotate(90)] * 2).tensors


# ------------------------------------------------------------------------------------- the equations, in plain torch


def linear(p, name, x):
    return F.linear(x, p[f"{name}.weight"], p.get(f"{name}.bias"))


def conv(p, name, x):
    weight = p[f"{name}.weight"]
    return F.conv2d(x, weight, p[f"{name}.bias"], padding=weight.shape[-1] // 2)


def norm(p, name, x):
    return F.layer_norm(x, x.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"])


def attend(p, name, x, memory, mask, heads=2):
    query = linear(p, f"{name}.query", x)
    key, value = linear(p, f"{name}.key_value", memory).chunk(2, -1)
    query, key, value = (one.unflatten(-1, (heads, -1)).transpose(1, 2) for one in (query, key, value))
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])
    return linear(p, f"{name}.out", mixed.transpose(1, 2).flatten(2))


def mlp(p, name, x):
    return linear(p, f"{name}.mlp.2", F.gelu(linear(p, f"{name}.mlp.0", norm(p, f"{name}.norm2", x))))


def tirg(p, i, t, **_):
    both = torch.cat([i, t], 1)
    gate = linear(p, "gate.2", linear(p, "gate.0", both).relu()).sigmoid() * i
    residual = linear(p, "residual.2", linear(p, "residual.0", both).relu())
    return p["weights"][0] * gate + p["weights"][1] * residual


def tirg_spatial(p, i, t, grid, **_):
    both = torch.cat([grid, t[:, :, None, None] * torch.ones_like(grid[:, :1])], 1)
    gate = conv(p, "gate.2", conv(p, "gate.0", both).relu()).sigmoid() * grid
    residual = conv(p, "residual.2", conv(p, "residual.0", both).relu())
    changed = p["weights"][0] * gate + p["weights"][1] * residual
    return i + linear(p, "out", changed.mean((2, 3)) - grid.mean((2, 3)))


def film(p, i, t, grid, **_):
    x = conv(p, "enter", grid).relu()
    for k in range(2):
        h = conv(p, f"blocks.{k}.enter", x).relu()
        y = conv(p, f"blocks.{k}.look", h)
        y = (y - y.mean((1, 2, 3), keepdim=True)) / (y.var((1, 2, 3), keepdim=True, correction=0) + 1e-5).sqrt()
        gain, bias = linear(p, f"blocks.{k}.modulation", t).chunk(2, 1)
        x = h + ((1 + gain[..., None, None]) * y + bias[..., None, None]).relu()
    return i + linear(p, "out", x.mean((2, 3)))


def cross_attention(p, i, grid, words, mask, asks="patches", **_):
    patches = linear(p, "patches", grid.flatten(2).mT)
    words, seen = linear(p, "words", words), torch.ones(len(i), patches.shape[1]).bool()
    x, own, memory, known = (patches, seen, words, mask) if asks == "patches" else (words, mask, patches, seen)
    for k in range(2):
        x = x + attend(p, f"blocks.{k}.attention", norm(p, f"blocks.{k}.norm1", x), memory, known)
        x = x + mlp(p, f"blocks.{k}", x)
    pooled = torch.stack([one[kept].mean(0) for one, kept in zip(x, own, strict=True)])
    return i + linear(p, "out", norm(p, "norm", pooled))


def combiner(p, i, t, **_):
    both = torch.cat([F.gelu(linear(p, "combiner.image.0", i)), F.gelu(linear(p, "combiner.text.0", t))], 1)
    gate = linear(p, "combiner.gate.2", F.gelu(linear(p, "combiner.gate.0", both))).sigmoid()
    mixed = linear(p, "combiner.mix.3", F.gelu(linear(p, "combiner.mix.0", both)))
    return mixed + gate * t + (1 - gate) * i


def inversion(p, i, speak, text, **_):
    word = linear(p, "word.6", linear(p, "word.3", linear(p, "word.0", i).relu()).relu())
    return speak(word, text)


def qformer(p, i, grid, words, mask, text=True, **_):
    memory = linear(p, "patches", grid.flatten(2).mT)
    seen = torch.ones(len(i), memory.shape[1]).bool()
    queries, spoken = p["queries"].repeat(len(i), 1, 1), linear(p, "words", words)
    if not text:
        spoken, mask = spoken[:, :0], mask[:, :0]
    for k in range(2):
        both = torch.cat([queries, spoken], 1)
        y = norm(p, f"blocks.{k}.norm0", both)
        both = both + attend(p, f"blocks.{k}.itself", y, y, torch.cat([torch.ones(len(i), 3).bool(), mask], 1))
        queries, spoken = both[:, :3], both[:, 3:]
        queries = queries + attend(p, f"blocks.{k}.attention", norm(p, f"blocks.{k}.norm1", queries), memory, seen)
        queries, spoken = queries + mlp(p, f"blocks.{k}", queries), spoken + mlp(p, f"blocks.{k}", spoken)
    return linear(p, "out", norm(p, "norm", queries.mean(1)))


EQUATIONS = {
    "tirg": tirg,
    "tirg-spatial": tirg_spatial,
    "film": film,
    "cross-attention": cross_attention,
    "combiner": combiner,
    "inversion": inversion,
    "qformer": qformer,
}


def spoken_by(model):
    """A prompt with a pseudo-word: one more row in the table of token embeddings."""

    def speak(word, texts):
        table, vectors = model.text_model.embeddings.token_embedding.weight, []
        for vector, text in zip(word, texts, strict=True):
            tail = ["that", *text.split()] if text else []
            ids = [1, 6, 7, 8, len(WORDS), *map(WORDS.index, tail), 11]
            replaced = {"text_model.embeddings.token_embedding.weight": torch.cat([table, vector[None]])}
            call = {"input_ids": torch.tensor([ids]), "pixel_values": torch.zeros(1, 3, 32, 32)}
            vectors.append(functional_call(model, replaced, (), call).text_embeds[0])
        return torch.stack(vectors)

    return speak


def by_hand(method, composer, model, pixels, texts, **more):
    """Composed embeddings, those without text, those of a gallery, and the layer's output; nothing of the package's."""
    ids = [[1, *map(WORDS.index, text.split()), 11] for text in texts]
    width = max(map(len, ids))
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids])
    ids = torch.tensor([row + [0] * (width - len(row)) for row in ids])
    outputs = []
    layer = model.vision_model.encoder.layers[-1].layer_norm1
    handle = layer.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    seen = model(pixel_values=pixels, input_ids=ids, attention_mask=mask)
    handle.remove()
    parameters = dict(composer.fusion.named_parameters())
    given = {
        "i": seen.image_embeds,
        "t": seen.text_embeds,
        "grid": outputs[0][:, 1:].unflatten(1, (4, 4)).permute(0, 3, 1, 2),
        "words": seen.text_model_output.last_hidden_state,
        "mask": mask.bool(),
        "speak": spoken_by(model),
        **more,
    }
    f = EQUATIONS[method]
    composed = f(parameters, **given, text=texts)
    before = seen.image_embeds
    if method in {"inversion", "qformer"}:
        before = f(parameters, **given, text=[""] * len(texts) if method == "inversion" else False)
    gallery = seen.image_embeds if method == "inversion" else before
    return composed, before, gallery, outputs[0]


def test_the_equation(composer, method, inputs, saved):
    output, model = composer(**inputs), saved("clip")[1]
    composed, before, _, _ = by_hand(method, composer, model, inputs["pixel_values"], TEXTS)
    torch.testing.assert_close(output.embedding, composed, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(output.shift, composed - before, atol=1e-5, rtol=1e-4)
    composed, before, gallery, _ = by_hand(method, composer, model, inputs["target_pixel_values"], TEXTS)
    torch.testing.assert_close(output.target, gallery, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(output.target_composed, composed, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(output.target_shift, composed - before, atol=1e-5, rtol=1e-4)
    assert output.shift.abs().max() > 0.01


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # a random model may have an empty map
@pytest.mark.parametrize("score", ["shift", "similarity"])
def test_the_map_is_plain_grad_cam(composer, method, inputs, saved, score):
    model = saved("clip")[1]
    explanation = MMGrad(composer, score=score)(**inputs)
    composed, before, _, activation = by_hand(method, composer, model, inputs["pixel_values"], TEXTS)
    _, _, gallery, _ = by_hand(method, composer, model, inputs["target_pixel_values"], TEXTS)
    shift = composed - before
    value = (shift * shift.detach()).sum() if score == "shift" else torch.cosine_similarity(composed, gallery).sum()
    (gradient,) = torch.autograd.grad(value, activation)
    activation, gradient = (one[:, 1:].unflatten(1, (4, 4)).permute(0, 3, 1, 2) for one in (activation, gradient))
    expected = (gradient.mean((2, 3), keepdim=True) * activation).sum(1).detach()
    signed = explanation.signed[composer.target_layer][0]
    assert composer.target_layer == "tower.model.vision_model.encoder.layers.1.layer_norm1"
    torch.testing.assert_close(signed / expected.abs().max(), expected / expected.abs().max(), atol=1e-4, rtol=1e-3)
    assert expected.abs().max() > 1e-6


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")
def test_two_texts_a_batch_and_a_target(composer, picture, shared):
    """Two texts give two maps, a batch what its samples give alone, a target a map of its own that disturbs none."""
    turned = picture.rotate(180)
    pairs = list(zip([picture, turned, picture], [TEXTS[0], *TEXTS], strict=True))
    assert composer.default_score == "shift"
    composer.train()
    with shared.left_alone(composer):
        together = explain([one for one, _ in pairs], [text for _, text in pairs], [turned] * 3, composer)
        maps, of_targets = together.signed[composer.target_layer]
        top, top_of_targets = maps.abs().max(), of_targets.abs().max()
        assert (maps[0] - maps[2]).abs().max() > 0.003 * top
        for index, (one, text) in enumerate(pairs):
            alone = explain(one, text, model=composer).signed[composer.target_layer][0][0]
            torch.testing.assert_close(maps[index] / top, alone / top, atol=1e-3, rtol=1e-3)
            own = explain(turned, text, model=composer).signed[composer.target_layer][0][0] / top_of_targets
            torch.testing.assert_close(of_targets[index] / top_of_targets, own, atol=1e-3, rtol=1e-3)


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")
def test_many_texts_of_one_picture_are_one_encoding(composer, picture, monkeypatch):
    calls = []
    whole = composer.encode_image
    monkeypatch.setattr(composer, "encode_image", lambda pixels: calls.append(len(pixels)) or whole(pixels))
    together = explain(picture, TEXTS, model=composer).signed[composer.target_layer][0]
    assert calls == [1]
    for index, text in enumerate(TEXTS):
        alone = explain(picture, text, model=composer).signed[composer.target_layer][0][0]
        torch.testing.assert_close(together[index] / alone.abs().max(), alone / alone.abs().max(), atol=1e-3, rtol=1e-3)


def test_an_empty_text_changes_nothing(composer, method, picture, saved):
    prepared = composer.preprocess([picture] * 2, [" ", TEXTS[0]], [picture] * 2)
    output = composer(**prepared.tensors)
    assert output.shift[0].abs().max() == 0
    assert output.shift[1].abs().max() > 0.01
    _, before, gallery, _ = by_hand(method, composer, saved("clip")[1], prepared.tensors["pixel_values"], TEXTS)
    torch.testing.assert_close(output.embedding[0], before[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(output.target[0], gallery[0], atol=1e-5, rtol=1e-4)
    if method != "inversion":  # which speaks of the picture in words
        torch.testing.assert_close(output.embedding[0], output.target[0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("method", ["cross-attention"], indirect=True)
def test_words_can_ask(method, inputs, saved):
    folder, model = saved("clip")
    composer = compose(folder, method, asks="words")
    composed, _, _, _ = by_hand(method, composer, model, inputs["pixel_values"], TEXTS, asks="words")
    torch.testing.assert_close(composer(**inputs).embedding, composed, atol=1e-5, rtol=1e-4)


def test_words_are_explained(composer, method, picture):
    """Also those in a prompt, at their own places in it."""
    (words,) = explain(picture, TEXTS[0], model=composer, words=True).words
    assert [word.text for word in words] == TEXTS[0].split()
    first = 6 if method == "inversion" else 1  # <start> a photo of $ that
    assert [word.positions for word in words] == [(first,), (first + 1,), (first + 2,)]
    assert any(word.value for word in words)


@pytest.mark.parametrize("method", ["film", "inversion", "qformer"], indirect=True)
def test_threads_do_not_disturb_one_another(composer, picture):
    pictures = [picture.rotate(45 * turn) for turn in range(4)]
    alone = [explain(one, TEXTS[turn % 2], model=composer).maps for turn, one in enumerate(pictures)]
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(explain, one, TEXTS[turn % 2], model=composer) for turn, one in enumerate(pictures)]
    for job, expected in zip(jobs, alone, strict=True):
        torch.testing.assert_close(job.result().maps, expected, atol=1e-6, rtol=1e-4)
    assert not any(module._forward_hooks for module in composer.modules())


def test_the_guide_has_every_method_and_option():
    guide = (Path(__file__).parents[3] / "docs" / "composers.md").read_text(encoding="utf-8")
    for name, kind in METHODS.items():
        assert f"| `{name}` |" in guide
        assert all(f"`{option}`" in guide for option in inspect.signature(kind).parameters if option != "sizes")


# --------------------------------------------------------------------------------------------------------------- files


def test_saving(composer, method, inputs, tmp_path):
    composer.save_pretrained(tmp_path / "model")
    files = [path for path in (tmp_path / "model").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".safetensors"}
    assert len({path.stat().st_mode for path in files}) == 1  # whoever reads one reads all
    read = load_composer(tmp_path / "model")
    assert isinstance(read, FusionComposer)
    assert (read.name, read.method, read.training) == ("model", method, False)
    assert read.target_layer == composer.target_layer
    for one, other in zip(read(**inputs), composer(**inputs), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("method", ["film", "inversion"], indirect=True)
def test_on_the_command_line(composer, picture_file, tmp_path, capsys):
    composer.save_pretrained(tmp_path / "model")
    out = tmp_path / "where.png"
    command = ["overlay", str(picture_file), "make it red", "--model", str(tmp_path / "model"), "--out", str(out)]
    assert main([*command, "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert (result["score_name"], result["grid"]) == ("shift", [4, 4])
    assert Image.open(out).size[0] >= 60


@pytest.mark.parametrize("method", ["inversion"], indirect=True)
def test_another_prompt_is_saved(saved, method, picture, tmp_path):
    composer = compose(saved("clip")[0], method, prompt="$ that {text}")
    assert composer.processor.place == 1
    ids, mask = composer.processor.encode_texts(["make it red", ""])
    assert ids[0].tolist() == [1, 3, 9, 2, 3, 4, 11]
    assert mask[1].sum() == 0
    assert composer.blank_ids.tolist() == [[1, 3, 11]]
    composer.save_pretrained(tmp_path)
    read = load_composer(tmp_path)
    assert read.processor.prompt == "$ that {text}"
    inputs = composer.preprocess([picture], TEXTS[:1]).tensors
    torch.testing.assert_close(read(**inputs).embedding, composer(**inputs).embedding)
    torch.testing.assert_close(composer.processor.encode_texts(TEXTS[:1])[0], inputs["input_ids"])


@pytest.mark.parametrize("method", ["tirg"], indirect=True)
def test_folders_that_are_none(composer, saved, tmp_path):
    with pytest.raises(InputError, match="holds a 'clip' model, not a 'mmgrad_fusion' one"):
        FusionComposer.from_pretrained(saved("clip")[0])
    composer.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for wrong in ({"options": {"width": 25}}, {"sizes": {"embed": 3}}, {"options": None}):
        (tmp_path / "config.json").write_text(json.dumps({**config, **wrong}))
        with pytest.raises(InputError, match=r"the weights in .* do not fit its config.json"):
            FusionComposer.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config, "method": "tierg"}))
    with pytest.raises(InputError, match=r"fusion: there is no 'tierg'; did you mean 'tirg'\?"):
        FusionComposer.from_pretrained(tmp_path)
    shutil.rmtree(tmp_path / "tower")
    with pytest.raises(InputError, match=r"has no tower.config.json"):
        FusionComposer.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no model.safetensors"):
        FusionComposer.from_pretrained(tmp_path)


# -------------------------------------------------------------------------------------------------------------- towers

GRIDS = {"siglip": (4, 6), "align": (2, 2), "blip": (4, 4)}


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")
@pytest.mark.parametrize("kind", sorted(GRIDS))
def test_on_other_towers(kind, method, saved, picture):
    """The map is Grad-CAM of the shift at the explained layer, whichever tower stands below."""
    composer = compose(saved(kind)[0], method)
    explanation = explain([picture] * 2, TEXTS, picture.rotate(180), composer)
    signed = explanation.signed[composer.target_layer]
    assert len(signed) == 2
    assert signed[0].shape == (2, *GRIDS[kind])
    assert (signed[0][0] - signed[0][1]).abs().max() > 1e-4 * signed[0].abs().max() > 0
    outputs = []
    handle = composer.get_submodule(composer.target_layer).register_forward_hook(
        lambda _module, _inputs, output: outputs.append(tokens_in(output))
    )
    output = composer(**composer.preprocess([picture] * 2, TEXTS).tensors)
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
    composer = compose(saved(kind)[0], "film")
    pixels = np.full((48, 64, 3), 128, np.uint8)
    row, column = corner
    marked = pixels.copy()
    marked[row : row + 10, column : column + 10] = (255, 0, 0)
    prepared = composer.preprocess([Image.fromarray(pixels), Image.fromarray(marked)], TEXTS)
    with torch.no_grad():
        grid = composer.encode_image(prepared.tensors["pixel_values"]).grid
    change = (grid[1] - grid[0]).square().sum(0)
    found = prepared.placements[1].to_original(change.numpy())
    y, x = np.unravel_index(found.argmax(), found.shape)
    assert max(abs(y - (row + 4.5)), abs(x - (column + 4.5))) < 5 + 48 / min(change.shape)


@pytest.mark.parametrize("kind", ["align", "blip", "clip", "siglip"])
def test_arrays_become_what_the_towers_own_processor_makes_of_pictures(kind, saved):
    processor = compose(saved(kind)[0], "tirg").processor
    size = processor.encode_images([Image.new("RGB", (64, 64))])[1][0].input
    pictures = np.random.default_rng(0).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    expected, _ = processor.encode_images([Image.fromarray(one) for one in pictures])
    torch.testing.assert_close(processor.normalise(pictures), expected, atol=1e-4, rtol=1e-4)


def test_half_precision(saved, picture, method):
    """Everything in bfloat16, as large models are kept."""
    composer = compose(saved("clip")[0], method)
    inputs = composer.preprocess([picture], TEXTS[:1]).tensors
    expected = composer(**inputs).shift
    composer.to(torch.bfloat16)
    found = composer(**{**inputs, "pixel_values": inputs["pixel_values"].bfloat16()}).shift
    assert found.dtype == torch.bfloat16
    assert torch.cosine_similarity(found.float(), expected).item() > 0.95


# ---------------------------------------------------------------------------------------------------- what goes wrong


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
    make_tower("clip", tmp_path / "bert")  # for its tokenizer
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    bert = transformers.BertModel(transformers.BertConfig(vocab_size=len(WORDS), max_position_embeddings=24, **small))
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
    inputs = composer.preprocess(pictures, TEXTS).tensors
    grid = composer.encode_image(inputs["pixel_values"]).grid
    change = (grid[1] - grid[0]).square().sum(0)
    assert grid.shape == (2, 32, 8, 12)
    assert divmod(int(change.argmax()), 12) == (5, 9)
    assert explain(picture, TEXTS[0], model=composer).maps.shape == (1, 8, 12)
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
    inputs = composer.preprocess([picture], TEXTS[:1]).tensors
    assert composer.encode_image(inputs["pixel_values"]).grid.shape == (1, 32, 4, 6)
    assert {layer for layer, *_ in asked} == {"model.vision_model.post_layernorm"}
    assert composer.layout_for(composer.target_layer, **inputs)(torch.rand(1, 24, 32)).shape == (1, 32, 4, 6)
    assert composer.layout_for("fusion.enter", **inputs) is None
    assert explain(picture, TEXTS[0], model=composer).maps.shape == (1, 4, 6)
    assert not hasattr(compose(saved("clip")[0], "tirg"), "layout_for")


def test_a_tower_that_cannot_be_saved(saved, tmp_path):
    class Own(DualEncoder):
        encode_image = embed_text = None

    composer = compose(saved("clip")[0], "tirg")
    composer.tower = Own()
    with pytest.raises(InputError, match="Own cannot be saved: it has no save_pretrained"):
        composer.save_pretrained(tmp_path / "none")
    composer.tower.save_pretrained = lambda folder: folder.mkdir()
    composer.save_pretrained(tmp_path / "own")
    assert (tmp_path / "own" / "tower").is_dir()


def test_a_tower_is_saved_without_a_word(saved, tmp_path, capfd):
    compose(saved("clip")[0], "tirg").save_pretrained(tmp_path)
    assert capfd.readouterr() == ("", "")
    assert (tmp_path / "tower" / "model.safetensors").stat().st_mode == (tmp_path / "config.json").stat().st_mode
