"""Parts of the page that both tabs have: image inputs, examples to press, choices of layers and scores."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from mmgrad_explain.web.examples import Example
    from mmgrad_explain.web.models import Abilities

MODEL_DEFAULT = ("the model's own", "")
"""The first choice of a layer and of a score: its label and its value."""
_SCORE_LABELS = {
    "shift": "what the text changes",
    "similarity": "likeness of picture with text and target",
    "pair": "what both have in common",
    "pair-different": "what differs between both",
    "image-text": "likeness of picture and text",
    "match": "picture and text match",
    "answer": "likelihood of the answer",
}
_THUMBNAIL = 96  # pixels
_PRESS = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-index]");
  if (button) trigger("select", { index: Number(button.dataset.index), value: null });
});
"""


def image_input(**options: Any) -> Any:
    """Make a ``gr.Image`` that takes uploads, pasted images and photographs; images from the server stay lossless.

    Bind its handlers with ``preprocess=False`` (:data:`~mmgrad_explain.web.event_handlers.WORKING`), since Gradio would
    decode an image before its size is checked; :func:`~mmgrad_explain.web.visitor_input.read_upload` reads the value.

    Args:
        **options: Arguments of ``gr.Image``.
    """
    import gradio as gr

    return gr.Image(sources=["upload", "clipboard", "webcam"], type="filepath", format="png", buttons=[], **options)


def layer_choices(can: Abilities) -> list[tuple[str, str]]:
    """List a model's layers for the layer menu: a label with the size of the grid, and the layer's name."""
    return [MODEL_DEFAULT, *((f"{name} ({h} x {w})", name) for name, (h, w) in can.layers)]


def score_choices(can: Abilities, *, target: bool) -> list[tuple[str, str]]:
    """List the choices of a model's scores: labels and names.

    Args:
        can: What the model can do.
        target: Whether there is always a target; if not, labels say which scores need one.
    """
    need = "" if target else "; needs a target"
    alone = [(f"{_SCORE_LABELS[name]} ({name})", name) for name in can.scores]
    return [MODEL_DEFAULT, *alone, *((f"{_SCORE_LABELS[name]} ({name}{need})", name) for name in can.target_scores)]


def example_strip(examples: Sequence[Example], **options: Any) -> Any:
    """Make a row of buttons, one for each example; its ``select`` event has the index.

    Args:
        examples: The examples.
        **options: Arguments of ``gr.HTML``.
    """
    import gradio as gr

    buttons = "".join(
        f'<button type="button" data-index="{index}"><img src="{thumbnail(example.image)}" alt="" width="64" '
        f'height="64"><span>{html.escape(example.text)}</span></button>'
        for index, example in enumerate(examples)
    )
    value = f'<div class="mmgrad-examples" role="group" aria-label="Examples">{buttons}</div>'
    return gr.HTML(value, js_on_load=_PRESS, **options)


def thumbnail(image: Image.Image) -> str:
    """Make a small JPEG of an image, as a data URI."""
    small = image.copy()
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    buffer = io.BytesIO()
    small.save(buffer, "jpeg", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
