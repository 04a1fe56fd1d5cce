"""What was asked in, what the page shows out. No Gradio here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mmgrad_explain.api import explain, phrase_maps
from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.sides import call_of, sides_of
from mmgrad_explain.web import snippet
from mmgrad_explain.web.viewer import payload, tile

if TYPE_CHECKING:
    from PIL import Image

    from mmgrad_explain.explanation.result import Explanation
    from mmgrad_explain.web.models import Models


@dataclass(frozen=True)
class Question:
    """What a visitor asks.

    Attributes:
        picture: The reference.
        texts: The sentences.
        model: Name of the model, one of :attr:`Models.names`.
        target: The target picture.
        layer: Dotted name; the model's own when None.
        score: Name; the model's own when None.
        weighting: Name.
        words: Ask what each word contributes.
        phrases: Explain each phrase of the sentence by itself.
        answer: What a model that answers in words might say; what it says itself when None.
        picture_name: What the picture is called.
        target_name: What the target is called.
    """

    picture: Image.Image
    texts: tuple[str, ...]
    model: str
    target: Image.Image | None = None
    layer: str | None = None
    score: str | None = None
    weighting: str = "gradcam"
    words: bool = False
    phrases: bool = False
    answer: str | None = None
    picture_name: str = "picture.png"
    target_name: str = "target.png"


def answer(question: Question, models: Models) -> dict[str, Any]:
    """Explain, and pack what the page shows.

    Args:
        question: What is asked.
        models: The page's models.

    Returns:
        A payload of :mod:`~mmgrad_explain.web.viewer`: a tile a sentence (and phrase), and of each target.

    Raises:
        InputError: Phrases of several sentences or with a target, or as :func:`~mmgrad_explain.api.explain`.
    """
    name, why = models.name_for(question.model, [question.picture], question.texts)
    with models.lock:
        explanation = replace(_explained(question, name, models), model_choice=why)
    tiles = []
    for index, title in enumerate(explanation.texts or ()):
        caption = _caption(explanation, index, name)
        tiles.append(tile(explanation, index, title=title, caption=caption))
        if question.target is not None and True in sides_of(explanation):
            tiles.append(tile(explanation, index, target=True, title=f"{title} (on the target)", caption=caption))
    asked = {
        "texts": list(question.texts), "model": name, "layer": question.layer, "score": question.score,
        "weighting": question.weighting, "words": question.words, "phrases": question.phrases,
        "answer": question.answer, "picture": question.picture_name,
        "target": None if question.target is None else question.target_name,
    }  # fmt: skip
    return payload(tiles, data=record(asked, explanation), snippet=snippet.of_question(question, name))


def record(asked: dict[str, Any], explanation: Explanation) -> dict[str, Any]:
    """Give everything of an explanation but its pictures, ready for JSON.

    Args:
        asked: What it answers.
        explanation: The maps.

    Returns:
        ``asked``, the ``explanation``'s manifest, and ``maps``: for each sample, and its target, the values on the
        layer's grid as rows, the brightest region on the picture's own pixels, what the map means in words, and notes.
    """
    maps = []
    for index in range(len(explanation)):
        for of_target in sides_of(explanation):
            region = explanation.brightest_region(index, target=of_target)
            maps.append(
                {
                    "text": None if explanation.texts is None else explanation.texts[index],
                    "of": "target" if of_target else "reference",
                    "score": float(explanation.score[index]),
                    "grid": explanation.calls[call_of(explanation, target=of_target)][index].tolist(),
                    "brightest_region": None if region is None else region.to_dict(),
                    "in_words": explanation.in_words(index, target=of_target),
                    "notes": [note.text for note in explanation.notes_of(index)],
                }
            )
    return {"format": "mmgrad_explain.page/1", "asked": asked, "explanation": explanation.manifest(), "maps": maps}


def _caption(explanation: Explanation, index: int, model: str) -> str:
    """The score, and who answered; where it was chosen, why."""
    why = f" ({explanation.model_choice})" if explanation.model_choice else ""
    return f"{explanation.score_name} = {float(explanation.score[index]):.5g}; model {model}{why}"


def _explained(question: Question, name: str, models: Models) -> Explanation:
    options: dict[str, Any] = {
        "model": models.composer(name), "layer": question.layer, "score": question.score,
        "weighting": question.weighting, "words": question.words, "answer": question.answer,
    }  # fmt: skip
    if not question.phrases:
        return explain(question.picture, list(question.texts), question.target, **options)
    if len(question.texts) > 1:
        raise InputError("phrases belong to one sentence: leave one line, or do not ask for each phrase by itself")
    if question.target is not None:
        raise InputError("phrases go without a target picture: take it away, or do not ask for each phrase by itself")
    return phrase_maps(question.picture, question.texts[0], **options).explanation
