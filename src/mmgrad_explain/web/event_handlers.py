"""Handlers of the page's events: one at a time for all visitors; every error is one line in the page."""

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
"""Options of events that use a model or the gallery: they share one worker, and get the raw values of the browser."""
QUICK: dict[str, Any] = {"concurrency_limit": None, "api_visibility": "private", "show_progress": "hidden"}
"""Options of events that use neither."""


def make_alert() -> Any:
    """Make the component that shows errors."""
    import gradio as gr

    return gr.HTML("", elem_classes="mmgrad-alert")


def report_errors(function: Callable[..., Any], outputs: int) -> Callable[..., Any]:
    """Make a handler that shows errors in an alert (:func:`make_alert`), which is its last output.

    An error of this package is shown as it is. For any other one the page names its type, and its traceback is printed
    to standard error without secrets.

    Args:
        function: Returns the values of the other outputs, as a tuple where there are several.
        outputs: The number of the other outputs; on an error they do not change.
    """

    @wraps(function)
    def handler(*arguments: Any) -> tuple[Any, ...]:
        import gradio as gr

        try:
            values = function(*arguments)
        except MMGradError as error:
            return (*[gr.skip()] * outputs, _as_html(str(error)))
        except Exception as error:  # noqa: BLE001 - models raise all sorts of things, and the page must stay usable
            sys.stderr.write(redact(traceback.format_exc()))
            said = f"this could not be done ({type(error).__name__}): the terminal where the page was started says more"
            return (*[gr.skip()] * outputs, _as_html(said))
        return (*(values if outputs > 1 else (values,)), "")

    return handler


def scroll_to(elem_id: str) -> str:
    """Write JavaScript that scrolls to an element that is out of sight, as answers are on a phone."""
    return (
        f"() => {{ const place = document.getElementById({elem_id!r}); "
        "if (place.getBoundingClientRect().top > 0.7 * innerHeight) place.scrollIntoView(); }"
    )


def _as_html(message: str) -> str:
    return f'<p role="alert">{html.escape(" ".join(message.split()))}</p>'
