"""Vision towers of timm beside a small BERT: the layer is found, its grid is read in the right order, folders work."""

import json

import pytest
import timm
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn

from mmgrad_explain import explain
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.composers.towers.composer import TwoTowerComposer, pool_text
from mmgrad_explain.errors import InputError
from mmgrad_explain.notes import Note
from mmgrad_explain.training.config_file import config_from
from mmgrad_explain.training.run import train

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "make", "it", "red", "a", "blue", "square", "the"]
TEXTS = ["make it red", "a blue square"]
BERT = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
SQUARE, WIDE = {"img_size": 64}, {"img_size": (64, 96)}
VIT = {"patch_size": 16, "embed_dim": 32, "depth": 3, "num_heads": 2}
# Name, options, layer, grid, tokens before the patches (None: channels first, -1: channels last).
TOWERS = {
    "class token": ("vit_tiny_patch16_224", {**VIT, **WIDE}, "blocks.2.norm1", (4, 6), 1),
    "registers": ("vit_tiny_patch16_224", {**VIT, **WIDE, "reg_tokens": 4}, "blocks.2.norm1", (4, 6), 5),
    "average": (
        "vit_tiny_patch16_224",
        {**VIT, **WIDE, "global_pool": "avg", "fc_norm": False},
        "norm",
        (4, 6),
        1,
    ),
    "normed average": ("vit_tiny_patch16_224", {**VIT, **WIDE, "global_pool": "avg"}, "blocks.2", (4, 6), 1),
    "SigLIP": ("vit_base_patch16_siglip_224", {**VIT, **WIDE}, "norm", (4, 6), 0),
    "distilled": ("deit_tiny_distilled_patch16_224", {**VIT, **WIDE}, "blocks.2.norm1", (4, 6), 2),
    "EVA-02": ("eva02_tiny_patch14_224", {**VIT, **WIDE}, "blocks.2", (4, 6), 1),
    "BEiT": ("beit_base_patch16_224", {**VIT, **WIDE}, "blocks.2", (4, 6), 1),
    "CaiT": ("cait_xxs24_224", {**VIT, **SQUARE}, "blocks.2", (4, 4), 0),
    "XCiT": ("xcit_nano_12_p16_224", {**VIT, "img_size": 128}, "blocks.2", (8, 8), 0),
    "Mixer": ("mixer_s16_224", SQUARE, "norm", (4, 4), 0),
    "Swin": (
        "swin_tiny_patch4_window7_224",
        {"embed_dim": 16, "depths": (2, 2), "num_heads": (1, 2), "window_size": 4, **WIDE},
        "norm",
        (8, 12),
        -1,
    ),
    "ConvNeXt": ("convnext_atto", {"depths": (1, 1, 1, 1), "dims": (8, 16, 32, 32)}, "stages.3", (2, 3), None),
    "ResNet": ("resnet10t", {"layers": (1, 1, 1, 1), "channels": (8, 16, 32, 64)}, "layer4.0", (2, 3), None),
}


def word_tokenizer():
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=8, **names)


def lively(model):
    """Random weights that let everything through: many are near zero when a model is new."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            for name, value in module._parameters.items():
                if value is not None and value.ndim > 1:
                    value.normal_(0, value[0].numel() ** -0.5, generator=generator)
                elif value is not None and name == "weight":
                    value.fill_(1)
    return model


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=len(WORDS), max_position_embeddings=16, **BERT)
    lively(transformers.BertModel(config)).save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


def build(kind, bert, **more):
    torch.manual_seed(0)
    name, options, *_ = TOWERS[kind]
    size = options.get("img_size", (64, 96))
    size = (size, size) if isinstance(size, int) else size
    composer = TwoTowerComposer.from_timm(
        name, bert, 16, vision_options=options, data={"input_size": (3, *size), "crop_pct": 1.0, **more}
    )
    lively(composer.vision)
    return composer


@pytest.fixture(scope="module")
def towers(bert):
    made = {}

    def get(kind):
        if kind not in made:
            made[kind] = build(kind, bert)
        return made[kind]

    return get


def on_grid(output, grid, prefix):
    """By hand: what a reader of timm's code makes of the layer's output."""
    output = output[0] if isinstance(output, tuple) else output
    if prefix is None:
        return output
    if prefix == -1:
        return output.permute(0, 3, 1, 2)
    return output[:, prefix : prefix + grid[0] * grid[1]].reshape(len(output), *grid, -1).permute(0, 3, 1, 2)


def run(composer, layer, pixels):
    outputs = []
    handle = composer.vision.get_submodule(layer).register_forward_hook(lambda _m, _i, output: outputs.append(output))
    embedding = composer.vision(pixels)
    handle.remove()
    return outputs[0], embedding


@pytest.mark.parametrize("kind", TOWERS)
def test_the_layer_is_found(kind, towers):
    composer = towers(kind)
    *_, layer, grid, _ = TOWERS[kind]
    assert composer.target_layer == f"vision.{layer}"
    assert composer.grid_layer.grid == grid


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # a random model may have an empty map
@pytest.mark.parametrize("kind", TOWERS)
def test_the_map_is_plain_grad_cam(kind, towers, picture, shared):
    composer = towers(kind)
    *_, layer, grid, prefix = TOWERS[kind]
    explanation = explain([picture] * 2, TEXTS, model=composer, method="gradcam")
    inputs = composer.preprocess([picture] * 2, TEXTS).tensors
    output, features = run(composer, layer, inputs["pixel_values"])
    states = composer.text(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).last_hidden_state
    image, text = features @ composer.image_projection.T, states[:, 0] @ composer.text_projection.T
    score = torch.cosine_similarity(image, text)
    output = output[0] if isinstance(output, tuple) else output
    (gradient,) = torch.autograd.grad(score.sum(), output)
    activation, gradient = on_grid(output, grid, prefix), on_grid(gradient, grid, prefix)
    expected = shared.grad_cam(activation, gradient)
    signed, top = explanation.signed[composer.target_layer][0], expected.abs().max()
    assert explanation.score_name == "image-text"
    torch.testing.assert_close(explanation.score, score.detach(), atol=1e-5, rtol=1e-4)
    shared.same_map(signed, expected)
    assert (signed[0] - signed[1]).abs().max() > 0.01 * top  # another text, another map
    one = explain(picture, TEXTS, model=composer, method="gradcam")  # one encoding for both texts
    shared.same_map(one.signed[composer.target_layer][0], expected)


@pytest.mark.parametrize("cell", [(0, 2), (2, 1), (3, 3)])
@pytest.mark.parametrize("kind", TOWERS)
def test_a_marked_cell_is_found_again(kind, towers, cell):
    composer = towers(kind)
    known = composer.grid_layer
    height, width = composer.input_size
    row, column = cell[0] * known.grid[0] // 4, cell[1] * known.grid[1] // 4
    high, wide = height // known.grid[0], width // known.grid[1]
    torch.manual_seed(1)
    pixels = torch.randn(2, 3, height, width)
    pixels[1] = pixels[0]
    pixels[1, :, row * high : (row + 1) * high, column * wide : (column + 1) * wide] += 2
    with torch.no_grad():
        output, _ = run(composer, known.name.removeprefix("vision."), pixels)
    apart = known.read(output[0] if isinstance(output, tuple) else output).diff(dim=0).square().sum((0, 1))
    found = divmod(int(apart.argmax()), known.grid[1])
    off = 1 if kind == "XCiT" else 0  # its convolutions hand a cell on to its neighbours
    assert max(abs(found[0] - row), abs(found[1] - column)) <= off


@pytest.mark.parametrize("kind", ["class token", "Swin", "ResNet"])
def test_a_batch_is_a_loop_and_the_model_is_left_alone(kind, towers, picture, shared):
    shared.batch_is_a_loop(towers(kind), [picture, picture.rotate(180)], TEXTS)


@pytest.mark.parametrize("kind", ["registers", "Swin"])
def test_a_folder_gives_the_same_model(kind, towers, picture, tmp_path, monkeypatch):
    composer = towers(kind)
    composer.save_pretrained(tmp_path / "two")
    monkeypatch.setattr("mmgrad_explain.composers.towers.composer.find_grid_layer", None)  # it is in the config
    again = load_composer(tmp_path / "two")
    assert isinstance(again, TwoTowerComposer)
    assert (again.name, again.target_layer, again.grid_layer) == ("two", composer.target_layer, composer.grid_layer)
    torch.testing.assert_close(
        explain(picture, TEXTS[0], model=again).maps, explain(picture, TEXTS[0], model=composer).maps
    )
    again.save_pretrained(tmp_path / "three")
    assert (tmp_path / "three" / "config.json").read_text() == (tmp_path / "two" / "config.json").read_text()
    (note,) = again.preprocess([picture], ["make it red make it red make it red"]).notices
    assert note == Note("cut-text", "the text has 11 tokens, the model takes 8: the rest was cut", (0,))


def test_words_have_values(towers, picture):
    explanation = explain(picture, TEXTS[0], model=towers("class token"), words=True)
    assert [word.text for word in explanation.words[0]] == ["make", "it", "red"]


@pytest.mark.parametrize("pool", ["class", "mean", "last", "pooler"])
def test_texts_are_pooled(pool, bert):
    text = transformers.AutoModel.from_pretrained(bert).eval()
    ids, mask = torch.tensor([[1, 4, 5, 2], [1, 6, 2, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    output = text(input_ids=ids, attention_mask=mask)
    states = output.last_hidden_state
    expected = {
        "class": states[:, 0],
        "mean": torch.stack([states[0].mean(0), states[1, :3].mean(0)]),
        "last": torch.stack([states[0, 3], states[1, 2]]),
        "pooler": output.pooler_output,
    }[pool]
    torch.testing.assert_close(pool_text(output, mask, pool), expected)
    torch.testing.assert_close(pool_text(states[:, 0], mask, pool), states[:, 0])
    if pool == "pooler":
        with pytest.raises(InputError, match="pool: a text tower that gives a tuple cannot be pooled by 'pooler'"):
            pool_text((states,), mask, pool)


class Bag(nn.Module):
    """A text tower without a config."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(len(WORDS), 5)

    def forward(self, input_ids, attention_mask):
        return (self.words(input_ids) * attention_mask[..., None]).sum(1)


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # a random model may have an empty map
def test_modules_are_taken_as_they_are(picture, tmp_path):
    vision = lively(timm.create_model("test_vit", num_classes=0)).train()
    parts = {"tokenizer": word_tokenizer(), "text_projection": torch.randn(8, 5), "embed_dim": 8}
    composer = TwoTowerComposer.from_timm(vision, Bag(), **parts)
    assert composer.target_layer == "vision.blocks.5.norm1"
    assert explain(picture, TEXTS[0], model=composer).maps.shape == (1, 10, 10)
    with pytest.raises(InputError, match="towers that were given as modules cannot be saved: name the vision"):
        composer.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"tokenizer: a text tower that is a module needs one"):
        TwoTowerComposer.from_timm(vision, Bag())
    with pytest.raises(InputError, match=r"text_projection: the width of the text tower is not known"):
        TwoTowerComposer.from_timm(vision, Bag(), tokenizer=word_tokenizer())
    with pytest.raises(
        InputError, match=r"the projections must be \(D, width of the tower\) with one D, not \(4, 64\)"
    ):
        TwoTowerComposer.from_timm(vision, Bag(), **{**parts, "image_projection": torch.zeros(4, 64)})
    with pytest.raises(InputError, match="pool must be one of 'class', 'mean', 'last', 'pooler', not 'max'"):
        TwoTowerComposer.from_timm(vision, Bag(), pool="max", **parts)


def test_a_layer_can_be_named(picture, bert):
    chosen = TwoTowerComposer.from_timm("test_vit", bert, 8, layer="blocks.3.norm1")
    assert (chosen.target_layer, chosen.grid_layer) == ("vision.blocks.3.norm1", None)
    assert explain(picture, TEXTS[0], model=chosen).maps.shape == (1, 10, 10)
    with pytest.raises(InputError, match=r"layer: the vision tower has no layer 'block\.3'"):
        TwoTowerComposer.from_timm("test_vit", bert, 8, layer="block.3")


def test_the_layer_of_a_refused_tower_can_be_named(bert, picture):
    tower = nn.Sequential(nn.Conv2d(3, 3, 8, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    tower.pretrained_cfg = {"input_size": (3, 32, 32), "architecture": "silent"}
    with pytest.raises(
        InputError, match=r"timm's silent does not give.*\. Name the layer= to explain and give an image_"
    ):
        TwoTowerComposer.from_timm(tower, bert)
    given = {"layer": "0", "image_projection": torch.eye(3)[:2], "embed_dim": 2}
    assert explain(picture, TEXTS[0], model=TwoTowerComposer.from_timm(tower, bert, **given)).maps.shape == (1, 4, 4)


def test_what_cannot_be_built_is_said(bert, tmp_path):
    with pytest.raises(InputError, match=r"vision: timm cannot build 'no_such_net'"):
        TwoTowerComposer.from_timm("no_such_net", bert)
    with pytest.raises(InputError, match=r"text: .*nowhere cannot be loaded as a text model"):
        TwoTowerComposer.from_timm("test_vit", tmp_path / "nowhere")
    (tmp_path / "tokenizer.json").write_text("{")
    transformers.AutoModel.from_pretrained(bert).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"the tokenizer in .* cannot be read"):
        TwoTowerComposer.from_timm("test_vit", tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config.update(model_type="other"), "holds a 'other' model, not a 'mmgrad_two_tower' one"),
        (lambda config: config.pop("pool"), "do not fit its config.json: 'pool'"),
        (lambda config: config["vision"]["options"].update(embed_dim=48, num_heads=2), "do not fit its config.json"),
        (lambda config: config["vision"]["options"].update(pretrained=True), "must not load weights from elsewhere"),
        (lambda config: config["vision"].update(architecture="hf-hub:a/b"), "must not load weights from elsewhere"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(towers, tmp_path, change, message):
    towers("class token").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    change(config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=message):
        TwoTowerComposer.from_pretrained(tmp_path)


def test_an_encoder_of_two_is_taken_alone(tmp_path, picture):
    folder = tmp_path / "t5"
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2, "vocab_size": len(WORDS)}
    lively(transformers.T5Model(transformers.T5Config(**sizes, decoder_start_token_id=0))).save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    composer = TwoTowerComposer.from_timm("test_vit", folder, 8, pool="mean")
    composer.save_pretrained(tmp_path / "saved")
    again = load_composer(tmp_path / "saved")
    expected, got = (explain(picture, TEXTS[0], model=one).maps for one in (composer, again))
    torch.testing.assert_close(got, expected)


def test_roberta_counts_positions_from_behind_its_padding(tmp_path):
    sizes = {**BERT, "vocab_size": len(WORDS), "max_position_embeddings": 7, "pad_token_id": 0}
    transformers.RobertaModel(transformers.RobertaConfig(**sizes)).save_pretrained(tmp_path)
    word_tokenizer().save_pretrained(tmp_path)
    assert TwoTowerComposer.from_timm("test_vit", tmp_path, 8).processor.max_tokens == 6


@pytest.mark.parametrize(("size", "expected"), [(96, (96, 96)), ((64, 96), (64, 96))])
def test_images_have_the_size_that_the_tower_was_built_for(size, expected, bert, tmp_path, picture):
    options = {**VIT, "img_size": size}
    composer = TwoTowerComposer.from_timm("vit_tiny_patch16_224", bert, 8, vision_options=options)
    assert composer.processor.framing.size == composer.input_size == expected
    assert composer.preprocess([picture], TEXTS[:1]).tensors["pixel_values"].shape == (1, 3, *expected)
    composer.save_pretrained(tmp_path)
    assert load_composer(tmp_path).processor.framing.size == expected


def test_making_saving_and_reading_print_nothing(bert, tmp_path, capfd):
    TwoTowerComposer.from_timm("test_vit", bert, 8).save_pretrained(tmp_path)
    load_composer(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_a_size_that_the_tower_does_not_take_is_said(bert):
    message = r"vision: the tower does not take images of 224 x 224 pixels \(Input height \(224\) doesn't match mod.*"
    tower = timm.create_model("vit_tiny_patch16_224", num_classes=0, **VIT, img_size=64)
    with pytest.raises(InputError, match=message + r"\): give its own size, data=\{\"input_size\": \(3, H, W\)\}"):
        TwoTowerComposer.from_timm(tower, bert)
    assert TwoTowerComposer.from_timm(tower, bert, data={"input_size": (3, 64, 64)}).input_size == (64, 64)
    other = {"vision_options": {**VIT, "img_size": 64}, "data": {"input_size": (3, 32, 32)}}
    with pytest.raises(InputError, match="vision: the tower does not take images of 32 x 32 pixels"):
        TwoTowerComposer.from_timm("vit_tiny_patch16_224", bert, **other)


def test_the_trainer_trains_it(bert, tmp_path):
    """Directly: the embedding is ``i + t``, the maps are those of the cosine."""
    torch.manual_seed(0)
    start = TwoTowerComposer.from_timm("vit_tiny_patch16_224", bert, 8, vision_options={**VIT, "img_size": 64})
    start.save_pretrained(tmp_path / "start")
    config = config_from(
        {
            "steps": 2, "workers": 0, "log_every": 1, "save_every": 2, "tensorboard": False, "precision": "float32",
            "device": "cpu", "model": {"path": str(tmp_path / "start")},
            "sources": {"scenes": {"pictures": 2, "edits": 2}},
            "optimizer": {"warmup": 1, "lr": 0.01}, "evaluation": {"every": 2, "batches": 1, "maps": 0},
            "grounding": {"warm_start": 0.0, "score": "image-text"},
        }
    )  # fmt: skip
    train(config, tmp_path / "run")
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert first.keys() >= {"retrieval", "dice"}
    before, after = start.state_dict(), load_composer(tmp_path / "run" / "model").state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {"vision.patch_embed.proj.weight", "text.embeddings.word_embeddings.weight", "image_projection"} <= changed
