"""Token activation and relative attention on whole models, against the papers' equations in float64."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mmgrad_explain import InputError, MMGrad, answer_maps, explain, load_composer
from mmgrad_explain.attention.methods import IntegratedGradients, Occlusion, Rise
from mmgrad_explain.attention.methods.fused import Part, SeveralMethods
from mmgrad_explain.attention.methods.named import ensure_method
from mmgrad_explain.cli.main import main
from mmgrad_explain.composers.generative import EACH_WORD


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HERE = Path(__file__).parent
small_llava, folders = load(HERE / "small_llava.py"), load(HERE / "test_folders.py")
formulas = load(HERE.parents[1] / "attention" / "methods" / "answers" / "test_token_activation.py")
METHODS = ["token-activation", "relative-attention"]
ASKED = ("is the dress red", "a blue one")
pytestmark = pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def tiled(tmp_path_factory):
    """A small Idefics3: 2 x 3 tiles of 4 x 4 tokens each, and the whole once more."""
    folder = tmp_path_factory.mktemp("idefics3")
    folders.save("idefics3", folder)
    return load_composer(folder)


@pytest.fixture(params=["llava", "idefics3"])
def asked(request, composer, pictures, tiled):
    """A composer in float64, with an image, a question and an answer."""
    if request.param == "llava":
        return composer.double(), pictures[0], ("what colour is the dress ?", "a red dress a")
    return tiled.double(), folders.small.picture("idefics3"), ASKED


def on_the_frame(kind, values):
    """Values of an image's tokens, put on the frame of the map."""
    if kind == "llava":
        return values.reshape(4, 4)
    tiles = values.reshape(7, 4, 4)
    canvas = np.block([[tiles[3 * row + column] for column in range(3)] for row in range(2)])
    return canvas + np.kron(tiles[6], np.ones((2, 3))) / 6


def sequence_of(composer, image, question, answer):
    """Arguments of the model of transformers; places of the image, of the question's and the answer's words."""
    own = composer.processor
    (prompt,) = own.make_prompts([image], [question])
    tensors = {name: value for name, value in prompt.tensors.items() if name != "tiles"}
    words = [own.tokenize(text) if text else [] for text in (question, answer)]
    prompt_ids = tensors["input_ids"][0].tolist()
    ids = prompt_ids + words[1]
    start = next(at for at in range(len(ids), -1, -1) if ids[at : at + len(words[0])] == words[0] and words[0])
    tensors["input_ids"] = torch.tensor([ids])
    tensors["attention_mask"] = torch.ones_like(tensors["input_ids"])
    tensors["pixel_values"] = tensors["pixel_values"].double()
    image_places = [at for at, token in enumerate(ids) if token == composer.model.config.image_token_id]
    return tensors, ids, image_places, range(start, start + len(words[0])), range(len(prompt_ids), len(ids))


def token_maps_by_hand(composer, image, question, answer):
    """The map of each token of the answer, from all logits of the model of transformers."""
    kind = composer.model.config.model_type
    tensors, ids, places, of_question, of_answer = sequence_of(composer, image, question, answer)
    with torch.no_grad():
        logits = composer.model(**tensors).logits[0].numpy()
    tokens = [ids[at] for at in (*of_question, *of_answer)]
    seen_at = [*of_question, *(at - 1 for at in of_answer)]
    maps = []
    for target in range(len(of_question), len(tokens)):
        text = logits[seen_at][:, tokens[target]]
        values = formulas.activations_by_hand(logits[places][:, tokens], text, tokens, target)
        maps.append(formulas.filtered_by_hand(on_the_frame(kind, values)))
    return torch.from_numpy(np.stack(maps))


def test_token_activation_is_that_of_the_paper(asked):
    composer, image, (question, answer) = asked
    expected = token_maps_by_hand(composer, image, question, answer)
    found = explain(image, question, model=composer, answer=answer, answer_part=EACH_WORD, method="token-activation")
    assert len(found) == len(expected) + 1  # a word is a token here
    torch.testing.assert_close(found.maps[1:].double(), expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found.maps[0].double(), expected.mean(0), atol=1e-6, rtol=1e-5)
    assert found.maps[1:].std(0).max() > 0.02  # each word has a map of its own


def attention_by_hand(composer, image, question, answer):
    """Attention of the positions that predict the answer, or its first word, in the first block: eager attention."""
    tensors, _, places, _, of_answer = sequence_of(composer, image, question, answer)
    rows = [at - 1 for at in of_answer] or [-1]
    before = composer.model.config._attn_implementation
    composer.model.set_attn_implementation("eager")
    with torch.no_grad():
        attention = composer.model(**tensors, output_attentions=True).attentions[0][0]
    composer.model.set_attn_implementation(before)
    values = attention[:, rows][:, :, places].mean((0, 1)).numpy()
    return on_the_frame(composer.model.config.model_type, values)


def test_relative_attention_is_that_of_the_paper(asked):
    composer, image, (question, answer) = asked
    composer.max_new_tokens = 1
    neutral = attention_by_hand(composer, image, "Write a general description of the image.", "")
    found = explain(image, question, model=composer, answer=answer, answer_part=EACH_WORD, method="relative-attention")
    expected = attention_by_hand(composer, image, question, answer) / neutral
    torch.testing.assert_close(found.maps[0].double(), torch.from_numpy(expected), atol=1e-5, rtol=1e-5)
    first = attention_by_hand(composer, image, question, answer.split()[0]) / neutral  # the paper's own position
    torch.testing.assert_close(found.maps[1].double(), torch.from_numpy(first), atol=1e-5, rtol=1e-5)
    (block,) = found.layer_names
    assert block == composer.answer_layers().blocks[0]


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_its_samples(composer, pictures, method):
    questions, answers = ["what colour is the dress ?", "a dog ?"], ["red", "a blue dog"]
    parts = [None, ["a", "dog"]]
    both = explain(pictures, questions, model=composer, answer=answers, answer_part=parts, method=method)
    for index, (row, part) in enumerate([(0, None), (1, "a"), (1, "dog")]):
        alone = explain(
            pictures[row], questions[row], model=composer, answer=answers[row], answer_part=part, method=method
        )
        torch.testing.assert_close(both.maps[index], alone.maps[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(both.score[index], alone.score[0], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(both.maps[1], both.maps[2])


@pytest.mark.parametrize("kind", folders.small.KINDS)
def test_every_family(kind, tmp_path):
    """Also with padding: a longer question and answer in the same batch."""
    folders.save(kind, tmp_path)
    composer, image = load_composer(tmp_path), folders.small.picture(kind)
    others = ("a blue one is the dress", "the dress is red yes")
    for method in METHODS:
        both = explain([image] * 2, [ASKED[0], others[0]], model=composer, answer=[ASKED[1], others[1]], method=method)
        alone = explain(image, ASKED[0], model=composer, answer=ASKED[1], method=method)
        assert tuple(alone.maps.shape[1:]) == folders.small.PICTURES[kind][1]
        assert alone.maps.max() > 0
        torch.testing.assert_close(both.maps[0], alone.maps[0], atol=1e-4 * float(alone.maps.max()), rtol=0)


@pytest.mark.parametrize("kind", ["llava_next", "qwen2_5_vl", "internvl"])
@pytest.mark.parametrize("method", METHODS)
def test_a_marked_patch_is_where_it_was(kind, method, tmp_path, monkeypatch):
    """In a model that mixes tokens little, what changes in the map is at the patch that changes in the image."""
    activations = "mmgrad_explain.attention.methods.answers.token_activation.token_activations"
    monkeypatch.setattr(activations, lambda image, _text, _ids, wanted: image.T[wanted].abs())  # nothing is subtracted
    folders.save(kind, tmp_path)
    composer, image = load_composer(tmp_path), folders.small.picture(kind)
    with torch.no_grad():
        for name, parameter in composer.model.named_parameters():
            if re.search(r"(out_proj|attn\.proj|projection_layer|o_proj)\.weight", name):
                parameter.mul_(0.02)
    grid = folders.small.PICTURES[kind][1]
    before = explain(image, ASKED[0], model=composer, answer=ASKED[1], method=method)
    for cell in [(1, 2), (grid[0] - 2, grid[1] - 2)]:
        top, bottom, left, right = folders.small.original_box(before.placements[0], grid, cell)
        pixels = np.array(image)
        pixels[top:bottom, left:right] = 255 - pixels[top:bottom, left:right]
        after = explain(Image.fromarray(pixels), ASKED[0], model=composer, answer=ASKED[1], method=method)
        moved = divmod(int((after.maps - before.maps)[0].abs().argmax()), grid[1])
        assert max(abs(moved[0] - cell[0]), abs(moved[1] - cell[1])) <= 1  # the filter spreads it to neighbours


@pytest.mark.parametrize(("method", "expected"), [("token-activation", 1), ("relative-attention", 2)])
def test_all_words_share_the_forwards(composer, pictures, method, expected):
    forwards, rows = [], []
    handles = [
        composer.model.register_forward_hook(lambda *_: forwards.append(torch.is_grad_enabled())),
        composer.model.lm_head.register_forward_hook(lambda *call: rows.append(call[2].shape[1])),
    ]
    found = answer_maps(pictures[0], "is the dog red ?", composer, answer="a red dress", method=method)
    for handle in handles:
        handle.remove()
    assert found.phrases == ("a", "red", "dress")
    assert len(found.explanation) == 4
    assert forwards == [False] * expected  # no graph is kept
    assert max(rows) == 4  # logits of the whole vocabulary only where the answer is predicted


def test_words_of_an_answer_that_the_model_gives(composer, pictures):
    composer.max_new_tokens = 3
    found = answer_maps(pictures[0], small_llava.QUESTIONS[0], composer, method="token-activation")
    said = explain(pictures[0], small_llava.QUESTIONS[0], model=composer, method="token-activation")
    assert found.text == said.answers[0]
    assert found.phrases == tuple(re.findall(r"\w+", found.text))
    torch.testing.assert_close(found.explanation.maps[0], said.maps[0])


def test_from_the_shell(folder, pictures, tmp_path, capsys):
    pictures[0].save(tmp_path / "a.png")
    asked = ["overlay", str(tmp_path / "a.png"), "a dog ?", "--model", str(folder), "--answer", "a red dress", "--json"]
    parts = ["--answer-part", "red", "--answer-part", "dress"]
    assert main([*asked, *parts, "--method", "token-activation", "--out", str(tmp_path / "map.png")]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert result["method"] == "token-activation"
    assert result["layers"] == ["model.model.language_model"]
    assert [one["part"] for one in result["parts"]] == ["red", "dress"]


@pytest.mark.parametrize("method", METHODS)
def test_the_model_is_left_as_it_was(composer, pictures, method):
    explain(
        pictures[0], "is the dog red ?", model=composer, answer="red"
    )  # transformers puts hooks of its own at first
    before = {name: value.clone() for name, value in composer.state_dict().items()}
    composer.model.model.language_model.train()
    state = [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in composer.modules()]
    random = torch.get_rng_state()
    attention = nn.functional.scaled_dot_product_attention
    found = explain(pictures[0], "is the dog red ?", model=composer, answer="red", words=True, method=method)
    assert [word.text for word in found.words[0]] == ["is", "the", "dog", "red", "?"]
    assert torch.get_rng_state().equal(random)
    assert nn.functional.scaled_dot_product_attention is attention
    assert [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in composer.modules()] == state
    assert all(value.equal(before[name]) for name, value in composer.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in composer.parameters())


def test_layers_of_relative_attention(composer, pictures):
    blocks = composer.answer_layers().blocks
    options = {"model": composer, "answer": "red", "method": "relative-attention"}
    each = [explain(pictures[0], "a dog ?", layer=block, **options).maps for block in blocks]
    both = explain(pictures[0], "a dog ?", layer=list(blocks), **options)
    assert both.layer_names == blocks
    for block, alone in zip(blocks, each, strict=True):
        torch.testing.assert_close(both.layers[block][0], alone)
    assert not torch.allclose(each[0], each[1])
    with pytest.raises(InputError, match="'relative-attention' reads the attention of blocks"):
        explain(pictures[0], "a dog ?", layer="model.model.vision_tower.encoder.layers.0", **options)
    with pytest.raises(InputError, match="layer: 'token-activation' reads what the output embedding reads"):
        explain(pictures[0], "a dog ?", layer=blocks[0], **{**options, "method": "token-activation"})


def test_together_with_other_methods(composer, pictures):
    """As a calibration makes them: one forward for all, and methods that do not fit are named."""
    parts = (*(Part(ensure_method(name)) for name in METHODS), Part(ensure_method("gradcam"), composer.target_layer))
    tensors = composer.preprocess(pictures[:1], ["a dog ?"], answers=["red dress"]).tensors
    several = SeveralMethods(parts, {})
    found = MMGrad(composer, several.layers, method=several)(**tensors)
    assert not several.refused
    for part in parts:
        alone = MMGrad(composer, method=part.method)(**tensors)
        torch.testing.assert_close(found.layers[part.name][0], alone.maps, atol=1e-6, rtol=1e-5)
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    several = SeveralMethods((*parts[:2], Part(ensure_method("layercam"), "0")), {})
    found = MMGrad(other, "0", lambda output: output[:, 0], several)(torch.rand(1, 3, 8, 8))
    assert list(found.layers) == ["layercam at 0"]
    assert list(several.refused) == METHODS


def test_attention_sinks_are_said(composer, pictures, monkeypatch):
    monkeypatch.setattr("mmgrad_explain.attention.methods.answers.relative_attention.find_sinks", lambda maps: (1,))
    options = {"model": composer, "answer": ["red", "a dog"], "method": "relative-attention"}
    found = explain(pictures, ["a dog ?", "is the dog red ?"], **options)
    (note,) = (note for note in found.notes if note.kind == "attention-sink")
    assert note.samples == (1,)
    assert re.match(r"\d+% of the answer's attention to the image is at its border", note.text)
    parts = explain(pictures, ["a dog ?", "is the dog red ?"], answer_part=[["red"], ["a", "dog"]], **options)
    assert [note.samples for note in parts.notes if note.kind == "attention-sink"] in ([(1, 2)], [(1,), (2,)])


def test_logits_that_the_output_embedding_does_not_give(composer, pictures):
    composer.model.lm_head.register_forward_hook(lambda *call: 3 * call[2] + 5)
    with pytest.raises(RuntimeError, match="'token-activation': the output embedding gives other logits"):
        explain(pictures[0], "a dog ?", model=composer, answer="red", method="token-activation")


def test_a_map_inside_a_training_step_is_refused(composer, pictures):
    tensors = composer.preprocess(pictures[:1], ["a dog ?"], answers=["red"]).tensors
    mmgrad = MMGrad(composer, method="token-activation")
    with mmgrad.capture() as seen:
        score = composer(**tensors).logits.sum((1, 2))
    with pytest.raises(InputError, match="token-activation"):
        mmgrad.attend(score, seen)


@pytest.mark.parametrize("method", METHODS)
def test_half_precision(composer, pictures, method):
    exact = explain(pictures[0], "a dog ?", model=composer, answer="red dress", method=method)
    composer.model.to(torch.bfloat16)
    found = explain(pictures[0], "a dog ?", model=composer, answer="red dress", method=method)
    assert found.maps.dtype == torch.float32
    pair = torch.stack([found.maps.flatten(), exact.maps.flatten()])
    assert torch.corrcoef(pair)[0, 1] > 0.9


@pytest.mark.parametrize(
    "method", [Occlusion(grid=2), Rise(masks=4), IntegratedGradients(steps=2), IntegratedGradients(steps=2, at="layer")]
)
def test_each_word_of_an_answer_has_the_map_of_its_own_score(composer, pictures, method):
    composer = composer.float()
    options = {"model": composer, "answer": "a red dress", "method": method}
    each = explain(pictures[0], "is the dog red ?", answer_part=EACH_WORD, **options)
    one = explain(pictures[0], "is the dog red ?", answer_part="red", **options)
    ((words,),), ((alone,),) = each.signed.values(), one.signed.values()
    torch.testing.assert_close(words[2], alone[0], rtol=1e-3, atol=1e-3 * float(alone.abs().max()))
