"""The tab that searches a gallery: a picture and a sentence in, hits with their maps out, and on from a hit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mmgrad_explain.web.event_handlers import QUICK, WORKING, alert, bring, told
from mmgrad_explain.web.examples import examples
from mmgrad_explain.web.inputs import OWN, example_strip, given, layer_choices, picture_input, score_choices
from mmgrad_explain.web.limits import sentences
from mmgrad_explain.web.searches import Walk
from mmgrad_explain.web.viewer import viewer

if TYPE_CHECKING:
    from mmgrad_explain.web.limits import Limits
    from mmgrad_explain.web.searches import Searches

_MOST = 12  # hits
_HOUR = 3600  # seconds that a search is kept


def search_tab(searches: Searches, limits: Limits, gallery: str) -> None:
    """Lay the tab out; to be called where it is to stand.

    Args:
        searches: The gallery.
        limits: What is taken.
        gallery: What to call it.
    """
    import gradio as gr

    can, shown_examples = searches.abilities(), examples(searches.example_kind)
    walk = gr.State(Walk(), time_to_live=_HOUR)
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=300):
            gr.Markdown(
                f"Looks in {gallery} for what a sentence makes of a picture. Hits are ranked by similarity. The map "
                "on a hit shows where the hit has what the sentence speaks of; where it has nothing of that, the map "
                "is empty or goes astray. It does not say why the hit was found."
            )
            steps = gr.HTML("", elem_id="walk")
            picture = picture_input(label="Reference", height=280)
            text = gr.Textbox(
                label="Sentence", lines=1, max_lines=1, max_length=limits.characters, placeholder="make it red",
                info="What should change", elem_id="next-sentence",
            )  # fmt: skip
            count = gr.Slider(1, _MOST, value=6, step=1, label="Hits")
            with gr.Row():
                back = gr.Button("Go back")
                button = gr.Button("Search", variant="primary")
            strip = example_strip(shown_examples)
            with gr.Accordion("Method", open=False):
                layer = gr.Dropdown(layer_choices(can), value=OWN[1], label="Layer")
                score = gr.Dropdown(
                    score_choices(can, target=True), value=OWN[1], label="Score",
                    info="What the hits' maps are of; choose similarity for why they were found",
                )  # fmt: skip
        with gr.Column(scale=6, min_width=300, elem_id="found"):
            told_here = alert()
            shown = viewer(elem_id="hits", label="Hits")

    def search(reference: Any, line: Any, hits: Any, before: Walk, *method: Any) -> tuple[Any, Walk, str]:
        wanted = " ".join(sentences(line, limits))
        own = None if before.reference is not None else given(reference, limits, "reference")
        content, name = (b"", "") if own is None else (own.content, own.name)
        after, packed = searches.search(before, wanted, _count(hits), *_method(*method), content=content, name=name)
        return packed, after, after.as_html()

    def go_on(before: Walk, event: Any) -> tuple[Any, Any, str, Walk]:
        hit = before.hit(event.value)
        after = replace(before, chosen=hit)
        return searches.picture_of(hit), gr.Textbox(value="", placeholder="and now?"), after.as_html(), after

    def go_back(before: Walk, hits: Any, *method: Any) -> tuple[Any, ...]:
        after = before.back()
        last = after.turns[-1]
        packed = searches.again(after, _count(hits), *_method(*method))
        return searches.reference_of(last), last.text, after.as_html(), packed, after

    def begin() -> tuple[Walk, str]:
        return Walk(), ""

    def choose(event: Any) -> tuple[Any, ...]:
        one = shown_examples[event.index]
        return one.picture, one.text, *begin()

    for function in (go_on, choose):
        function.__annotations__["event"] = gr.SelectData
    asked = told(search, 3), [picture, text, count, walk, layer, score], [shown, walk, steps, told_here]
    chosen = strip.select(choose, None, [picture, text, walk, steps], **QUICK).then
    for trigger in (button.click, text.submit, chosen):
        trigger(*asked, show_progress_on=shown, **WORKING).then(None, js=bring("found"))
    going_on = shown.select(told(go_on, 4), walk, [picture, text, steps, walk, told_here], **WORKING)
    going_on.then(None, js="() => document.querySelector('#next-sentence input')?.focus()")
    back.click(told(go_back, 5), [walk, count, layer, score], [picture, text, steps, shown, walk, told_here], **WORKING)
    picture.input(begin, None, [walk, steps], **QUICK)


def _method(layer: Any, score: Any) -> tuple[Any, Any]:
    """The layer and the score that were chosen; None for the model's own."""
    return layer or None, score or None


def _count(hits: Any) -> int:
    """How many hits are wanted, whatever the browser sent."""
    return min(max(int(hits), 1), _MOST) if isinstance(hits, int | float) else 1
