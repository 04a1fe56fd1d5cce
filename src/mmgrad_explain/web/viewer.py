"""The viewer of maps: the browser blends the heat with the images, by the tables that ``overlay.blend`` uses.

:func:`pack_map` packs one map, :func:`pack_payload` several of them, and :func:`make_viewer` makes the component that
draws a payload. Opacity, threshold and colours change in the browser, without the model or the server.
"""

from __future__ import annotations

import base64
import io
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.picture_records import picture_record
from mmgrad_explain.explanation.warning_marks import mark_of
from mmgrad_explain.images.marks import COLOURS, frame_width, mark_band
from mmgrad_explain.images.overlay import colorize, fade_in
from mmgrad_explain.images.provenance import provenance_text
from mmgrad_explain.images.word_shading import ink_on, shade
from mmgrad_explain.notes import OF_MAPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from mmgrad_explain.explanation.result import Explanation
    from mmgrad_explain.explanation.words import Word
    from mmgrad_explain.images.marks import Mark

COLORMAP_CHOICES = ("turbo", "viridis", "inferno", "gray")
"""Colormaps to choose from on the page."""
_LONGEST, _LONGEST_HEAT = 1024, 256  # pixels of the longer side, as sent to the browser
_LOSSLESS = 100_000  # pixels up to which an image is sent as PNG; beyond that JPEG is far smaller


def pack_map(
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
        explanation: The maps, with their images.
        index: Which sample.
        target: Pack the map on the target, without words.
        title: A line above the map.
        caption: A line below the title; the score and its value when None.
        action: Label of a button, and the value that the component's ``select`` event has when it is pressed, ready for
            JSON.

    Returns:
        The image as a data URI, at most 1024 pixels on its longer side; the heat as base64 of uint8 [0, 255], at most
        256 pixels on its longer side, with its ``size`` (w, h); ``size`` (W, H) of the original image and ``peak``
        (x, y) on it, None for a flat map; score, words, notes and plain words; the mark and the line of the check, None
        where there are none; and the record that a downloaded picture holds.

    Raises:
        InputError: The explanation does not know its images, or as ``Explanation.heatmap``.
    """
    heat = explanation.heatmap(index, target=target)
    images = explanation.targets if target else explanation.images
    if images is None:
        raise InputError(f"explanation: it has no {'target ' if target else ''}pictures to show its maps on")
    image, flat = images[index], float(heat.max()) <= 0
    y, x = np.unravel_index(int(heat.argmax()), heat.shape)
    scale = image.width / heat.shape[1], image.height / heat.shape[0]
    peak = [int((place + 0.5) * factor) for place, factor in zip((x, y), scale, strict=True)]
    words = None if explanation.words is None or target else explanation.words[index]
    check = explanation.check_of(index, target=target)
    return {
        "title": title,
        "caption": caption,
        "picture": _data_uri(image),
        "size": [image.width, image.height],
        "heat": _pack_heat(heat),
        "peak": None if flat else peak,
        "flat": flat,
        "mark": _pack_mark(mark_of(explanation, index, target=target), _fit_within(image.size, _LONGEST)[0]),
        "check": None if check is None else check.in_words(),
        "record": provenance_text(picture_record(explanation, [(index % len(explanation), target)])),
        "score": {"name": explanation.score_name, "value": float(explanation.score[index])},
        "words": None if words is None else [_pack_word(word) for word in words],
        "words_by": explanation.words_by[index] if explanation.words_by else "",
        "notes": [note.text for note in explanation.notes_of(index) if note.kind not in OF_MAPS],
        "meaning": explanation.in_words(index, target=target),
        "action": None if action is None else {"label": action[0], "value": action[1]},
    }


def pack_payload(
    tiles: Sequence[dict[str, Any]], *, data: dict[str, Any], snippet: str, colormap: str = "turbo"
) -> dict[str, Any]:
    """Pack all that the component shows, ready for JSON.

    Args:
        tiles: Maps of :func:`pack_map`.
        data: The content of "Download JSON".
        snippet: Python that makes the same maps.
        colormap: Name of the first colormap, as for ``overlay.colorize``.

    Raises:
        InputError: ``colormap`` is unknown.
    """
    steps = np.arange(256, dtype=np.uint8)[None]
    return {
        "tiles": list(tiles),
        "data": data,
        "snippet": snippet,
        "colormap": colormap,
        "tables": {
            name: _base64(colorize(steps, name).tobytes()) for name in dict.fromkeys((colormap, *COLORMAP_CHOICES))
        },
        "ramp": np.round(fade_in(np.linspace(0, 1, 256)), 6).tolist(),
    }


def make_viewer(**options: Any) -> Any:
    """Make the component, a ``gr.HTML`` with a payload of :func:`pack_payload` or None as its value.

    Its ``select`` event is the action of a tile: ``gr.SelectData`` has the tile's number as ``index`` and the action's
    value as ``value``. Both come from the browser and must be checked.

    Args:
        **options: Arguments of ``gr.HTML``: ``elem_id``, ``label``, ``visible``, ...

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


def _data_uri(image: Image.Image) -> str:
    shown = image.resize(_fit_within(image.size, _LONGEST), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    kind = "png" if shown.width * shown.height <= _LOSSLESS else "jpeg"
    shown.save(buffer, kind, **({} if kind == "png" else {"quality": 92, "subsampling": 0}))
    return f"data:image/{kind};base64,{_base64(buffer.getvalue())}"


def _pack_heat(heat: npt.NDArray[np.float32]) -> dict[str, Any]:
    size = _fit_within((heat.shape[1], heat.shape[0]), _LONGEST_HEAT)
    small = np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR))
    return {"size": list(size), "levels": _base64(np.rint(small * 255).astype(np.uint8).tobytes())}


def _pack_mark(mark: Mark | None, width: int) -> dict[str, Any] | None:
    """Pack the words and colours of a mark, and the band that a downloaded picture gets."""
    if mark is None:
        return None
    buffer = io.BytesIO()
    mark_band(mark, width).save(buffer, "png")
    ground, ink = COLOURS[mark.level]
    band = f"data:image/png;base64,{_base64(buffer.getvalue())}"
    frame = frame_width(width)
    return {"level": mark.level, "text": mark.text, "ground": ground, "ink": ink, "band": band, "frame": frame}


def _pack_word(word: Word) -> dict[str, Any]:
    ground = shade(word.scaled)
    colours = {"ground": "#{:02x}{:02x}{:02x}".format(*ground), "ink": ink_on(ground)}
    return {"text": word.text, "value": word.value, "scaled": word.scaled, **colours}


def _fit_within(size: tuple[int, int], longest: int) -> tuple[int, int]:
    ratio = min(1.0, longest / max(size))
    return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
