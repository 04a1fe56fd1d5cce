"""The tab that explains: a picture and sentences in, maps out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.attention.weighting import WEIGHTINGS
from mmgrad_explain.web.answers import Question, answer
from mmgrad_explain.web.event_handlers import QUICK, WORKING, alert, bring, told
from mmgrad_explain.web.examples import examples
from mmgrad_explain.web.inputs import example_strip, given, layer_choices, picture_input, score_choices
from mmgrad_explain.web.limits import sentences
from mmgrad_explain.web.viewer import viewer

if TYPE_CHECKING:
    from mmgrad_explain.web.limits import Limits
    from mmgrad_explain.web.models import Models


def explain_tab(models: Models, limits: Limits) -> None:
    """Lay the tab out; to be called where it is to stand.

    Args:
        models: What can be chosen from.
        limits: What is taken.
    """
    import gradio as gr

    shown_examples = examples(models.example_kind)
    first = shown_examples[0]
    can_first = models.abilities(models.first)
    shown_first = Question(first.picture, (first.text,), models.first, words=True, picture_name="example picture")
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=300):
            picture = picture_input(label="Picture", value=first.picture, height=280)
            text = gr.Textbox(
                first.text, label="Sentence", lines=1, max_lines=limits.texts,
                max_length=limits.texts * limits.characters,
                info="What should change, or what to look for. Shift+Enter begins another sentence.",
                placeholder="make it red",
            )  # fmt: skip
            button = gr.Button("Show where it looks", variant="primary")
            strip = example_strip(shown_examples)
            with gr.Accordion("Target picture (optional)", open=False):
                target = picture_input(label="What the change should lead to", height=220)
            with gr.Accordion("Model and method", open=False):
                model = gr.Dropdown(list(models.names), value=models.first, label="Model")
                said = gr.Textbox(
                    label="Answer", info="What the model might say; empty: what it says itself",
                    visible=can_first.answers, max_length=limits.characters,
                )  # fmt: skip
                layer = gr.Dropdown(layer_choices(can_first), value="", label="Layer")
                scores = score_choices(can_first, target=False)
                score = gr.Dropdown(scores, value="", label="Score", info="What the map is of")
                weighting = gr.Dropdown(list(WEIGHTINGS), value="gradcam", label="Weighting")
                words = gr.Checkbox(value=True, label="Shade the words by what they contribute")
                phrases = gr.Checkbox(value=False, label="Each phrase by itself")
        with gr.Column(scale=6, min_width=300, elem_id="answer"):
            told_here = alert()
            shown = viewer(value=answer(shown_first, models), elem_id="maps", label="Maps")

    def ask(reference: Any, line: Any, goal: Any, *method: Any) -> dict[str, Any]:
        name, where, what, how, by_word, by_phrase, says = method  # in the order of the inputs below
        texts = sentences(line, limits)
        image = given(reference, limits)
        aim = None if goal is None else given(goal, limits, "target picture")
        question = Question(
            image.image, tuple(texts), str(name), aim and aim.image, where or None, what or None, how,
            words=bool(by_word), phrases=bool(by_phrase), answer=str(says or "").strip() or None,
            picture_name=image.name, target_name="" if aim is None else aim.name,
        )  # fmt: skip
        return answer(question, models)

    def fill(name: str) -> tuple[Any, Any, Any]:
        can = models.abilities(name)
        return (
            gr.Dropdown(layer_choices(can), value=""),
            gr.Dropdown(score_choices(can, target=False), value=""),
            gr.Textbox(visible=can.answers),
        )

    def choose(event: Any) -> tuple[Any, str]:
        one = shown_examples[event.index]
        return one.picture, one.text

    choose.__annotations__["event"] = gr.SelectData
    inputs = [picture, text, target, model, layer, score, weighting, words, phrases, said]
    asked = told(ask, 1), inputs, [shown, told_here]
    chosen = strip.select(choose, None, [picture, text], **QUICK).then
    for trigger in (button.click, text.submit, chosen):
        trigger(*asked, show_progress_on=shown, **WORKING).then(None, js=bring("answer"))
    model.change(told(fill, 3), model, [layer, score, said, told_here], **WORKING)
