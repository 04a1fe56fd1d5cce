"""Describe a map for somebody who knows nothing of gradients: facts about this map, and what it does not mean.

Nothing is guessed about what the image shows or about why the model decides as it does.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mmgrad_explain.explanation.bright_places import find_bright_places
from mmgrad_explain.explanation.places_in_words import describe_places, join_with_and, name_unit
from mmgrad_explain.explanation.sides import call_of, sides_with_maps, size_of
from mmgrad_explain.notes import OF_MAPS

if TYPE_CHECKING:
    from mmgrad_explain.explanation.bright_places import BrightPlaces
    from mmgrad_explain.explanation.heatmaps import Heatmaps
    from mmgrad_explain.explanation.words import Word

_MOST_WORDS = 3  # that many words of each sign are named
_SHOWN = 0.005  # a smaller contribution is 0.00 in print
_ASKED = {
    "shift": "how far the text moves the model's description of the picture (the squared length of that move)",
    "similarity": (
        "how alike the picture put together with the text and the target are to the model, from -1 to 1 (a cosine)"
    ),
    "pair": (
        "how large the numbers are by which the model describes the picture and the target, each put together with the "
        "text; those in which the two agree count most"
    ),
    "pair-different": (
        "how large the numbers are by which the model describes the picture and the target, each put together with the "
        "text; those in which the two differ count most"
    ),
    "image-text": "how alike the picture and the text are to the model, from -1 to 1 (a cosine)",
    "match": 'how strongly the model says "this picture and this text belong together" (a logit: higher is stronger)',
    "answer": (
        "the logarithm of the probability of the answer, or of the part of it that was asked about: 0 would be "
        "certain, and lower is less likely"
    ),
}
_SUMS = {"shift", "image-text", "match"}  # scores to which that of a target is added
_LIMITS = (
    "What the map does not say. It shows what this one number depends on, through this one {layers} and to first "
    "order: where the number would rise if a little more were seen of what is seen there. It is a fact about the "
    "model, not about the picture: a bright place is where the model looks, whether or not it should. It does not say "
    "how the model uses what it sees, nor that the model is right. Brightness cannot be compared between pictures, "
    "since each map is drawn relative to its own brightest place. And a model that was trained to give good maps may "
    "still decide by something else: good maps are no proof that they are faithful."
)


def describe_map(
    explanation: Heatmaps, index: int = 0, *, target: bool = False, places: BrightPlaces | None = None
) -> str:
    """Describe in plain words what one map means; see :meth:`~mmgrad_explain.explanation.Explanation.in_words`.

    Args:
        explanation: The maps.
        index: Which sample.
        target: The target's map.
        places: The result of :func:`find_bright_places`, if it is known already.

    Returns:
        Paragraphs of plain text, separated by empty lines.

    Raises:
        InputError: as :meth:`~mmgrad_explain.explanation.Explanation.heatmap`.
    """
    places = find_bright_places(explanation, index, target=target) if places is None else places
    notes = [note.text.rstrip(".") for note in explanation.notes_of(index) if note.kind not in OF_MAPS]
    paragraphs = [
        _describe_score(explanation, index, target=target),
        describe_places(explanation, index, places, target=target),
        _describe_resolution(explanation, index, target=target),
        ""
        if explanation.words is None
        else _describe_words(explanation.words[index], by=explanation.words_by[index] if explanation.words_by else ""),
        f"Worth knowing: {'; '.join(notes)}." if notes else "",
        _LIMITS.format(layers="layer" if len(explanation.layers) == 1 else "choice of layers"),
    ]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _describe_score(explanation: Heatmaps, index: int, *, target: bool) -> str:
    """Describe the inputs of the model, the score that the map explains, and the image that it is of."""
    name, score = explanation.score_name, float(explanation.score[index])
    given = ["a picture"]
    if explanation.texts is not None:
        given.append(f'the text "{explanation.texts[index]}"')
    if explanation.targets is not None:
        given.append("a target picture")
    first = f"The model{f' {explanation.model}' if explanation.model else ''} was given {join_with_and(given)}."
    asked = _ASKED.get(name, "a number whose meaning the model sets, or whoever chose it")
    value = f"{score:,.0f}" if 1000 <= abs(score) < 1e9 else f"{score:.4g}"
    second = f'The map is of the score "{name}", which is {value} here: {asked}.'
    if name in _SUMS and explanation.targets is not None:
        second += " It is the sum of the picture's and the target's, and each one's map comes from its own part."
    if explanation.answers is not None:
        likely = f": a probability of {math.exp(score):.2g}" if name == "answer" else ""
        second += f' The answer is "{explanation.answers[index]}"{likely}.'
    third = ""
    if target:
        third = " This is the map of the target."
    elif True in sides_with_maps(explanation):
        third = " This is the map of the first picture; the second has one of its own."
    return f"{first} {second}{third}"


def _describe_resolution(explanation: Heatmaps, index: int, *, target: bool) -> str:
    """Describe the layer of the map and the size of its cells."""
    rows, columns = explanation.calls[call_of(explanation, target=target)].shape[1:]
    layers = [f"{name} ({w} x {h} cells)" for name, (h, w) in explanation.grids.items()]
    fused = explanation.method.split(" + ")
    if len(layers) == 1 and len(fused) > 1:
        read = f"The map was fused of those of {join_with_and(fused)}, on a grid of {columns} x {rows} cells."
    elif len(layers) == 1:
        read = f"The map was read at the layer {explanation.layer_names[0]}, on a grid of {columns} x {rows} cells."
    else:
        read = (
            f"The map was made of those of the layers {join_with_and(layers)} ({explanation.fuse}), on a grid of "
            f"{columns} x {rows} cells."
        )
    placements = explanation.target_placements if target else explanation.placements
    if placements is not None:
        placement = placements[index]
        cell = [placement.input[axis] / count / placement.scale[axis] for axis, count in enumerate((rows, columns))]
    elif (size := size_of(explanation, target=target)) is not None:
        cell = [size[axis] / count for axis, count in enumerate((rows, columns))]
    else:
        return f"{read} It shows nothing finer than a cell."
    across, down = (f"{side:.0f}" if side >= 10 else f"{side:.1f}" for side in reversed(cell))
    on = name_unit(explanation, target=target)
    return f"{read} A cell covers about {across} x {down} {on}; the map shows nothing finer."


def _describe_words(words: tuple[Word, ...], *, by: str) -> str:
    """Name the words that raise the score and those that lower it, and how that was measured."""
    if not words:
        return "The model read none of the words."
    ups = sorted((word for word in words if word.scaled >= _SHOWN), key=lambda word: -word.scaled)
    downs = sorted((word for word in words if word.scaled <= -_SHOWN), key=lambda word: word.scaled)
    parts = []
    for what, some in (("raised most by", ups), ("lowered most by", downs)):
        if some:
            named = [f'"{word.text}" ({word.scaled:+.2f})' for word in some[:_MOST_WORDS]]
            parts.append(f"{what} {join_with_and(named)}")
    if not parts:
        return "No word changes the score."
    how = (
        "Each value is what the score loses when the sentence is read without that word"
        if by == "leave-one-out"
        else "The values are gradients, which say little of what happens without a word"
    )
    return (
        f"Of the words, the score is {' and '.join(parts)}. The strongest word counts as 1. {how}; they do not add up "
        "to the score."
    )
