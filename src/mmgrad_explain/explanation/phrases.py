"""Find the phrases of a sentence by simple rules, and hold the map of each phrase.

The rules use no grammar, only short lists of English words. They read the sentence from left to right:

1. Punctuation ends a phrase, and so do ``and``, ``or``, ``but``, ``then`` and the like, which are left out.
2. A preposition (``of``, ``in``, ``with``, ``behind``) begins a phrase, and so do ``left``, ``right``, ``next`` and the
   like where a preposition follows (``left of``). After another preposition, with only articles and words of place
   between them, it continues that phrase: ``to the left of the ring`` is one phrase.
3. An article or another determiner (``the``, ``a``, ``this``, ``its``, ``two``) begins a phrase, but continues the
   phrase of a preposition before it: ``in the box``.
4. A phrase that consists only of verbs of editing (``make``, ``remove``), pronouns and similar words is left out.

``make the red circle left of the ring blue`` gives ``the red circle`` and ``left of the ring blue``. No such rule
can find that *blue* belongs to the circle; where that matters, pass the spans.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.user_files import quote
from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.drawing import draw_map
from mmgrad_explain.explanation.notebook import phrases_html, png_bytes
from mmgrad_explain.explanation.picture_records import picture_record
from mmgrad_explain.explanation.warning_marks import mark_of
from mmgrad_explain.images.provenance import attach_provenance
from mmgrad_explain.images.tiles import HIGHEST, NOTEBOOK, WIDEST, shrink, tile_height

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from mmgrad_explain.explanation.result import Explanation

Span = tuple[int, int]


def _split_words(words: str) -> frozenset[str]:
    return frozenset(words.split())


_PREPOSITIONS = _split_words(
    "of in on at by with without from to into onto above below under underneath over behind beside besides between "
    "among near inside outside across along around against through towards toward for as than like within upon off"
)
_PLACES = _split_words("left right front top bottom back side middle center centre next close corner edge end")
_DETERMINERS = _split_words(
    "the a an this that these those its his her their my your our each every all both some any another no one two "
    "three four five six"
)
_BREAKS = _split_words("and or but then while so also plus")
_EMPTY = _split_words(
    "make makes turn change replace remove delete erase add put move take give swap show keep let paint colour color "
    "be is are was has have do does it them him she he they we i you me there here please not more less very too just"
)


@dataclass(frozen=True, eq=False)
class PhraseMaps:
    """The map of a sentence, and the map of each of its phrases as a text of its own.

    Attributes:
        explanation: The sentence as sample 0, then the phrases in their order; each map has its own scale.
        text: The sentence.
        spans: Where each phrase stands in the sentence, (start, end) in characters.
    """

    explanation: Explanation
    text: str
    spans: tuple[Span, ...]

    @property
    def phrases(self) -> tuple[str, ...]:
        """The phrases."""
        return tuple(self.text[start:end] for start, end in self.spans)

    def overlay(
        self, *, alpha: float = 0.7, colormap: str = "turbo", threshold: float = 0.0, contour: bool = False
    ) -> Image.Image:
        """Draw the image, then the same image under the map of the sentence and of each phrase.

        Args:
            alpha: How strongly the maps cover the image, in [0, 1].
            colormap: Name of the colours.
            threshold: Where a map is below this share of its maximum the image stays as it is; in [0, 1).
            contour: Also draw a line around the brightest part.

        Raises:
            InputError: no image is known, ``alpha`` or ``threshold`` is out of range, or ``colormap`` is unknown.
        """
        colours = {"alpha": alpha, "colormap": colormap, "threshold": threshold}
        return self._draw(HIGHEST, contour=contour, **colours)

    def _draw(self, most: int, **options: Any) -> Image.Image:
        """Draw :meth:`overlay` with tiles at most ``most`` pixels high."""
        from mmgrad_explain.images.panels import panel

        if self.explanation.images is None:
            raise InputError("the explanation does not know its image")
        height = tile_height(self.explanation.images[:1], most)
        image = shrink(self.explanation.images[0], WIDEST * height, height)
        maps = [draw_map(self.explanation, index, image, **options) for index in range(len(self.explanation))]
        marks = [None, *(mark_of(self.explanation, index) for index in range(len(self.explanation)))]
        sheet = panel([image, *maps], captions=["reference", self.text, *self.phrases], height=height, marks=marks)
        return attach_provenance(sheet, picture_record(self.explanation))

    def _repr_png_(self) -> bytes | None:
        return None if self.explanation.images is None else png_bytes(self._draw(NOTEBOOK))

    def _repr_html_(self) -> str:
        return phrases_html(self.explanation, (self.text, *self.phrases))


def split_phrases(text: str) -> list[Span]:
    """Find the phrases of a sentence by the rules of this module.

    Args:
        text: English.

    Returns:
        (start, end) of each phrase, in characters; empty where the sentence has none.
    """
    words = [(match.group().lower(), match.span()) for match in re.finditer(r"\w+(?:['’-]\w+)*|[^\w\s]", text)]
    groups: list[list[tuple[str, Span]]] = [[]]
    leading = _PREPOSITIONS | _PLACES | _DETERMINERS
    is_open = True  # whether the last group holds only leading words so far
    for index, (word, span) in enumerate(words):
        if word in _BREAKS or not word[0].isalnum():
            groups.append([])
            is_open = True
            continue
        following = words[index + 1][0] if index + 1 < len(words) else ""
        preposition = word in _PREPOSITIONS or (word in _PLACES and following in _PREPOSITIONS)
        if groups[-1] and (preposition or word in _DETERMINERS) and not is_open:
            groups.append([])
            is_open = True
        groups[-1].append((word, span))
        is_open = is_open and word in leading
    nothing = _EMPTY | _PREPOSITIONS | _DETERMINERS
    kept = [group for group in groups if any(word not in nothing for word, _ in group)]
    return [(group[0][1][0], group[-1][1][1]) for group in kept]


def check_spans(text: str, spans: Sequence[Any]) -> list[Span]:
    """Check phrases and return them as spans.

    Args:
        text: The sentence.
        spans: Each (start, end) in characters, or a string that occurs in the sentence; if it occurs several times, the
            first place after the previous phrase counts.

    Raises:
        TypeError: a phrase is neither.
        InputError: there are no phrases, or a phrase is empty or not in the sentence.
    """
    found: list[Span] = []
    for phrase in spans:
        if isinstance(phrase, str):
            after = found[-1][1] if found else 0
            start = text.find(phrase, after)
            start = text.find(phrase) if start < 0 else start
            end = start + len(phrase)
        elif isinstance(phrase, (tuple, list)) and len(phrase) == 2 and all(isinstance(at, int) for at in phrase):
            start, end = phrase
        else:
            raise TypeError(f"phrases must be strings or (start, end) pairs, not {quote(phrase)}")
        if not 0 <= start < end <= len(text) or not text[start:end].strip():
            raise InputError(f"phrases: {quote(phrase)} is not a part of {quote(text)}")
        found.append((start, end))
    if not found:
        raise InputError("phrases: the list is empty; leave it None to have them found")
    return found
