"""What the page is asked with: pictures as files that nobody has decoded yet, and examples to press."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain.errors import InputError
from mmgrad_explain.web.examples import code_for
from mmgrad_explain.web.limits import Given, read_picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from mmgrad_explain.web.examples import Example
    from mmgrad_explain.web.limits import Limits
    from mmgrad_explain.web.models import Abilities

OWN = ("the model's own", "")
"""The first choice of a layer and of a score: its label and its value."""
_ASKED = {
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


def picture_input(**options: Any) -> Any:
    """Make a ``gr.Image``: uploaded, pasted or photographed. What the server puts in stays lossless.

    Its handlers are to be bound with ``preprocess=False`` (:data:`~mmgrad_explain.web.event_handlers.WORKING`), since
    Gradio would open a picture before anybody could look at its size, and take what they get to :func:`given`.

    Args:
        **options: Of ``gr.Image``.
    """
    import gradio as gr

    return gr.Image(sources=["upload", "clipboard", "webcam"], type="filepath", format="png", buttons=[], **options)


def given(value: Any, limits: Limits, what: str = "picture") -> Given:
    """Take the value of a :func:`picture_input` as the browser sent it.

    Args:
        value: None where there is no picture.
        limits: How large it may be.
        what: What it is for, for the message.

    Raises:
        InputError: There is none, or as :func:`~mmgrad_explain.web.limits.read_picture`.
    """
    if not isinstance(value, dict) or not isinstance(value.get("path"), str):
        raise InputError(f"there is no {what} yet: upload, paste or photograph one, or choose an example")
    found = read_picture(value["path"], Path(str(value.get("orig_name") or value["path"])).name, limits)
    return found if code_for(found.image) is None else found._replace(name="example picture")


def layer_choices(can: Abilities) -> list[tuple[str, str]]:
    """What a picker of layers offers of a model: labels, with the grid's height and width, and names."""
    return [OWN, *((f"{name} ({h} x {w})", name) for name, (h, w) in can.layers)]


def score_choices(can: Abilities, *, target: bool) -> list[tuple[str, str]]:
    """What a picker of scores offers of a model: labels and names.

    Args:
        can: What the model can be asked.
        target: Whether there is always a target; else it is said which scores need one.
    """
    need = "" if target else "; needs a target"
    alone = [(f"{_ASKED[name]} ({name})", name) for name in can.scores]
    return [OWN, *alone, *((f"{_ASKED[name]} ({name}{need})", name) for name in can.target_scores)]


def example_strip(examples: Sequence[Example], **options: Any) -> Any:
    """Make a row of buttons, one an example; ``select`` hands on which.

    Args:
        examples: What to choose from.
        **options: Of ``gr.HTML``.
    """
    import gradio as gr

    buttons = "".join(
        f'<button type="button" data-index="{index}"><img src="{thumbnail(one.picture)}" alt="" width="64" '
        f'height="64"><span>{html.escape(one.text)}</span></button>'
        for index, one in enumerate(examples)
    )
    value = f'<div class="mmgrad-examples" role="group" aria-label="Examples">{buttons}</div>'
    return gr.HTML(value, js_on_load=_PRESS, **options)


def thumbnail(picture: Image.Image) -> str:
    """A small JPEG of a picture, as a data URI."""
    small = picture.copy()
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    buffer = io.BytesIO()
    small.save(buffer, "jpeg", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
