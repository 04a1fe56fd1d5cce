"""How the page's events are bound: one at a time for all visitors, and every error one line in the page."""

from __future__ import annotations

import html
import sys
import traceback
from functools import wraps
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.redaction import redact
from mmgrad_explain.errors import MMGradError

if TYPE_CHECKING:
    from collections.abc import Callable

WORKING: dict[str, Any] = {
    "concurrency_id": "model", "concurrency_limit": 1, "api_visibility": "private", "show_progress": "minimal",
    "preprocess": False,
}  # fmt: skip
"""Options of events that ask a model or a gallery: they share one worker, and get what the browser sent as it is."""
QUICK: dict[str, Any] = {"concurrency_limit": None, "api_visibility": "private", "show_progress": "hidden"}
"""Options of events that ask neither."""


def alert() -> Any:
    """Make the place where errors are told."""
    import gradio as gr

    return gr.HTML("", elem_classes="mmgrad-alert")


def told(function: Callable[..., Any], outputs: int) -> Callable[..., Any]:
    """Have a handler tell its errors in an :func:`alert`, which is its last output.

    Args:
        function: Gives the values of the outputs before that: a tuple where there are several.
        outputs: How many these are; on an error they stay as they are.
    """

    @wraps(function)
    def handler(*arguments: Any) -> tuple[Any, ...]:
        import gradio as gr

        try:
            values = function(*arguments)
        except MMGradError as error:
            return (*[gr.skip()] * outputs, _line(str(error)))
        except Exception as error:  # noqa: BLE001 - models raise all sorts of things, and the page must stay usable
            sys.stderr.write(redact(traceback.format_exc()))
            said = f"this could not be done ({type(error).__name__}): the terminal where the page was started says more"
            return (*[gr.skip()] * outputs, _line(said))
        return (*(values if outputs > 1 else (values,)), "")

    return handler


def bring(elem_id: str) -> str:
    """Give JavaScript that scrolls to where answers stand, where they are out of sight, as on a phone."""
    return (
        f"() => {{ const place = document.getElementById({elem_id!r}); "
        "if (place.getBoundingClientRect().top > 0.7 * innerHeight) place.scrollIntoView(); }"
    )


def _line(message: str) -> str:
    return f'<p role="alert">{html.escape(" ".join(message.split()))}</p>'
