"""The tab that explains an image and sentences by maps."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from mmgrad_explain.attention.methods.named import METHODS
from mmgrad_explain.web.components import example_strip, image_input, layer_choices, score_choices
from mmgrad_explain.web.event_handlers import QUICK, WORKING, make_alert, report_errors, scroll_to
from mmgrad_explain.web.examples import draw_examples
from mmgrad_explain.web.explain_request import ExplainRequest
from mmgrad_explain.web.explanations import explain_request
from mmgrad_explain.web.viewer import make_viewer
from mmgrad_explain.web.visitor_input import read_upload, split_sentences

if TYPE_CHECKING:
    from mmgrad_explain.web.limits import Limits
    from mmgrad_explain.web.models import Models


def add_explain_tab(models: Models, limits: Limits) -> None:
    """Add the contents of the tab to the block of Gradio that is open.

    Args:
        models: The models to choose from.
        limits: How much a visitor may ask for.
    """
    import gradio as gr

    examples = draw_examples(models.example_kind)
    first = examples[0]
    can_first = models.abilities(models.first)
    first_request = ExplainRequest(first.image, (first.text,), models.first, words=True, image_name="example picture")
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=300):
            image = image_input(label="Picture", value=first.image, height=280)
            text = gr.Textbox(
                first.text, label="Sentence", lines=1, max_lines=limits.texts,
                max_length=limits.texts * limits.characters,
                info="What should change, or what to look for. Shift+Enter begins another sentence.",
                placeholder="make it red",
            )  # fmt: skip
            button = gr.Button("Show where it looks", variant="primary")
            check = gr.Button("Check how far to trust the maps", elem_id="check")
            strip = example_strip(examples)
            with gr.Accordion("Target picture (optional)", open=False):
                target = image_input(label="What the change should lead to", height=220)
            with gr.Accordion("Model and method", open=False):
                model = gr.Dropdown(list(models.names), value=models.first, label="Model")
                answer = gr.Textbox(
                    label="Answer", info="What the model might say; empty: what it says itself",
                    visible=can_first.answers, max_length=limits.characters,
                )  # fmt: skip
                layer = gr.Dropdown(layer_choices(can_first), value="", label="Layer")
                scores = score_choices(can_first, target=False)
                score = gr.Dropdown(scores, value="", label="Score", info="What the map is of")
                methods = [("the model's default", ""), *((name, name) for name in METHODS)]
                method = gr.Dropdown(methods, value="", label="Method", info="How the map is made")
                words = gr.Checkbox(value=True, label="Shade the words by what they contribute")
                phrases = gr.Checkbox(value=False, label="Each phrase by itself")
        with gr.Column(scale=6, min_width=300, elem_id="answer"):
            alert = make_alert()
            maps = make_viewer(value=explain_request(first_request, models), elem_id="maps", label="Maps")

    def ask(reference: Any, line: Any, goal: Any, *settings: Any, checked: bool = False) -> dict[str, Any]:
        model_name, layer_name, score_name, method_name, by_word, by_phrase, said = settings  # as in `inputs` below
        texts = split_sentences(line, limits)
        upload = read_upload(reference, limits)
        target_upload = None if goal is None else read_upload(goal, limits, "target picture")
        request = ExplainRequest(
            upload.image, tuple(texts), str(model_name), target_upload and target_upload.image, layer_name or None,
            score_name or None, method_name or None, words=bool(by_word), phrases=bool(by_phrase), check=checked,
            answer=str(said or "").strip() or None, image_name=upload.name,
            target_name="" if target_upload is None else target_upload.name,
        )  # fmt: skip
        return explain_request(request, models)

    def update_choices(name: str) -> tuple[Any, Any, Any]:
        can = models.abilities(name)
        return (
            gr.Dropdown(layer_choices(can), value=""),
            gr.Dropdown(score_choices(can, target=False), value=""),
            gr.Textbox(visible=can.answers),
        )

    def choose(event: Any) -> tuple[Any, str]:
        example = examples[event.index]
        return example.image, example.text

    choose.__annotations__["event"] = gr.SelectData
    inputs = [image, text, target, model, layer, score, method, words, phrases, answer]
    handler = report_errors(ask, 1), inputs, [maps, alert]
    after_choice = strip.select(choose, None, [image, text], **QUICK).then
    for trigger in (button.click, text.submit, after_choice):
        trigger(*handler, show_progress_on=maps, **WORKING).then(None, js=scroll_to("answer"))
    checked = report_errors(partial(ask, checked=True), 1), inputs, [maps, alert]
    check.click(*checked, show_progress_on=maps, **WORKING).then(None, js=scroll_to("answer"))
    model.change(report_errors(update_choices, 3), model, [layer, score, answer, alert], **WORKING)
