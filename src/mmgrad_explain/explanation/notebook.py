"""Show explanations in a notebook: HTML that loads nothing and takes its colours from the theme of the notebook.

Images are data URIs inside the HTML, and text has the colour of the notebook, so that it can be read in a light and in
a dark theme. Everything that a user or a model wrote is escaped.
"""

from __future__ import annotations

import base64
import io
import sys
from html import escape
from typing import TYPE_CHECKING

from PIL import Image

from mmgrad_explain.explanation.bright_places import find_bright_places
from mmgrad_explain.explanation.places_in_words import describe_places_briefly
from mmgrad_explain.explanation.plain_words import describe_map
from mmgrad_explain.explanation.sides import sides_with_maps
from mmgrad_explain.explanation.warning_marks import mark_of
from mmgrad_explain.images.marks import add_mark
from mmgrad_explain.images.provenance import file_options, provenance_of
from mmgrad_explain.images.tiles import shrink

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mmgrad_explain.explanation.heatmaps import Heatmaps
    from mmgrad_explain.explanation.words import Word

MOST = 6  # how many samples are shown; the others are only counted
_BOX = (360, 240)  # width and height of the box that an image is fitted into, in CSS pixels
_SHARP = 2  # pixels of the file for each CSS pixel, for high-resolution screens
_QUIET = "font-size:85%;opacity:.75"
_ALPHA = 0.7
_LEAST_MARKED = 90  # pixels


def png_bytes(picture: Image.Image, *, quick: bool = False) -> bytes:
    """Encode a picture as a PNG file; with ``quick`` it is written faster and is larger."""
    buffer = io.BytesIO()
    record = file_options(provenance_of(picture), "PNG")
    picture.save(buffer, format="png", compress_level=1 if quick else 6, **record)
    return buffer.getvalue()


def show_picture(picture: Image.Image) -> None:
    """Show a picture below the cell of a notebook, elsewhere in the system's image viewer."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if getattr(shell, "kernel", None) is None:  # no IPython, or one in a terminal
        picture.show()
        return
    from IPython.display import display

    display(picture)


def shrink_for_screen(picture: Image.Image, width: int = _BOX[0], height: int = _BOX[1]) -> Image.Image:
    """Shrink a picture to the pixels that a box of this size needs on a high-resolution screen."""
    return shrink(picture, _SHARP * width, _SHARP * height)


def figure_html(picture: Image.Image, caption: str, alt: str, *, width: int = _BOX[0], height: int = _BOX[1]) -> str:
    """Make the HTML of a picture with its caption below.

    Args:
        picture: RGB. A very small one is enlarged without smoothing, because its pixels are cells of a map.
        caption: Plain text.
        alt: What the picture shows, for people who cannot see it; plain text.
        width: Width of the box that it is fitted into, in CSS pixels.
        height: Height of the box.
    """
    scale = min(width / picture.width, height / picture.height)
    shown = [max(1, round(side * scale)) for side in picture.size]
    small = scale > _SHARP
    if small:
        data, kind = png_bytes(picture), "png"
    else:
        buffer = io.BytesIO()
        shrink_for_screen(picture, width, height).save(buffer, format="jpeg", quality=90)
        data, kind = buffer.getvalue(), "jpeg"
    crisp = ";image-rendering:pixelated" if small else ""
    return (
        f'<figure style="margin:0;max-width:{shown[0]}px"><img src="data:image/{kind};base64,'
        f'{base64.b64encode(data).decode()}" alt="{escape(alt)}" width="{shown[0]}" height="{shown[1]}" '
        f'style="display:block;margin:0{crisp}"><figcaption style="{_QUIET};text-align:center">{escape(caption)}'
        "</figcaption></figure>"
    )


def side_by_side(parts: Iterable[str], gap: int = 8) -> str:
    """Place pieces of HTML side by side; they wrap on a narrow page."""
    return f'<div style="display:flex;flex-wrap:wrap;align-items:flex-start;gap:{gap}px">{"".join(parts)}</div>'


def small_print(texts: Iterable[str]) -> str:
    """Make lines of small print of plain texts; empty texts are left out."""
    return "".join(f'<div style="{_QUIET}">{escape(text)}</div>' for text in texts if text)


def place_below(text: str) -> str:
    """Place HTML below pictures, as wide as they are."""
    return f'<div style="width:0;min-width:100%">{text}</div>'


def explanation_html(explanation: Heatmaps, most: int = MOST) -> str:
    """Make the HTML of the samples: images, maps, texts, scores, where the maps are bright, words and notes.

    Args:
        explanation: The maps. Where the images are not known, the maps are drawn alone.
        most: How many samples are shown.
    """
    samples = [_sample(explanation, index) for index in range(min(most, len(explanation)))]
    return _page(explanation, side_by_side(samples, 24), len(explanation) - len(samples))


def phrases_html(explanation: Heatmaps, texts: Sequence[str]) -> str:
    """Make the HTML of one image with the maps of a sentence and its phrases.

    Args:
        explanation: One sample for each text.
        texts: The sentence, then its phrases.
    """
    picture = None if explanation.images is None else shrink_for_screen(explanation.images[0])
    blocks = [] if picture is None else [figure_html(picture, "reference", "the picture")]
    for index, text in enumerate(texts):
        where = describe_places_briefly(find_bright_places(explanation, index))
        drawn = _map(explanation, index, picture, target=False, caption=text, where=where)
        blocks.append(f"<div>{drawn}{place_below(small_print([where, *_own_notes(explanation, index)]))}</div>")
    return _page(explanation, side_by_side(blocks, 16), 0)


def _page(explanation: Heatmaps, body: str, left: int) -> str:
    """Add what is the same for all samples below them: the model, the layers and the notes about all samples."""
    more = f"and {left} more: overlay(index) draws each" if left > 0 else ""
    grids = ", ".join(f"{name} ({w}x{h} cells)" for name, (h, w) in explanation.grids.items())
    why = f" (chosen because {explanation.model_choice})" if explanation.model_choice else ""
    model = f"model {explanation.model}{why}, " if explanation.model else ""
    notes = [f"note: {note}" for note in explanation.notes if note.samples is None]
    return f"<div>{body}{small_print([more, f'{model}{explanation.method} at {grids}', *notes])}</div>"


def _sample(explanation: Heatmaps, index: int) -> str:
    """Make the HTML of one sample: images and maps, then the text, the score, the words and the notes."""
    tiles, facts = [], [f"{explanation.score_name} = {float(explanation.score[index]):.4g}"]
    if explanation.answers is not None:
        facts.append(f"answer: {explanation.answers[index]}")
    of_first = find_bright_places(explanation, index, target=sides_with_maps(explanation)[0])
    for target in sides_with_maps(explanation):
        known = explanation.targets if target else explanation.images
        name = "target" if target else "reference"
        picture = None if known is None else shrink_for_screen(known[index])
        if picture is not None:
            tiles.append(figure_html(picture, name, f"the {name} picture"))
        elif explanation.images is not None:
            continue
        is_first = target is sides_with_maps(explanation)[0]
        places = of_first if is_first else find_bright_places(explanation, index, target=True)
        where = describe_places_briefly(places)
        caption = "map of the target" if target else "map"
        tiles.append(_map(explanation, index, picture, target=target, caption=caption, where=where))
        facts.append(f"on the target: {where}" if target else where)
    facts += [str(check) for check in explanation.checks if check.sample == index]
    facts += _own_notes(explanation, index)
    text = "" if explanation.texts is None else f"<div><b>{escape(explanation.texts[index])}</b></div>"
    words = "" if explanation.words is None else _words(explanation.words[index])
    facts += [f"words by {explanation.words_by[index]}"] if words and explanation.words_by else []
    paragraphs = describe_map(explanation, index, target=sides_with_maps(explanation)[0], places=of_first).split("\n\n")
    meaning = "".join(f'<p style="margin:.4em 0">{escape(paragraph)}</p>' for paragraph in paragraphs)
    more = f'<details style="{_QUIET}"><summary>What does this map mean?</summary>{meaning}</details>'
    return f"<div>{side_by_side(tiles)}{place_below(text + words + small_print(facts) + more)}</div>"


def _own_notes(explanation: Heatmaps, index: int) -> list[str]:
    """List the notes about a sample that are not about all samples."""
    return [f"note: {note}" for note in explanation.notes_of(index) if note.samples is not None]


def _map(
    explanation: Heatmaps, index: int, picture: Image.Image | None, *, target: bool, caption: str, where: str
) -> str:
    """Make the HTML of a map over its image, or of the map alone where the image is not known."""
    from mmgrad_explain.images.overlay import blend, colorize

    if picture is None:
        drawn = colorize(explanation.heatmap(index, target=target))
    else:
        heat = explanation.heatmap(index, target=target, size=(picture.height, picture.width))
        drawn = blend(picture, heat, alpha=_ALPHA)
    shown = Image.fromarray(drawn)
    if shown.width >= _LEAST_MARKED:  # a map without its image is a few pixels wide: the note below says it
        shown = add_mark(shown, mark_of(explanation, index, target=target))
    return figure_html(shown, caption, f"map of {explanation.score_name}: {where}")


def _words(words: tuple[Word, ...]) -> str:
    """Colour words orange (raises the score) or blue (lowers it), the more the larger the contribution."""
    spans = []
    for word in words:
        colour = "230,97,1" if word.scaled > 0 else "33,102,172"
        ground = f"rgba({colour},{0.6 * abs(word.scaled):.2f})"
        spans.append(
            f'<span style="background:{ground};border-radius:3px;padding:0 .3em" title="{word.value:+.4g}">'
            f"{escape(word.text)} <small>{word.scaled:+.2f}</small></span>"
        )
    return side_by_side(spans, 4)
