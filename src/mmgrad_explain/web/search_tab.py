"""The tab that searches a gallery by an image and a sentence; a hit can be the next reference."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mmgrad_explain.web.components import MODEL_DEFAULT, example_strip, image_input, layer_choices, score_choices
from mmgrad_explain.web.event_handlers import QUICK, WORKING, make_alert, report_errors, scroll_to
from mmgrad_explain.web.examples import draw_examples
from mmgrad_explain.web.search_history import SearchHistory
from mmgrad_explain.web.viewer import make_viewer
from mmgrad_explain.web.visitor_input import read_upload, split_sentences

if TYPE_CHECKING:
    from mmgrad_explain.web.gallery_search import GallerySearch
    from mmgrad_explain.web.limits import Limits

_MOST = 12  # hits
_HOUR = 3600  # seconds that a history is kept


def add_search_tab(searches: GallerySearch, limits: Limits, gallery: str) -> None:
    """Add the contents of the tab to the block of Gradio that is open.

    Args:
        searches: The gallery.
        limits: How much a visitor may ask for.
        gallery: What the page calls it.
    """
    import gradio as gr

    can, examples = searches.abilities(), draw_examples(searches.example_kind)
    history = gr.State(SearchHistory(), time_to_live=_HOUR)
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=300):
            gr.Markdown(
                f"Looks in {gallery} for what a sentence makes of a picture. Hits are ranked by similarity. The map "
                "on a hit shows where the hit has what the sentence speaks of; where it has nothing of that, the map "
                "is empty or goes astray. It does not say why the hit was found."
            )
            steps = gr.HTML("", elem_id="walk")
            image = image_input(label="Reference", height=280)
            text = gr.Textbox(
                label="Sentence", lines=1, max_lines=1, max_length=limits.characters, placeholder="make it red",
                info="What should change", elem_id="next-sentence",
            )  # fmt: skip
            count = gr.Slider(1, _MOST, value=6, step=1, label="Hits")
            with gr.Row():
                back = gr.Button("Go back")
                button = gr.Button("Search", variant="primary")
            strip = example_strip(examples)
            with gr.Accordion("Method", open=False):
                layer = gr.Dropdown(layer_choices(can), value=MODEL_DEFAULT[1], label="Layer")
                score = gr.Dropdown(
                    score_choices(can, target=True), value=MODEL_DEFAULT[1], label="Score",
                    info="What the hits' maps are of; choose similarity for why they were found",
                )  # fmt: skip
        with gr.Column(scale=6, min_width=300, elem_id="found"):
            alert = make_alert()
            found = make_viewer(elem_id="hits", label="Hits")

    def search(
        reference: Any, line: Any, hits: Any, before: SearchHistory, *method: Any
    ) -> tuple[Any, SearchHistory, str]:
        sentence = " ".join(split_sentences(line, limits))
        upload = None if before.reference is not None else read_upload(reference, limits, "reference")
        content, name = (b"", "") if upload is None else (upload.content, upload.name)
        after, packed = searches.search(before, sentence, _count(hits), *_method(*method), content=content, name=name)
        return packed, after, after.as_html()

    def go_on(before: SearchHistory, event: Any) -> tuple[Any, Any, str, SearchHistory]:
        hit = before.find_hit(event.value)
        after = replace(before, chosen=hit)
        return searches.read_hit(hit), gr.Textbox(value="", placeholder="and now?"), after.as_html(), after

    def go_back(before: SearchHistory, hits: Any, *method: Any) -> tuple[Any, ...]:
        after = before.go_back()
        last = after.steps[-1]
        packed = searches.repeat(after, _count(hits), *_method(*method))
        return searches.read_reference(last), last.text, after.as_html(), packed, after

    def begin() -> tuple[SearchHistory, str]:
        return SearchHistory(), ""

    def choose(event: Any) -> tuple[Any, ...]:
        example = examples[event.index]
        return example.image, example.text, *begin()

    for function in (go_on, choose):
        function.__annotations__["event"] = gr.SelectData
    handler = report_errors(search, 3), [image, text, count, history, layer, score], [found, history, steps, alert]
    after_choice = strip.select(choose, None, [image, text, history, steps], **QUICK).then
    for trigger in (button.click, text.submit, after_choice):
        trigger(*handler, show_progress_on=found, **WORKING).then(None, js=scroll_to("found"))
    after_hit = found.select(report_errors(go_on, 4), history, [image, text, steps, history, alert], **WORKING)
    after_hit.then(None, js="() => document.querySelector('#next-sentence input')?.focus()")
    outputs = [image, text, steps, found, history, alert]
    back.click(report_errors(go_back, 5), [history, count, layer, score], outputs, **WORKING)
    image.input(begin, None, [history, steps], **QUICK)


def _method(layer: Any, score: Any) -> tuple[Any, Any]:
    """Return the layer and the score that were chosen; None for the model's default."""
    return layer or None, score or None


def _count(hits: Any) -> int:
    """Return the number of hits, in bounds whatever the browser sent."""
    return min(max(int(hits), 1), _MOST) if isinstance(hits, int | float) else 1
