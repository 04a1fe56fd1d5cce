"""Models of open_clip, each small and random, saved by open_clip's own writer."""

import json
import shutil
import sys

import numpy as np
import open_clip
import pytest
import torch
import transformers
from open_clip.push_to_hf_hub import save_for_hf
from open_clip.transform import image_transform_v2
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from mmgrad_explain import explain
from mmgrad_explain.composers.fusion.composer import FusionComposer
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.composers.openclip import composer as openclip
from mmgrad_explain.composers.openclip.composer import OpenClipComposer, grid_layer_of
from mmgrad_explain.composers.openclip.processor import fast_tokenizer, open_clip_tokenizer
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.config_file import config_from
from mmgrad_explain.training.run import train

TEXTS = ["make it red", "a blue square, made larger"]
TEXT = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
SHORT = {**TEXT, "context_length": 11, "embed_cls": True, "output_tokens": True}
VIT = {"image_size": [32, 48], "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
POOL = {"attentional_pool": True, "attn_pooler_queries": 3, "attn_pooler_heads": 2}
COCA = {"text_cfg": SHORT, "multimodal_cfg": {**TEXT, "attn_pooler_heads": 2}, "custom_text": True}
WIDE = {**COCA, "embed_dim": 32}
TIMM = {"timm_model_name": "test_vit", "timm_model_pretrained": False, "image_size": 160}
CONFIGS = {
    "class token": {"vision_cfg": VIT, "quick_gelu": True},
    "custom text": {"vision_cfg": {**VIT, "pool_type": "tok"}, "custom_text": True, "init_logit_bias": -10},
    "average": {"vision_cfg": {**VIT, "pool_type": "avg"}},
    "late norm": {"vision_cfg": {**VIT, "pool_type": "avg", "final_ln_after_pool": True}},
    "attention pool": {"vision_cfg": {**VIT, **POOL, "pool_type": "avg"}},
    "CoCa": {"vision_cfg": {**VIT, **POOL, "output_tokens": True}, **COCA},
    "CoCa, parallel": {"vision_cfg": {**VIT, **POOL, "attentional_pool": "parallel", "output_tokens": True}, **WIDE},
    "CoCa, cascade": {"vision_cfg": {**VIT, **POOL, "attentional_pool": "cascade", "output_tokens": True}, **WIDE},
    "ResNet": {"vision_cfg": {"image_size": 128, "layers": [1, 1, 1, 1], "width": 8, "head_width": 16}},
    "timm ViT": {"vision_cfg": {**TIMM, "timm_pool": "", "timm_proj": "linear"}, "custom_text": True},
    "timm ConvNeXt": {"vision_cfg": {**TIMM, "timm_model_name": "test_convnext", "timm_pool": "", "timm_proj": "mlp"}},
    "timm, attention pool": {
        "vision_cfg": {**TIMM, "timm_model_name": "test_efficientnet", "timm_pool": "rot_attn", "timm_proj": ""}
    },
}
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
PREPROCESS = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4), "interpolation": "bilinear", "resize_mode": "shortest"}


class NoTokenizer:
    def save_pretrained(self, folder):
        pass


def config_of(kind):
    return json.loads(json.dumps({"embed_dim": 16, "text_cfg": TEXT, **CONFIGS[kind]}))


def save_model(config, folder, tokenizer=None):
    torch.manual_seed(0)
    given = dict(config)
    given["text_cfg"], given["vision_cfg"] = dict(given["text_cfg"]), dict(given["vision_cfg"])
    custom = given.pop("custom_text", False)
    kind = open_clip.CoCa if "multimodal_cfg" in given else open_clip.CustomTextCLIP if custom else open_clip.CLIP
    model = kind(**given).eval()
    with torch.no_grad():
        for module in model.modules():
            for name, value in module._parameters.items():
                if value is not None and value.ndim > 1 and value.shape[0] < 40_000:
                    value.normal_(0, value[0].numel() ** -0.5)
                elif value is not None and name == "weight" and value.ndim == 1:
                    value.fill_(1)
    model.visual.image_mean, model.visual.image_std = PREPROCESS["mean"], PREPROCESS["std"]
    model.visual.preprocess_cfg = dict(PREPROCESS)
    save_for_hf(model, tokenizer or NoTokenizer(), config, folder, safe_serialization=True)
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    made = {}

    def get(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp("openclip")
            model = save_model(config_of(kind), folder)
            made[kind] = folder, model, load_composer(folder)
        return made[kind]

    return get


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
@pytest.mark.parametrize("kind", CONFIGS)
def test_the_map_is_plain_grad_cam(kind, saved, picture, shared):
    """On the model as it was saved, with open_clip's own transform and tokenizer."""
    _, model, composer = saved(kind)
    layer, grid, prefix = PLACES[kind]
    explanation = explain([picture] * 2, TEXTS, model=composer)
    config = open_clip.transform.PreprocessCfg(**PREPROCESS, size=model.visual.image_size)
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
    one = explain(picture, TEXTS, model=composer)  # one encoding for both texts
    shared.same_map(one.signed[composer.target_layer][0], expected)


@pytest.mark.parametrize("cell", [(0, 1), (2, 0), (3, 2)])
@pytest.mark.parametrize("kind", CONFIGS)
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


def test_where_it_was_on_the_picture(saved):
    """A mark on the original's own pixels, through resize and crop and back."""
    composer = saved("class token")[2]
    pixels = np.full((96, 80, 3), 128, np.uint8)
    marked = pixels.copy()
    marked[40:50, 60:70] = (255, 0, 0)
    tensor, places = composer.processor.encode_images([Image.fromarray(pixels), Image.fromarray(marked)])
    found = places[1].to_original((tensor[1] - tensor[0]).square().sum(0).numpy())
    y, x = np.unravel_index(found.argmax(), found.shape)
    assert 40 <= y < 50
    assert 60 <= x < 70


@pytest.mark.parametrize("kind", ["class token", "CoCa", "timm ViT"])
def test_a_batch_is_a_loop_and_the_model_is_left_alone(kind, saved, picture, shared):
    shared.batch_is_a_loop(saved(kind)[2], [picture, picture.rotate(180)], TEXTS)


def test_texts_and_words(saved, picture):
    composer = saved("class token")[2]
    prepared = composer.preprocess([picture] * 2, ["", "red " * 20])
    assert [note.text for note in prepared.notices] == ["the text has 22 tokens, the model takes 12: the rest was cut"]
    assert prepared.tensors["attention_mask"].tolist() == [[0] * 12, [1] * 12]
    assert not composer(**prepared.tensors).text[0].any()
    explanation = explain(picture, "make the crescents red", model=composer, words=True)
    assert [word.text for word in explanation.words[0]] == ["make", "the", "crescents", "red"]


@pytest.mark.parametrize("text", ["a photo of a cat's 12 toys!!", "Make the Blüe crescent red... won't", "日本 ok"])
def test_words_are_told_by_the_same_tokens(text):
    simple = open_clip.SimpleTokenizer()
    assert fast_tokenizer(simple).encode(text).ids == [49406, *simple.encode(text), 49407]


def word_tokenizer():
    words = ["<pad>", "<s>", "</s>", "<unk>", "make", "it", "red", "a", "blue", "square"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


@pytest.fixture
def with_roberta(tmp_path):
    """A folder whose text tower and tokenizer are of transformers."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    text = transformers.RobertaConfig(**sizes, vocab_size=10, max_position_embeddings=16, pad_token_id=0)
    text.save_pretrained(tmp_path / "text")
    named = {"hf_model_name": str(tmp_path / "text"), "hf_tokenizer_name": "owner/tokenizer", "hf_proj_type": "linear"}
    text_config = {**named, "context_length": 8, "hf_pooler_type": "mean_pooler", "hf_model_pretrained": False}
    config = {"embed_dim": 16, "vision_cfg": VIT, "text_cfg": text_config, "custom_text": True}
    model = save_model(config, tmp_path / "model", word_tokenizer())
    return tmp_path / "model", model


def test_a_text_tower_of_transformers(with_roberta, picture):
    folder, model = with_roberta
    composer = load_composer(folder)
    prepared = composer.preprocess([picture] * 2, ["make it red", "a blue square make it red make"])
    assert prepared.tensors["input_ids"][0].tolist() == [1, 4, 5, 6, 2, 0, 0, 0]
    assert prepared.tensors["attention_mask"][0].tolist() == [1, 1, 1, 1, 1, 0, 0, 0]
    assert [note.text for note in prepared.notices] == ["the text has 9 tokens, the model takes 8: the rest was cut"]
    expected = model.encode_text(prepared.tensors["input_ids"], normalize=True)
    torch.testing.assert_close(composer(**prepared.tensors).text, expected)
    explanation = explain(picture, "make it red", model=composer, words=True)
    assert [word.text for word in explanation.words[0]] == ["make", "it", "red"]


def test_a_tokenizer_that_is_elsewhere_is_fetched(with_roberta, tmp_path, monkeypatch):
    folder, _ = with_roberta
    word_tokenizer().save_pretrained(tmp_path / "fetched")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).unlink()
    asked = []
    monkeypatch.setattr(
        "mmgrad_explain.composers.load.fetch", lambda name, *_: asked.append(name) or tmp_path / "fetched"
    )
    assert load_composer(folder).processor.tokenizer.vocab_size == 10
    assert asked == ["owner/tokenizer"]
    (tmp_path / "fetched" / "tokenizer.json").write_text("{")
    with pytest.raises(InputError, match=r"the tokenizer of .* cannot be read"):
        load_composer(folder)
    monkeypatch.undo()
    monkeypatch.setattr("huggingface_hub.snapshot_download", _no_hub)
    with pytest.raises(InputError, match="check the network, or put its files into the model's folder"):
        load_composer(folder)


def _no_hub(*_args, **_options):
    from huggingface_hub.errors import LocalEntryNotFoundError

    raise LocalEntryNotFoundError("offline")


def test_options_of_a_tokenizer_never_run_code(tmp_path):
    word_tokenizer().save_pretrained(tmp_path)
    options = {"hf_tokenizer_name": "a/b", "tokenizer_kwargs": {"trust_remote_code": True, "clean": "lower"}}
    made = open_clip_tokenizer(options, tmp_path)
    assert made.context_length == 77
    assert made(["RED"]).shape == (1, 77)


@pytest.mark.parametrize("form", ["open_clip_pytorch_model.bin", "open_clip_pytorch_model.safetensors"])
def test_other_weight_files(form, saved, picture, tmp_path):
    folder, _, composer = saved("class token")
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "open_clip_model.safetensors").rename(tmp_path / form)
    if form.endswith(".bin"):
        torch.save(dict(composer.model.state_dict()), tmp_path / form)
    expected = explain(picture, TEXTS[0], model=composer).maps
    torch.testing.assert_close(explain(picture, TEXTS[0], model=tmp_path).maps, expected)
    (tmp_path / form).unlink()
    with pytest.raises(
        InputError, match=r"no weights of open_clip: expected open_clip_model.safetensors \(or open_clip"
    ):
        load_composer(tmp_path)


class Harmful:
    def __reduce__(self):
        return print, ("never",)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (
            lambda folder, config: config["model_cfg"].update(embed_dim=8),
            "cannot be loaded as a model of open_clip: Err",
        ),
        (lambda folder, config: config["model_cfg"].update(colour="red"), "unexpected keyword argument 'colour'"),
        (
            lambda folder, config: config["model_cfg"]["vision_cfg"].update(timm_model_name="hf-hub:a/b"),
            r"must not load weights from elsewhere \(hf-hub:a/b\)",
        ),
        (lambda folder, config: config.pop("model_cfg"), "describes no model: it has no model_cfg"),
        (
            lambda folder, config: config["model_cfg"]["text_cfg"].update(tokenizer_kwargs={"colour": 1}),
            "the tokenizer of .* cannot be read: .*colour",
        ),
        (
            lambda folder, config: (folder / "open_clip_model.safetensors").write_bytes(b"x" * 20),
            "cannot be loaded as a model of open_clip",
        ),
        (
            lambda folder, config: (
                (folder / "open_clip_model.safetensors").unlink(),
                torch.save({"a": Harmful()}, folder / "open_clip_pytorch_model.bin"),
            ),
            "cannot be loaded as a model of open_clip: Weights only load failed",
        ),
    ],
)
def test_folders_that_cannot_be_used(break_it, message, saved, tmp_path):
    shutil.copytree(saved("class token")[0], tmp_path, dirs_exist_ok=True)
    path = tmp_path / "open_clip_config.json"
    config = json.loads(path.read_text())
    break_it(tmp_path, config)
    path.write_text(json.dumps(config))
    with pytest.raises(InputError, match=message):
        load_composer(tmp_path)


def test_a_damaged_config(tmp_path):
    (tmp_path / "open_clip_config.json").write_text("{")
    with pytest.raises(InputError, match=r"open_clip_config.json cannot be read"):
        load_composer(tmp_path)


def test_a_tower_without_one_embedding_is_refused():
    visual = open_clip.CLIP(16, {**VIT, "pool_type": "none"}, TEXT).visual
    with pytest.raises(InputError, match="does not pool its patches into one embedding"):
        grid_layer_of(visual, (32, 48))


def test_without_open_clip(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(InputError, match=r'pip install "mmgrad-explain\[openclip\]"'):
        load_composer(saved("class token")[0])


def test_which_model_of_a_folder_is_taken(saved, tmp_path, tiny_folder):
    """A transformers model beside it is taken, unless the name begins as open_clip's users write it."""
    shutil.copytree(tiny_folder, tmp_path / "both")
    shutil.copytree(saved("class token")[0], tmp_path / "both", dirs_exist_ok=True)
    assert not isinstance(load_composer(tmp_path / "both"), OpenClipComposer)
    named = load_composer(f"local-dir:{tmp_path / 'both'}")
    assert isinstance(named, OpenClipComposer)
    assert named.name == "both"
    (tmp_path / "both" / "config.json").write_text(json.dumps({"architecture": "vit"}))  # as timm writes it
    assert isinstance(load_composer(tmp_path / "both"), OpenClipComposer)


@pytest.mark.parametrize("file", openclip.WEIGHT_FILES[::2])
def test_hub_ids(file, saved, tmp_path, tiny_folder, monkeypatch):
    """Config and tokenizer first, then the weights of the one model that is wanted."""
    shutil.copytree(tiny_folder, tmp_path / "both")
    shutil.copytree(saved("class token")[0], tmp_path / "both", dirs_exist_ok=True)
    if file.endswith(".bin"):
        torch.save(dict(saved("class token")[1].state_dict()), tmp_path / "both" / file)
        (tmp_path / "both" / "open_clip_model.safetensors").unlink()
    asked = []

    def download(hub_id, allow_patterns, **_):
        asked.append((hub_id, [one for one in allow_patterns if "model" in one and not one.startswith("*")]))
        return str(tmp_path / "both")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert isinstance(load_composer("hf-hub:owner/name"), OpenClipComposer)
    assert asked[-1] == ("owner/name", [file])
    assert not isinstance(load_composer("owner/name"), OpenClipComposer)
    assert "model*.safetensors" in asked[-1][1]


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


def test_a_tokenizer_of_transformers_is_saved_too(with_roberta, tmp_path):
    composer = load_composer(with_roberta[0])
    composer.save_pretrained(str(tmp_path / "again"))
    again = load_composer(tmp_path / "again")
    (ids, mask), expected = (one.processor.encode_texts(["make it red", "a"]) for one in (again, composer))
    assert torch.equal(ids, expected[0])
    assert torch.equal(mask, expected[1])
    torch.testing.assert_close(again.embed_text(ids, mask), composer.embed_text(ids, mask))


def test_a_model_without_its_config_is_not_saved(saved, tmp_path):
    composer = saved("class token")[2]
    alone = OpenClipComposer(composer.model, composer.processor, "mine")
    with pytest.raises(InputError, match=r"mine cannot be saved: pass the content of its open_clip_config.json as con"):
        alone.save_pretrained(tmp_path)


@pytest.fixture
def square(tmp_path):
    config = config_of("class token")
    config["vision_cfg"]["image_size"] = 32
    save_model(config, tmp_path / "square")
    return load_composer(tmp_path / "square")


def test_pictures_as_arrays_are_prepared_as_files_are(saved, square):
    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    expected, _ = square.processor.encode_images([Image.fromarray(one) for one in pictures])
    assert square.processor.image_size == 32
    torch.testing.assert_close(square.processor.normalise(pictures), expected, atol=1e-5, rtol=1e-5)
    assert not hasattr(saved("class token")[2].processor, "image_size")  # 32 x 48


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


@pytest.mark.parametrize("place", ["in the folder", "below the folder", "elsewhere"])
def test_a_text_tower_without_the_hub(place, with_roberta, picture, tmp_path, monkeypatch):
    """Config and tokenizer that a model names by a hub id lie in its folder, or it names a folder."""
    folder, _ = with_roberta
    expected = explain(picture, TEXTS[0], model=folder)
    where = {"in the folder": folder, "below the folder": folder / "tower", "elsewhere": tmp_path / "other"}[place]
    shutil.copytree(tmp_path / "text", where, dirs_exist_ok=True)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.move(folder / file, where / file)
    shutil.rmtree(tmp_path / "text")
    name = {"in the folder": "owner/tower", "below the folder": "tower", "elsewhere": str(where)}[place]
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"]["text_cfg"] |= {"hf_model_name": name, "hf_tokenizer_name": name}
    path.write_text(json.dumps(config))
    monkeypatch.setattr("huggingface_hub.snapshot_download", _no_hub)
    assert explain(picture, TEXTS[0], model=folder).maps.equal(expected.maps)
    if place == "in the folder":
        (folder / "config.json").unlink()
        with pytest.raises(InputError, match=r"check the network, or put its config\.json into the model's folder"):
            load_composer(folder)
