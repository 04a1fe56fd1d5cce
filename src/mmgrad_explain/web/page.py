"""The page as a whole."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any

from mmgrad_explain.web.explain_tab import explain_tab
from mmgrad_explain.web.search_tab import search_tab

if TYPE_CHECKING:
    from mmgrad_explain.web.limits import Limits
    from mmgrad_explain.web.models import Models
    from mmgrad_explain.web.searches import Searches

TITLE = "Where does the model look?"
_HEAD = f"""<header class="mmgrad-head"><h1>{TITLE}</h1>
<p>A picture and a sentence go into a vision-language model; the map shows which places of the picture its score depends
on because of the sentence.</p></header>"""
_FOOT = """<footer class="mmgrad-foot">Maps are taken at one layer and to first order. They say what the score depends
on, not that the model is right. Pictures stay on the machine that runs this page and are deleted after an hour.
</footer>"""
_EVERY, _AGE = 600, 3600  # seconds: how often files are looked at, and how old they may become
_FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
_CODE_FONTS = ["ui-monospace", "Menlo", "Consolas", "monospace"]


def build(models: Models, searches: Searches, limits: Limits, *, gallery: str) -> Any:
    """Make the page; it is not served yet.

    Args:
        models: What can be chosen from.
        searches: The gallery.
        limits: What is taken.
        gallery: What to call the gallery.

    Returns:
        ``gr.Blocks``.
    """
    import gradio as gr

    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(_EVERY, _AGE)) as blocks:
        gr.HTML(_HEAD)
        with gr.Tabs():
            with gr.Tab("Explain"):
                explain_tab(models, limits)
            with gr.Tab("Search a gallery"):
                search_tab(searches, limits, gallery)
        gr.HTML(_FOOT)
    blocks.queue(max_size=limits.waiting, default_concurrency_limit=1, api_open=False)
    return blocks


def look() -> dict[str, Any]:
    """Give how the page looks, as options of ``launch``: with the system's own fonts, so that none is fetched."""
    import gradio as gr

    theme = gr.themes.Default(
        primary_hue="teal", secondary_hue="teal", neutral_hue="slate", font=_FONTS, font_mono=_CODE_FONTS
    ).set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        body_text_color_subdued="*neutral_600",
        block_info_text_color="*neutral_600",
    )  # readable where the defaults are faint
    css = (resources.files("mmgrad_explain.web") / "static" / "page.css").read_text(encoding="utf-8")
    return {"theme": theme, "css": css}
