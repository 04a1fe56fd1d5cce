"""What the page shows maps with: the browser lays the heat on the pictures, by the tables that ``overlay.blend`` uses.

:func:`tile` packs one map, :func:`payload` several of them, and :func:`viewer` is the component that draws a payload.
Opacity, threshold and colours change in the browser alone; nothing is asked of the model or the server for them.
"""

from __future__ import annotations

import base64
import io
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.overlay import colorize, fade_in
from mmgrad_explain.images.word_shading import ink_on, shade
from mmgrad_explain.notes import OF_MAPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from mmgrad_explain.explanation.result import Explanation
    from mmgrad_explain.explanation.words import Word

CHOICES = ("turbo", "viridis", "inferno", "gray")
"""Which a reader of the page can choose from."""
_LONGEST, _LONGEST_HEAT = 1024, 256  # pixels of the longer side that are sent
_LOSSLESS = 100_000  # pixels up to which a picture is sent as PNG; beyond, JPEG is far smaller


def tile(
    explanation: Explanation,
    index: int = 0,
    *,
    target: bool = False,
    title: str,
    caption: str | None = None,
    action: tuple[str, Any] | None = None,
) -> dict[str, Any]:
    """Pack one map, ready for JSON.

    Args:
        explanation: The maps, with their pictures.
        index: Which sample.
        target: The target's map. The words stand beside the reference's.
        title: What to write above it.
        caption: What to write below that; the score and its value when None.
        action: A button's label, and what the component's ``select`` event hands on when it is pressed, ready for JSON.

    Returns:
        The picture as a data URI, at most 1024 pixels on its longer side; the heat as base64 of uint8 [0, 255], at most
        256 pixels on its longer side, with its ``size`` (w, h); ``size`` (W, H) of the original picture and ``peak``
        (x, y) on it, None for a flat map; score, words, notes and plain words.

    Raises:
        InputError: the explanation does not know its pictures, or as ``Explanation.heatmap``.
    """
    heat = explanation.heatmap(index, target=target)
    pictures = explanation.targets if target else explanation.images
    if pictures is None:
        raise InputError(f"explanation: it has no {'target ' if target else ''}pictures to show its maps on")
    picture, flat = pictures[index], float(heat.max()) <= 0
    y, x = np.unravel_index(int(heat.argmax()), heat.shape)
    scale = picture.width / heat.shape[1], picture.height / heat.shape[0]
    peak = [int((place + 0.5) * factor) for place, factor in zip((x, y), scale, strict=True)]
    words = None if explanation.words is None or target else explanation.words[index]
    return {
        "title": title,
        "caption": caption,
        "picture": _data_uri(picture),
        "size": [picture.width, picture.height],
        "heat": _packed_heat(heat),
        "peak": None if flat else peak,
        "flat": flat,
        "score": {"name": explanation.score_name, "value": float(explanation.score[index])},
        "words": None if words is None else [_packed_word(word) for word in words],
        "notes": [note.text for note in explanation.notes_of(index) if note.kind not in OF_MAPS],
        "meaning": explanation.in_words(index, target=target),
        "action": None if action is None else {"label": action[0], "value": action[1]},
    }


def payload(
    tiles: Sequence[dict[str, Any]], *, data: dict[str, Any], snippet: str, colormap: str = "turbo"
) -> dict[str, Any]:
    """Pack what the component shows at once, ready for JSON.

    Args:
        tiles: Of :func:`tile`.
        data: What "Download JSON" gives.
        snippet: Python that makes the same maps.
        colormap: The colours to begin with, as ``overlay.colorize`` knows them.

    Raises:
        InputError: ``colormap`` is unknown.
    """
    steps = np.arange(256, dtype=np.uint8)[None]
    return {
        "tiles": list(tiles),
        "data": data,
        "snippet": snippet,
        "colormap": colormap,
        "tables": {name: _base64(colorize(steps, name).tobytes()) for name in dict.fromkeys((colormap, *CHOICES))},
        "ramp": np.round(fade_in(np.linspace(0, 1, 256)), 6).tolist(),
    }


def viewer(**options: Any) -> Any:
    """Make the component, a ``gr.HTML`` whose value is a :func:`payload` or None.

    Its ``select`` event is a tile's action: the handler's ``gr.SelectData`` has the tile's number as ``index`` and the
    action's value as ``value``. Both come from the browser, so they are to be checked like anything that does.

    Args:
        **options: Of ``gr.HTML``: ``elem_id``, ``label``, ``visible``, ...

    Raises:
        InputError: Gradio is not installed.
    """
    try:
        import gradio as gr
    except ImportError as error:
        raise InputError(
            f'the page needs Gradio, which cannot be imported ({error}): pip install "mmgrad-explain[demo]"'
        ) from error

    static = resources.files("mmgrad_explain.web") / "static"
    return gr.HTML(
        html_template='<div class="mmgrad-viewer"></div>',
        css_template=(static / "viewer.css").read_text(encoding="utf-8"),
        js_on_load=(static / "viewer.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        **options,
    )


def _data_uri(picture: Image.Image) -> str:
    shown = picture.resize(_within(picture.size, _LONGEST), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    kind = "png" if shown.width * shown.height <= _LOSSLESS else "jpeg"
    shown.save(buffer, kind, **({} if kind == "png" else {"quality": 92, "subsampling": 0}))
    return f"data:image/{kind};base64,{_base64(buffer.getvalue())}"


def _packed_heat(heat: npt.NDArray[np.float32]) -> dict[str, Any]:
    size = _within((heat.shape[1], heat.shape[0]), _LONGEST_HEAT)
    small = np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR))
    return {"size": list(size), "levels": _base64(np.rint(small * 255).astype(np.uint8).tobytes())}


def _packed_word(word: Word) -> dict[str, Any]:
    ground = shade(word.scaled)
    colours = {"ground": "#{:02x}{:02x}{:02x}".format(*ground), "ink": ink_on(ground)}
    return {"text": word.text, "value": word.value, "scaled": word.scaled, **colours}


def _within(size: tuple[int, int], longest: int) -> tuple[int, int]:
    ratio = min(1.0, longest / max(size))
    return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
