"""Models that answer in words: a small random LLaVA from a folder, against plain autograd."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from mmgrad_explain import InputError, explain, load_composer
from mmgrad_explain.cli.main import main

_SPEC = importlib.util.spec_from_file_location("small_llava", Path(__file__).with_name("small_llava.py"))
small_llava = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small_llava)


def by_hand(picture, question, answer):
    """Log-likelihood of the answer and the map before the ReLU, from the model of transformers alone."""
    own, prepare = small_llava.model(), small_llava.processor()
    inputs = prepare(images=[picture], text=[f"USER: <image>\n{question} ASSISTANT:"], return_tensors="pt")
    asked = torch.tensor([[small_llava.WORDS.index(word) for word in answer.split()]])
    kept = []

    def keep(_module, _inputs, output):
        kept.append(output.detach().requires_grad_())
        return kept[-1]

    own.requires_grad_(False)
    own.model.multi_modal_projector.register_forward_hook(keep)
    ids = torch.cat([inputs["input_ids"], asked], 1)
    logits = own(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=inputs["pixel_values"]).logits
    start = inputs["input_ids"].shape[1]
    score = sum(logits[0, start + i - 1].log_softmax(-1)[one] for i, one in enumerate(asked[0].tolist()))
    (gradient,) = torch.autograd.grad(score, kept[0])
    return score.detach(), (gradient.mean(1, keepdim=True) * kept[0].detach()).sum(-1).unflatten(1, (4, 4))[0]


@pytest.mark.parametrize("question", small_llava.QUESTIONS)
def test_the_map_is_plain_grad_cam_of_the_likelihood(composer, pictures, question):
    found = explain(pictures[0], question, model=composer, answer="red dress", method="gradcam")
    score, expected = by_hand(pictures[0], question, "red dress")
    torch.testing.assert_close(found.score[0], score, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.signed[composer.target_layer][0][0], expected, atol=1e-5, rtol=1e-4)
    assert found.score_name == "answer"
    assert found.answers == ("red dress",)
    assert found.heatmap(0).shape == (40, 60)


def test_what_the_model_says_by_itself(composer, pictures):
    own, prepare = small_llava.model(), small_llava.processor()
    inputs = prepare(
        images=[pictures[0]], text=[f"USER: <image>\n{small_llava.QUESTIONS[0]} ASSISTANT:"], return_tensors="pt"
    )
    composer.max_new_tokens = 3
    taken = {name: inputs[name] for name in ("input_ids", "attention_mask", "pixel_values")}
    said = own.generate(**taken, max_new_tokens=3, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    end = next(
        (place for place, index in enumerate(said.tolist()) if index < len(small_llava.SPECIAL)), len(said)
    )  # at a special token
    expected = " ".join(small_llava.WORDS[index] for index in said[:end].tolist())
    found = explain(pictures[0], small_llava.QUESTIONS[0], model=composer)
    assert found.answers == (expected,)
    again = explain(pictures[0], small_llava.QUESTIONS[0], model=composer, answer=expected)
    torch.testing.assert_close(again.maps, found.maps)


def test_a_batch_is_its_samples(composer, pictures):
    questions, answers = ["what colour is the dress ?", "a dog ?"], ["red", "a blue dog"]
    together = explain(pictures, questions, model=composer, answer=answers)
    for index, (picture, question, answer) in enumerate(zip(pictures, questions, answers, strict=True)):
        alone = explain(picture, question, model=composer, answer=answer)
        torch.testing.assert_close(together.maps[index], alone.maps[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(together.score[index], alone.score[0], atol=1e-5, rtol=1e-5)
    assert together.answers == tuple(answers)
    composer.max_new_tokens = 2
    said = explain(pictures, questions, model=composer)
    alone = [explain(*one, model=composer).answers[0] for one in zip(pictures, questions, strict=True)]
    assert said.answers == tuple(alone)


def test_questions_and_answers_have_maps_of_their_own(composer, pictures):
    first = explain(pictures[0], small_llava.QUESTIONS, model=composer, answer="red")
    assert not torch.allclose(first.maps[0], first.maps[1])
    other = explain(pictures[0], small_llava.QUESTIONS[0], model=composer, answer="blue")
    assert not torch.allclose(first.maps[0], other.maps[0])


def test_a_part_of_the_answer(composer, pictures):
    whole = explain(pictures[0], small_llava.QUESTIONS[0], model=composer, answer="a red dress", method="gradcam")
    parts = [
        explain(
            pictures[0],
            small_llava.QUESTIONS[0],
            model=composer,
            answer="a red dress",
            answer_part=part,
            method="gradcam",
        )
        for part in ("a", "red", "dress")
    ]
    torch.testing.assert_close(sum(part.score for part in parts), whole.score)
    signed = [part.signed[composer.target_layer][0] for part in parts]
    torch.testing.assert_close(sum(signed), whole.signed[composer.target_layer][0], atol=1e-5, rtol=1e-4)
    two = explain(
        pictures[0],
        small_llava.QUESTIONS[0],
        model=composer,
        answer="a red dress",
        answer_part="ed dr",
        method="gradcam",
    )
    torch.testing.assert_close(two.score, parts[1].score + parts[2].score)


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # random: a map may be empty
def test_several_parts_in_one_forward(composer, pictures):
    forwards = []
    handle = composer.model.register_forward_hook(lambda *_: forwards.append(1))
    parts = ["red", None, (2, 11), "dress"]
    found = explain(
        pictures[0], small_llava.QUESTIONS[0], model=composer, answer="a red dress", answer_part=parts, words="gradient"
    )
    handle.remove()
    assert len(forwards) == 1
    assert found.answers == ("a red dress",) * 4
    assert (len(found), len(found.texts), len(found.images), len(found.placements)) == (4, 4, 4, 4)
    for index, part in enumerate(parts):
        alone = explain(
            pictures[0], small_llava.QUESTIONS[0], model=composer, answer="a red dress", answer_part=part,
            words="gradient",
        )  # fmt: skip
        same(found, index, alone, composer)
        for word, other in zip(found.words[index], alone.words[0], strict=True):
            assert (word.text, word.value) == (other.text, pytest.approx(other.value, rel=1e-3, abs=1e-6))
    again = explain(pictures[0], small_llava.QUESTIONS[0], model=composer, answer="a red dress", answer_part=("red",))
    same(
        again,
        0,
        explain(pictures[0], small_llava.QUESTIONS[0], model=composer, answer="a red dress", answer_part="red"),
        composer,
    )


def same(found, index, alone, composer):
    signed, other = (one.signed[composer.target_layer][0] for one in (found, alone))
    torch.testing.assert_close(signed[index], other[0], atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(found.score[index], alone.score[0], atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # random: a map may be empty
def test_answers_with_parts_of_their_own(composer, pictures):
    """A question longer than the other, answers of different lengths, and of one of them two parts."""
    questions, answers = ["what colour is the dress ?", "a dog ?"], ["red", "a blue dog"]
    for parts, each in ((["red", ["blue", "dog"]], [(0, "red"), (1, "blue"), (1, "dog")]),
                        (["red", "dog"], [(0, "red"), (1, "dog")]),
                        ([None, "a"], [(0, None), (1, "a")])):  # fmt: skip
        found = explain(pictures, questions, model=composer, answer=answers, answer_part=parts)
        assert found.answers == tuple(answers[row] for row, _ in each)
        assert found.texts == tuple(questions[row] for row, _ in each)
        assert [one.tobytes() for one in found.images] == [pictures[row].tobytes() for row, _ in each]
        for index, (row, part) in enumerate(each):
            alone = explain(pictures[row], questions[row], model=composer, answer=answers[row], answer_part=part)
            same(found, index, alone, composer)


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # random: a map may be empty
def test_a_part_is_a_whole_word_first(composer, pictures):
    found = explain(pictures[0], small_llava.QUESTIONS[0], model=composer, answer="a dog a", answer_part=(6, 7))
    assert found.score < 0
    whole = explain(pictures[0], small_llava.QUESTIONS[0], model=composer, answer="green a", answer_part="a")
    by_place = explain(pictures[0], small_llava.QUESTIONS[0], model=composer, answer="green a", answer_part=(6, 7))
    assert whole.score.equal(by_place.score)
    letters = explain(pictures[0], small_llava.QUESTIONS[0], model=composer, answer="green is a", answer_part="a")
    assert letters.score.equal(explain(
        pictures[0], small_llava.QUESTIONS[0], model=composer, answer="green is a", answer_part=(9, 10)
    ).score)  # fmt: skip


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # random: a map may be empty
def test_parts_from_the_shell(folder, pictures, tmp_path, capsys):
    pictures[0].save(tmp_path / "a.png")
    asked = [
        "overlay",
        str(tmp_path / "a.png"),
        small_llava.QUESTIONS[0],
        "--model",
        str(folder),
        "--answer",
        "a red dress",
    ]
    parts = ["--answer-part", "red", "--answer-part", "dress"]
    assert main([*asked, *parts, "--out", str(tmp_path / "map.png"), "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    found = explain(
        pictures[0], small_llava.QUESTIONS[0], model=folder, answer="a red dress", answer_part=[None, "red", "dress"]
    )
    assert [one["part"] for one in result["parts"]] == ["red", "dress"]
    scores = [result["score"], *(one["score"] for one in result["parts"])]
    assert scores == pytest.approx(found.score.tolist(), rel=1e-4)
    with Image.open(tmp_path / "map.png") as drawn:
        assert drawn.width > 4 * 60
    assert main([*asked, *parts, "--out", str(tmp_path / "other.png")]) == 0
    assert "  part    dress: x " in capsys.readouterr().out
    for more, said in ((["--words"], "repeated, draws several maps"), (["--phrases"], "exclude each other")):
        assert main([*asked, *parts, *more]) == 2
        assert said in capsys.readouterr().err


def test_words_of_the_question(composer, pictures):
    found = explain(pictures[0], small_llava.QUESTIONS[0], model=composer, answer="red", words=True)
    assert [word.text for word in found.words[0]] == small_llava.QUESTIONS[0].split()
    assert all(word.value for word in found.words[0])


def test_the_model_is_left_as_it_was(composer, pictures):
    before = {name: value.clone() for name, value in composer.state_dict().items()}
    composer.model.model.language_model.train()
    explain(
        pictures[0], small_llava.QUESTIONS[0], model=composer, answer="blue"
    )  # transformers puts hooks of its own at first
    flags = [module.training for module in composer.modules()]
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in composer.modules()]
    torch.manual_seed(5)
    state = torch.get_rng_state()
    explain(pictures[0], small_llava.QUESTIONS[0], model=composer, answer="red")
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in composer.modules()] == flags
    assert all(torch.equal(value, before[name]) for name, value in composer.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in composer.parameters())
    assert [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in composer.modules()] == hooks


def test_what_cannot_be_asked(composer, pictures):
    with pytest.raises(InputError, match="target: llava answers in words and takes no target image"):
        explain(pictures[0], small_llava.QUESTIONS[0], pictures[1], model=composer)
    with pytest.raises(InputError, match="answer is empty: give a possible answer"):
        explain(pictures[0], small_llava.QUESTIONS[0], model=composer, answer="")
    with pytest.raises(InputError, match="answer_part: 'cat' is not in the answer 'red dog'"):
        explain(pictures[0], small_llava.QUESTIONS[0], model=composer, answer="red dog", answer_part="cat")
    for part, match in (
        ("", "answer_part is empty: name a part of the answer"),
        ([], "answer_part: an empty list for 1 answers: give one part for all, one each, or a list of parts each"),
        (["red", ["dog"]], "answer_part: 2 of them for 1 answers"),
        ("d", r"answer_part: 'd' is 2 times in the answer 'red dog': give more .* one of \(2, 3\), \(4, 5\)"),
        ((4, 9), r"answer_part: \(4, 9\) must be \(start, end\) in the answer 'red dog', at most 7"),
        (["red", "cat"], "answer_part: 'cat' is not in the answer 'red dog'"),
    ):
        with pytest.raises(InputError, match=match):
            explain(pictures[0], small_llava.QUESTIONS[0], model=composer, answer="red dog", answer_part=part)
    with pytest.raises(TypeError, match=r"answer_part must be a string, \(start, end\) or a list of them, got int"):
        explain(pictures[0], small_llava.QUESTIONS[0], model=composer, answer="red dog", answer_part=[1])
    with pytest.raises(InputError, match="2 answers for 1 samples"):
        explain(pictures[0], small_llava.QUESTIONS[0], model=composer, answer=["red", "blue"])
    with pytest.raises(InputError, match="answer: reference does not answer in words"):
        explain(pictures[0], "make it red", model="reference", answer="red")
    with pytest.raises(InputError, match="answer: 1 answers for 2 images"):
        composer.preprocess(pictures, small_llava.QUESTIONS, answers=["red"])
    with pytest.raises(InputError, match="a batch needs one text for each image, got 1 images, 2 texts"):
        composer.preprocess(pictures[:1], small_llava.QUESTIONS)


def test_a_model_that_says_nothing(composer, pictures):
    with torch.no_grad():
        composer.model.lm_head.weight.zero_()
        composer.model.config.text_config.eos_token_id = composer.model.generation_config.eos_token_id = 0
    with pytest.raises(InputError, match="answer: llava gives an empty answer: give an answer="):
        explain(pictures[0], small_llava.QUESTIONS[0], model=composer)


def test_weights_keep_their_precision(tmp_path, pictures):
    small_llava.model().to(torch.bfloat16).save_pretrained(tmp_path)
    small_llava.processor().save_pretrained(tmp_path)
    composer = load_composer(tmp_path)
    assert composer.model.dtype == torch.bfloat16
    found = explain(pictures[0], small_llava.QUESTIONS[0], model=composer, answer="red dress")
    assert found.maps.dtype == torch.float32
    exact = explain(pictures[0], small_llava.QUESTIONS[0], model=load_composer_in_float32(tmp_path), answer="red dress")
    torch.testing.assert_close(found.score, exact.score, atol=0.2, rtol=0.05)


def load_composer_in_float32(folder):
    composer = load_composer(folder)
    composer.model.float()
    return composer


def test_on_the_command_line(folder, pictures, tmp_path, capsys):
    files = [tmp_path / "first.png", tmp_path / "second.png"]
    for picture, file in zip(pictures, files, strict=True):
        picture.save(file)
    command = ["overlay", *map(str, files), small_llava.QUESTIONS[0], "--model", str(folder), "--answer", "a red dress"]
    assert main([*command, "--answer-part", "red", "--out", str(tmp_path / "maps"), "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["answer"] == second["answer"] == "a red dress"
    assert first["score_name"] == "answer"
    assert first["score"] != second["score"]
    assert main([*command, "--out", str(tmp_path / "more")]) == 0
    assert "  answer  a red dress\n" in capsys.readouterr().out


def test_layers_are_listed(folder, capsys):
    assert main(["layers", "--model", str(folder), "--json"]) == 0
    (chosen,) = [layer for layer in json.loads(capsys.readouterr().out) if layer["chosen"]]
    assert chosen["name"] == "model.model.multi_modal_projector"
    assert chosen["grid"] == [4, 4]


def test_a_model_that_is_told_the_answer(composer, pictures):
    composer.family = replace(composer.family, labels=True)  # as PaliGemma's, which is told the answer
    found = explain(pictures[0], small_llava.QUESTIONS[0], model=composer, answer="red dress", method="gradcam")
    score, expected = by_hand(pictures[0], small_llava.QUESTIONS[0], "red dress")
    torch.testing.assert_close(found.score[0], score, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.signed[composer.target_layer][0][0], expected, atol=1e-5, rtol=1e-4)
