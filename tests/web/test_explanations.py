"""Answers as the page shows them, and that the code beside them makes the same maps."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from mmgrad_explain import explain, phrase_maps
from mmgrad_explain.composers.stand_ins.build import stand_in
from mmgrad_explain.errors import InputError
from mmgrad_explain.web.examples import draw_examples
from mmgrad_explain.web.explain_request import ExplainRequest
from mmgrad_explain.web.explanations import explain_request
from mmgrad_explain.web.models import Models


@pytest.fixture(scope="module")
def models(tiny_folder):
    return Models((str(tiny_folder),))


@pytest.fixture
def question(tiny_folder, picture):
    return ExplainRequest(picture, ("make the square red",), str(tiny_folder), image_name="query.png")


def grids(shown, of="reference"):
    return [np.asarray(one["grid"], np.float32) for one in shown["data"]["maps"] if one["of"] == of]


def execute(shown, tmp_path, monkeypatch, **pictures):
    """What running the snippet leaves behind, where the pictures lie beside it."""
    for name, image in pictures.items():
        image.save(tmp_path / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    space = {}
    exec(compile(shown["snippet"], "snippet.py", "exec"), space)
    return space


def test_it_is_said_which_model_answered_and_why(question, models):
    one = draw_examples()[0]
    chosen = explain_request(ExplainRequest(one.image, ("make the circle striped",), "automatic"), models)
    said = "it alone knows 'circle'; it does not know 'striped'"
    assert chosen["tiles"][0]["caption"].endswith(f"; reference answers, because {said}")
    assert chosen["data"]["explanation"]["model_choice"] == said
    assert "model='reference'" in chosen["snippet"]
    named = explain_request(question, models)
    assert named["tiles"][0]["caption"].startswith("shift = ")
    assert named["tiles"][0]["caption"].endswith(f"; method gradcam; model {question.model}")


def test_one_sentence(question, models, picture, tmp_path, monkeypatch, capsys):
    shown = explain_request(question, models)
    expected = explain(picture, "make the square red", model=models.composer(question.model))
    assert [one["title"] for one in shown["tiles"]] == ["make the square red"]
    assert shown["tiles"][0]["words"] is None
    data = shown["data"]
    assert json.loads(json.dumps(data, allow_nan=False))["maps"] == data["maps"]
    torch.testing.assert_close(torch.from_numpy(grids(shown)[0]), expected.maps[0])
    region = expected.brightest_region()
    assert data["maps"][0]["brightest_region"] == {"share": region.share, "box": list(region.box)}
    assert data["maps"][0]["in_words"] == expected.in_words()
    assert data["explanation"]["model"] == expected.model
    assert data["asked"]["texts"] == ["make the square red"]
    found = execute(shown, tmp_path, monkeypatch, query=picture)["explanation"]
    assert np.array_equal(found.maps[0].numpy(), grids(shown)[0])
    assert capsys.readouterr().out == expected.in_words() + "\n"
    assert (tmp_path / "map_0.png").is_file()


def test_everything_that_can_be_chosen(question, models, picture, tmp_path, monkeypatch):
    other = picture.rotate(90)
    asked = replace(
        question, texts=("make it 'red'", "remove it"), target=other, target_name="goal.png", score="similarity",
        layer="network.visual.layer3", method="layercam", words=True,
    )  # fmt: skip
    shown = explain_request(asked, models)
    titles = [one["title"] for one in shown["tiles"]]
    assert titles == ["make it 'red'", "make it 'red' (on the target)", "remove it", "remove it (on the target)"]
    assert [one["words"] is None for one in shown["tiles"]] == [False, True, False, True]
    found = execute(shown, tmp_path, monkeypatch, query=picture, goal=other)["explanation"]
    for call, of in enumerate(("reference", "target")):
        assert all(map(np.array_equal, found.calls[call].numpy(), grids(shown, of)))
    assert (found.score_name, found.method) == ("similarity", "layercam")
    assert list(found.layers) == ["network.visual.layer3"]
    assert found.words is not None
    assert shown["data"]["asked"] | {"model": ""} == {
        "texts": ["make it 'red'", "remove it"], "model": "", "layer": "network.visual.layer3", "score": "similarity",
        "method": "layercam", "words": True, "phrases": False, "check": False, "answer": None, "picture": "query.png",
        "target": "goal.png",
    }  # fmt: skip


def test_phrases(question, models, picture, tmp_path, monkeypatch):
    text = "make the red square left of the ring blue"
    shown = explain_request(replace(question, texts=(text,), phrases=True), models)
    expected = phrase_maps(picture, text, models.composer(question.model))
    assert [one["title"] for one in shown["tiles"]] == [text, *expected.phrases]
    found = execute(shown, tmp_path, monkeypatch, query=picture)["explanation"]
    assert len(found) == len(grids(shown)) == len(expected.phrases) + 1 == 3
    assert all(map(np.array_equal, found.maps.numpy(), grids(shown)))


def test_phrases_of_what_has_none(question, models, picture):
    asked = replace(question, phrases=True)
    with pytest.raises(InputError, match="phrases belong to one sentence"):
        explain_request(replace(asked, texts=("a", "b")), models)
    with pytest.raises(InputError, match="phrases go without a target picture"):
        explain_request(replace(asked, target=picture), models)


def test_an_example_is_drawn_by_the_code(models, tmp_path, monkeypatch):
    one = draw_examples()[0]
    asked = ExplainRequest(one.image, (one.text,), "automatic", one.target, words=True, image_name="example picture")
    shown = explain_request(asked, models)
    assert "example picture" not in shown["snippet"]
    assert "model='reference'" in shown["snippet"]
    found = execute(shown, tmp_path, monkeypatch)["explanation"]
    assert np.array_equal(found.maps[0].numpy(), grids(shown)[0])
    assert np.array_equal(found.calls[1][0].numpy(), grids(shown, "target")[0])


def test_names_are_quoted(question, models, picture, tmp_path, monkeypatch):
    (tmp_path / "a'b\".png").write_bytes(b"")
    picture.save(tmp_path / "a'b\".png")
    shown = explain_request(replace(question, image_name="a'b\".png"), models)
    assert len(execute(shown, tmp_path, monkeypatch)["explanation"]) == 1


def test_a_model_that_answers(picture, tmp_path, monkeypatch):
    folder = str(stand_in("llava", tmp_path / "llava"))
    shown = explain_request(
        ExplainRequest(picture, ("what is it ?",), folder, answer="red", image_name="query.png"), Models((folder,))
    )
    assert shown["tiles"][0]["score"]["name"] == "answer"
    assert shown["data"]["explanation"]["answers"] == ["red"]
    found = execute(shown, tmp_path, monkeypatch, query=picture)["explanation"]
    assert found.answers == ("red",)
    assert np.array_equal(found.maps[0].numpy(), grids(shown)[0])


def test_unknown_names(question, models):
    for name in ("layer", "score", "method"):
        with pytest.raises(InputError, match="nonsense"):
            explain_request(replace(question, **{name: "nonsense"}), models)


def test_a_checked_map_says_how_far_it_can_be_trusted(question, models, tmp_path, monkeypatch):
    plain, checked = explain_request(question, models), explain_request(replace(question, check=True), models)
    (tile,) = checked["tiles"]
    assert plain["tiles"][0]["check"] is None
    assert tile["check"].startswith("The map ")
    (found,) = checked["data"]["explanation"]["checks"]
    assert found["in_words"] == tile["check"]
    assert json.loads(tile["record"])["maps"][0]["check"]["verdict"] == found["verdict"]
    space = execute(checked, tmp_path, monkeypatch, query=question.image)
    assert space["explanation"].check_of(0).occlusion == pytest.approx(found["occlusion"], abs=1e-4)
