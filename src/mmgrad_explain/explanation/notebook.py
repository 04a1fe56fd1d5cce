"""Explanations as a notebook shows them: HTML that needs nothing from outside and takes its colours from the theme.

Pictures are part of the HTML (data URIs) and letters are text in the notebook's own colour, so that both a light and a
dark theme can be read. Everything that a user or a model wrote is escaped.
"""

from __future__ import annotations

import base64
import io
import sys
from html import escape
from typing import TYPE_CHECKING

from PIL import Image

from mmgrad_explain.explanation.bright_places import bright_places, where_in_short
from mmgrad_explain.explanation.plain_words import describe
from mmgrad_explain.explanation.sides import sides_of
from mmgrad_explain.images.tiles import shrunk

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mmgrad_explain.explanation.phrases import PhraseMaps
    from mmgrad_explain.explanation.result import Explanation
    from mmgrad_explain.explanation.words import Word

MOST = 6  # samples that are shown; the rest is counted
_BOX = (360, 240)  # width and height that a picture is fitted into on the page, in CSS pixels
_SHARP = 2  # pixels of the file for each of these, for fine screens
_QUIET = "font-size:85%;opacity:.75"
_ALPHA = 0.7


def png_bytes(picture: Image.Image, *, quick: bool = False) -> bytes:
    """Give a picture as a PNG file; ``quick`` ones are larger."""
    buffer = io.BytesIO()
    picture.save(buffer, format="png", compress_level=1 if quick else 6)
    return buffer.getvalue()


def show_picture(picture: Image.Image) -> None:
    """Show a picture below the cell of a notebook, or else in the system's viewer."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if getattr(shell, "kernel", None) is None:  # no IPython, or one in a terminal
        picture.show()
        return
    from IPython.display import display

    display(picture)


def fine(picture: Image.Image, width: int = _BOX[0], height: int = _BOX[1]) -> Image.Image:
    """Give a picture with no more pixels than a box of that size needs on a fine screen."""
    return shrunk(picture, _SHARP * width, _SHARP * height)


def tile(picture: Image.Image, caption: str, alt: str, *, width: int = _BOX[0], height: int = _BOX[1]) -> str:
    """Give a picture with its caption below.

    Args:
        picture: RGB. A small one is enlarged without smoothing: its pixels are cells of a map.
        caption: Plain text.
        alt: What the picture shows, for who cannot see it; plain text.
        width: Of the box that it is fitted into, in CSS pixels.
        height: Likewise.
    """
    scale = min(width / picture.width, height / picture.height)
    shown = [max(1, round(side * scale)) for side in picture.size]
    small = scale > _SHARP
    if small:
        data, kind = png_bytes(picture), "png"
    else:
        buffer = io.BytesIO()
        fine(picture, width, height).save(buffer, format="jpeg", quality=90)
        data, kind = buffer.getvalue(), "jpeg"
    crisp = ";image-rendering:pixelated" if small else ""
    return (
        f'<figure style="margin:0;max-width:{shown[0]}px"><img src="data:image/{kind};base64,'
        f'{base64.b64encode(data).decode()}" alt="{escape(alt)}" width="{shown[0]}" height="{shown[1]}" '
        f'style="display:block;margin:0{crisp}"><figcaption style="{_QUIET};text-align:center">{escape(caption)}'
        "</figcaption></figure>"
    )


def side_by_side(parts: Iterable[str], gap: int = 8) -> str:
    """Set pieces of HTML beside one another, wrapped where the page is narrow."""
    return f'<div style="display:flex;flex-wrap:wrap;align-items:flex-start;gap:{gap}px">{"".join(parts)}</div>'


def lines(texts: Iterable[str]) -> str:
    """Give plain texts as quiet lines below one another; empty ones are left out."""
    return "".join(f'<div style="{_QUIET}">{escape(text)}</div>' for text in texts if text)


def below(text: str) -> str:
    """Set HTML below pictures, as wide as these are."""
    return f'<div style="width:0;min-width:100%">{text}</div>'


def explanation_html(explanation: Explanation, most: int = MOST) -> str:
    """Show the samples side by side: pictures, maps, texts, scores, where the maps are bright, words and notes.

    Args:
        explanation: The maps. Without pictures the maps stand alone, as heat.
        most: How many samples are shown.
    """
    samples = [_sample(explanation, index) for index in range(min(most, len(explanation)))]
    return _page(explanation, side_by_side(samples, 24), len(explanation) - len(samples))


def phrases_html(found: PhraseMaps) -> str:
    """Show the picture, the sentence's map and each phrase's, as a notebook does."""
    explanation = found.explanation
    picture = None if explanation.images is None else fine(explanation.images[0])
    blocks = [] if picture is None else [tile(picture, "reference", "the picture")]
    for index, text in enumerate((found.text, *found.phrases)):
        where = where_in_short(bright_places(explanation, index))
        drawn = _map(explanation, index, picture, target=False, caption=text, where=where)
        blocks.append(f"<div>{drawn}{below(lines([where, *_own_notes(explanation, index)]))}</div>")
    return _page(explanation, side_by_side(blocks, 16), 0)


def _page(explanation: Explanation, body: str, left: int) -> str:
    """What is the same for all samples stands below them; what is of one stands with it."""
    more = f"and {left} more: overlay(index) draws each" if left > 0 else ""
    grids = ", ".join(f"{name} ({w}x{h} cells)" for name, (h, w) in explanation.grids.items())
    why = f" ({explanation.model_choice})" if explanation.model_choice else ""
    model = f"model {explanation.model}{why}, " if explanation.model else ""
    notes = [f"note: {note}" for note in explanation.notes if note.samples is None]
    return f"<div>{body}{lines([more, f'{model}{explanation.weighting} at {grids}', *notes])}</div>"


def _sample(explanation: Explanation, index: int) -> str:
    """One sample: pictures with maps, then what was asked and found."""
    tiles, said = [], [f"{explanation.score_name} = {float(explanation.score[index]):.4g}"]
    if explanation.answers is not None:
        said.append(f"answer: {explanation.answers[index]}")
    of_first = bright_places(explanation, index, target=sides_of(explanation)[0])
    for target in sides_of(explanation):
        known = explanation.targets if target else explanation.images
        name = "target" if target else "reference"
        picture = None if known is None else fine(known[index])
        if picture is not None:
            tiles.append(tile(picture, name, f"the {name} picture"))
        elif explanation.images is not None:
            continue
        again = target is not sides_of(explanation)[0]
        where = where_in_short(bright_places(explanation, index, target=True) if again else of_first)
        caption = "map of the target" if target else "map"
        tiles.append(_map(explanation, index, picture, target=target, caption=caption, where=where))
        said.append(f"on the target: {where}" if target else where)
    said += _own_notes(explanation, index)
    text = "" if explanation.texts is None else f"<div><b>{escape(explanation.texts[index])}</b></div>"
    words = "" if explanation.words is None else _words(explanation.words[index])
    paragraphs = describe(explanation, index, target=sides_of(explanation)[0], places=of_first).split("\n\n")
    meaning = "".join(f'<p style="margin:.4em 0">{escape(one)}</p>' for one in paragraphs)
    more = f'<details style="{_QUIET}"><summary>What does this map mean?</summary>{meaning}</details>'
    return f"<div>{side_by_side(tiles)}{below(text + words + lines(said) + more)}</div>"


def _own_notes(explanation: Explanation, index: int) -> list[str]:
    """The notes that are not about all samples."""
    return [f"note: {note}" for note in explanation.notes_of(index) if note.samples is not None]


def _map(
    explanation: Explanation, index: int, picture: Image.Image | None, *, target: bool, caption: str, where: str
) -> str:
    """A map over its picture as it is shown, or alone as heat where the picture is not known."""
    from mmgrad_explain.images.overlay import blend, colorize

    if picture is None:
        drawn = colorize(explanation.heatmap(index, target=target))
    else:
        heat = explanation.heatmap(index, target=target, size=(picture.height, picture.width))
        drawn = blend(picture, heat, alpha=_ALPHA)
    return tile(Image.fromarray(drawn), caption, f"map of {explanation.score_name}: {where}")


def _words(words: tuple[Word, ...]) -> str:
    """Words on a ground of orange (raises the score) or blue (lowers it) that grows with the contribution."""
    spans = []
    for word in words:
        colour = "230,97,1" if word.scaled > 0 else "33,102,172"
        ground = f"rgba({colour},{0.6 * abs(word.scaled):.2f})"
        spans.append(
            f'<span style="background:{ground};border-radius:3px;padding:0 .3em" title="{word.value:+.4g}">'
            f"{escape(word.text)} <small>{word.scaled:+.2f}</small></span>"
        )
    return side_by_side(spans, 4)
