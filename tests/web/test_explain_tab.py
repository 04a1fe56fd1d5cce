"""What the tab that explains does with what a visitor gives, without a server."""

import gradio as gr
import pytest

from mmgrad_explain.web.explain_tab import add_explain_tab
from mmgrad_explain.web.limits import Limits
from mmgrad_explain.web.models import Models

UPLOAD = "a picture that was uploaded"


@pytest.fixture(scope="module")
def handlers():
    """The functions of the tab by their names; the last of their values is the line of an error."""
    with gr.Blocks() as blocks:
        add_explain_tab(Models(), Limits())
    return {one.api_name: one.fn for one in blocks.fns.values()}


@pytest.fixture
def ask(handlers, picture_file):
    def call(*values):
        upload = {"path": str(picture_file), "orig_name": "mine.png"}
        return handlers["ask"](*(upload if value is UPLOAD else value for value in values))

    return call


def question(picture, text="make it red", target=None, model="reference", **method):
    chosen = {"layer": "", "score": "", "method": "gradcam", "words": True, "phrases": False, "answer": ""} | method
    return picture, text, target, model, *chosen.values()


def test_an_answer(ask):
    shown, said = ask(*question(UPLOAD, "make it red\nremove it", target=UPLOAD, score="similarity", words=False))
    assert said == ""
    assert len(shown["tiles"]) == 4
    asked = shown["data"]["asked"]
    assert (asked["texts"], asked["picture"], asked["target"]) == (["make it red", "remove it"], "mine.png", "mine.png")
    assert (asked["layer"], asked["score"], asked["answer"], asked["words"]) == (None, "similarity", None, False)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (question(None), "there is no picture yet: upload, paste or photograph one"),
        (question(UPLOAD, ""), "the sentence is empty: say what should change"),
        (question(UPLOAD, None), "the sentence is empty"),
        (question(UPLOAD, "a\n" * 7), "7 sentences are too many at once"),
        (question(UPLOAD, model="/etc"), "the page has no model &#x27;/etc&#x27;: choose one of"),
        (question(UPLOAD, layer="network.none"), "network.none"),
        (question(UPLOAD, layer=[{}]), "this could not be done"),
        (question(UPLOAD, score="nonsense"), "score: there is no &#x27;nonsense&#x27;"),
        (question(UPLOAD, method="none"), "method: there is no &#x27;none&#x27;"),
        (question(UPLOAD, method=[{}]), "this could not be done"),
        (question(UPLOAD, score="similarity"), "target"),
        (question(UPLOAD, answer="red"), "does not answer in words"),
    ],
)
def test_what_cannot_be_answered_is_told(ask, asked, said):
    shown, line = ask(*asked)
    assert shown == gr.skip()
    assert said in line
    assert line.count("\n") == 0
    assert "Traceback" not in line


def test_what_a_model_can_be_asked(handlers):
    layer, score, answers, said = handlers["update_choices"]("reference")
    assert said == ""
    assert ("network.features (24 x 24)", "network.features") in layer.choices
    assert score.choices[0] == ("the model's own", "")
    assert ("likeness of picture with text and target (similarity; needs a target)", "similarity") in score.choices
    assert answers.visible is False
