"""The page: its tabs, head and foot, and its style."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any

from mmgrad_explain.web.explain_tab import add_explain_tab
from mmgrad_explain.web.search_tab import add_search_tab

if TYPE_CHECKING:
    from mmgrad_explain.web.gallery_search import GallerySearch
    from mmgrad_explain.web.limits import Limits
    from mmgrad_explain.web.models import Models

TITLE = "Where does the model look?"
_HEAD = f"""<header class="mmgrad-head"><h1>{TITLE}</h1>
<p>A picture and a sentence go into a vision-language model; the map shows which places of the picture its score depends
on because of the sentence.</p></header>"""
_FOOT = """<footer class="mmgrad-foot">Maps are taken at one layer and to first order. They say what the score depends
on, not that the model is right. Pictures stay on the machine that runs this page and are deleted after an hour.
</footer>"""
_CHECK_EVERY, _MOST_AGE = 600, 3600  # seconds, of files that visitors uploaded
_FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
_CODE_FONTS = ["ui-monospace", "Menlo", "Consolas", "monospace"]


def build_page(models: Models, searches: GallerySearch, limits: Limits, *, gallery: str) -> Any:
    """Build the page; it is not served yet.

    Args:
        models: The models to choose from.
        searches: The gallery.
        limits: How much a visitor may ask for.
        gallery: What the page calls the gallery.

    Returns:
        ``gr.Blocks``.
    """
    import gradio as gr

    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(_CHECK_EVERY, _MOST_AGE)) as blocks:
        gr.HTML(_HEAD)
        with gr.Tabs():
            with gr.Tab("Explain"):
                add_explain_tab(models, limits)
            with gr.Tab("Search a gallery"):
                add_search_tab(searches, limits, gallery)
        gr.HTML(_FOOT)
    blocks.queue(max_size=limits.waiting, default_concurrency_limit=1, api_open=False)
    return blocks


def style_options() -> dict[str, Any]:
    """Return the page's style as options of ``launch``; it uses the system's fonts, so that none is fetched."""
    import gradio as gr

    theme = gr.themes.Default(
        primary_hue="teal", secondary_hue="teal", neutral_hue="slate", font=_FONTS, font_mono=_CODE_FONTS
    ).set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        body_text_color_subdued="*neutral_600",
        block_info_text_color="*neutral_600",
    )  # with more contrast than the defaults
    css = (resources.files("mmgrad_explain.web") / "static" / "page.css").read_text(encoding="utf-8")
    return {"theme": theme, "css": css}
