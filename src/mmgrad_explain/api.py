"""Explain images and texts in any form that a user has them: :func:`explain`, and the functions built on it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from mmgrad_explain._system.devices import check_device, device_of
from mmgrad_explain._system.user_files import is_text
from mmgrad_explain.attention.calibration.result import Calibration
from mmgrad_explain.attention.mmgrad import MultiModalGradAttention
from mmgrad_explain.attention.several_scores import explain_each
from mmgrad_explain.attention.word_values.pieces import pieces_of_text
from mmgrad_explain.attention.word_values.request import ensure_words
from mmgrad_explain.composers.bundled import choose_bundled
from mmgrad_explain.composers.familiar_images import note_absent, note_unfamiliar, watch_familiarity, watch_presence
from mmgrad_explain.composers.generative.answer_parts import EACH_WORD, place_of_part, words_of
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.composers.model_capabilities import capabilities
from mmgrad_explain.composers.shorter_sentences import ShorterSentences
from mmgrad_explain.composers.unrelated_texts import find_unrelated_text
from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.phrases import PhraseMaps, check_spans, split_phrases
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.images.reading_notes import notes_of_image
from mmgrad_explain.notes import Note, join_notes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import torch
    from PIL import Image
    from torch import nn

    from mmgrad_explain.attention.methods.base import Method
    from mmgrad_explain.attention.word_values.pieces import Pieces
    from mmgrad_explain.composers.base import Composer, ComposerInputs
    from mmgrad_explain.composers.generative.answer_parts import Parts
    from mmgrad_explain.composers.model_capabilities import Capabilities
    from mmgrad_explain.explanation.result import Explanation

T = TypeVar("T")
_MOST_PHRASES = 100
_LONGEST_TEXT = 100_000  # characters; no model reads as many


def explain(
    image: Any,
    text: str | Sequence[str],
    target: Any = None,
    model: str | Path | nn.Module | None = None,
    *,
    processor: Any = None,
    layer: str | Sequence[str] | None = None,
    score: str | Callable[..., torch.Tensor] | None = None,
    method: str | Method | Callable[..., torch.Tensor] | None = None,
    weighting: str | Callable[..., torch.Tensor] | None = None,
    calibration: Calibration | str | Path | None = None,
    device: str | torch.device | None = None,
    words: bool | str = False,
    words_layer: str | None = None,
    answer: str | Sequence[str] | None = None,
    answer_part: Parts = None,
) -> Explanation:
    """Explain where a model looks in an image because of a text.

    Args:
        image: An image in any form :func:`~mmgrad_explain.images.reading.open_image` takes (path, bytes, PIL image,
            array, tensor), or a list of them.
        text: What should change, for example ``"make it red"``; one for all images, or one each. One image with several
            texts is explained for each of them.
        target: The image that the change should lead to, or a list, one an image. Scores that compare need it; with it
            the target gets a map too.
        model: A bundled name, a model folder, a hub id, a loaded composer, or a model in memory with its ``processor``.
            None chooses among the bundled models by the words, then by the images
            (:func:`~mmgrad_explain.composers.bundled.choose_bundled`); ``Explanation.model_choice`` says why.
        processor: For a model in memory, see :func:`~mmgrad_explain.composers.load.load_composer`.
        layer: Dotted name of the layer to explain, or several; None takes the composer's default.
        score: What is differentiated: a name (``"shift"``, ``"similarity"``, ``"pair"``, ``"pair-different"``,
            ``"image-text"``, ``"match"``, ``"answer"``) or any callable of the composer's output giving ``(B,)``;
            None takes the composer's default.
        method: How maps are made: a name from ``METHODS``, a method, or a weighting as a callable. None takes the
            composer's default.
        weighting: A weighting, the simplest kind of method: ``"gradcam"``, ``"gradcam++"``, ``"xgradcam"``,
            ``"layercam"``, ``"hirescam"`` or a callable. Give this or ``method``.
        calibration: A calibration of this model, or its file: it says layer and method. One that lies in the model's
            folder is used by itself.
        device: Where to run, for example ``"cuda"``; None leaves the composer on its device. A composer that you hand
            in is moved back afterwards.
        words: Whether to measure what each word of the text contributes (``Explanation.words``):
            ``"leave-one-out"``, what the score loses when the sentence is read without the word; ``"gradient"``,
            gradient x input at its embedding, which is quicker and says little of that; True leaves words out of texts
            of up to 32 words, and takes the gradient, with a note, of longer ones.
        words_layer: Dotted name of the word embedding layer; None takes the largest embedding of the model.
        answer: For a model that answers in words: the answer to explain, one for all images or one each; the score is
            its likelihood. None takes the answer that the model gives by itself.
        answer_part: Explain only this part of the answer, for example one word, given the words before it. With a
            list each part is a sample of its own, all from one forward: the parts of one answer; or, for several
            answers, one part each or a list of parts each. A part is a string, or (start, end) in characters.
            ``EACH_WORD`` of ``mmgrad_explain.composers.generative``: the whole answer, then each of its words.

    Returns:
        The maps, with the images, the texts, and the placements that lead back to the images' own pixels.

    Raises:
        InputError: An image, text, model, layer, score, method or device cannot be used.
        TypeError: An argument is of a wrong type.
    """
    texts = _texts(text)
    images = [open_image(item) for item in _items(image)]
    targets = None if target is None else [open_image(item) for item in _items(target)]
    count = max(len(images), len(texts))
    images, texts = _spread("image", images, count), _spread("text", texts, count)
    if targets is not None:
        targets = _spread("target", targets, count)
    why = ""
    if model is None:
        choice = choose_bundled(images, texts)
        model, why = choice.composer, choice.why
    composer = load_composer(model, processor)
    if calibration is not None:
        layer, method = _apply_calibration(calibration, composer, layer, score, method or weighting)
    can = capabilities(composer)
    one_image = len(texts) > 1 and targets is None and all(image is images[0] for image in images)
    rows = list(range(count))  # the image and text of each sample
    with _on_device(composer, device) as place:
        sentences = ShorterSentences(can, images, texts, targets, answer_part=answer_part, device=place)
        request = ensure_words(words, _namer(can.need_tokenizer(), texts) if words else None)
        mmgrad = MultiModalGradAttention(
            composer, layer, score, method, weighting=weighting, words_layer=words_layer,
            words=request and replace(request, sentences=sentences.find),
        )  # fmt: skip
        with watch_familiarity(composer) as seen, watch_presence(composer) as found:
            if one_image and answer is None and mmgrad.layer_names and can.takes_many_texts:
                explanation = mmgrad.texts(images[0], texts)
            else:
                inputs = _prepare(can, images, texts, targets, answer, answer_part)
                tensors = {name: tensor.to(place) for name, tensor in inputs.tensors.items()}
                sentences.answers = inputs.answers
                if inputs.parts is None:
                    explanation = mmgrad(**tensors)
                else:
                    explanation = explain_each(mmgrad, tensors, inputs.parts.outputs, inputs.parts.wanted)
                    rows = [row for _, row in inputs.parts.wanted]
                    count = len(rows)
                explanation = replace(
                    explanation,
                    texts=tuple(texts[row] for row in rows),
                    images=tuple(images[row] for row in rows),
                    placements=tuple(inputs.placements[row] for row in rows),
                    targets=None if targets is None else tuple(targets),
                    target_placements=None if inputs.target_placements is None else tuple(inputs.target_placements),
                    notes=join_notes((*explanation.notes, *_of_samples(inputs.notices, rows)), count),
                    answers=None if inputs.answers is None else tuple(inputs.answers[row] for row in rows),
                )
    unfamiliar = note_unfamiliar(composer, seen)
    caution = None if composer.caution is None else Note("caution", composer.caution)
    of_images = [*_notes_of_images(images), *_notes_of_images(targets or [], "target: ")]
    more = _of_samples([*filter(None, (caution, unfamiliar)), *note_absent(composer, found), *of_images], rows)
    notes = join_notes((*explanation.notes, *more), count)
    method = mmgrad.settings.method
    if mmgrad.layer_names and (method is None or method.needs.layers):
        layer = list(mmgrad.layer_names)
    again = partial(_explain_other, composer, layer=layer, score=score, method=method, device=device)
    source = explanation.source and replace(explanation.source, retext=again)
    return replace(explanation, model=composer.name, model_choice=why, notes=notes, source=source)


def _explain_other(
    composer: Composer, explanation: Explanation, samples: Sequence[int], other: str | None, **options: Any
) -> tuple[Explanation, str]:
    """Explain the images of some samples with another text, or with texts that have nothing to do with theirs."""
    texts, images, targets = explanation.texts or (), explanation.images or (), explanation.targets
    others = [find_unrelated_text(composer, texts[sample]) if other is None else other for sample in samples]
    found = explain(
        [images[sample] for sample in samples],
        others,
        None if targets is None else [targets[sample] for sample in samples],
        composer,
        **options,
    )
    return found, "; ".join(dict.fromkeys(others))


def _apply_calibration(
    calibration: Calibration | str | Path, composer: Composer, layer: Any, score: Any, method: Any
) -> tuple[Any, Method]:
    """Return the layers and the method that a calibration says, for the model that it was made of.

    Raises:
        InputError: It was made of another model or for another score, or layer or method are named beside it.
    """
    if layer is not None or method is not None:
        raise InputError("calibration: it says layer and method: leave layer and method out")
    found = calibration if isinstance(calibration, Calibration) else Calibration.load(calibration)
    if found.ready is None or found.ready.model is not composer:
        found.check(composer)
    wanted = score or composer.default_score
    if isinstance(wanted, str) and wanted != found.score:
        raise InputError(f"calibration: it was made for the score {found.score!r}, not {wanted!r}: calibrate for that")
    return found.layers, found.method


def _of_samples(notes: Sequence[Note], rows: Sequence[int]) -> list[Note]:
    """Turn notes on images and texts into notes on the samples that are made of them."""
    return [
        note
        if note.samples is None
        else replace(note, samples=tuple(sample for sample, row in enumerate(rows) if note.is_about(row)))
        for note in notes
    ]


def phrase_maps(
    image: Any,
    text: str,
    model: str | Path | nn.Module | None = None,
    *,
    phrases: Sequence[str | tuple[int, int]] | None = None,
    **options: Any,
) -> PhraseMaps:
    """Explain each phrase of a sentence as a text by itself, beside the whole sentence.

    The map of a phrase alone can differ from its part in the sentence: the model reads no other word with it.

    Args:
        image: One image, in any form :func:`~mmgrad_explain.images.reading.open_image` takes.
        text: The sentence.
        model: As for :func:`explain`.
        phrases: Parts of the sentence, as strings or as (start, end) in characters. None finds them by the rules of
            :mod:`~mmgrad_explain.explanation.phrases`; if these find none, only the sentence is explained.
        **options: Passed to :func:`explain`: ``layer``, ``score``, ``method``, ``device``, ``words``,
            ``processor``.

    Returns:
        The maps, in one batch.

    Raises:
        InputError: A phrase is not in the sentence; and as :func:`explain`.
        TypeError: An argument is of a wrong type.
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be one sentence as a string, got {type(text).__name__}")
    spans = split_phrases(text) if phrases is None else check_spans(text, phrases)
    if len(spans) > _MOST_PHRASES:
        raise InputError(
            f"phrases: {len(spans)} are too many, since each is explained by itself: give up to {_MOST_PHRASES}, or a "
            "shorter text"
        )
    texts = [text, *(text[start:end] for start, end in spans)]
    return PhraseMaps(explain(image, texts, model=model, **options), text, tuple(spans))


def answer_maps(
    image: Any,
    text: str,
    model: str | Path | nn.Module,
    *,
    parts: Sequence[str | tuple[int, int]] | None = None,
    answer: str | None = None,
    **options: Any,
) -> PhraseMaps:
    """Explain parts of a model's answer: a map of each part and of the whole answer, from one forward.

    Args:
        image: One image, in any form :func:`~mmgrad_explain.images.reading.open_image` takes.
        text: The question.
        model: A model that answers in words; as for :func:`explain`.
        parts: Parts of the answer, as strings or as (start, end) in characters; None takes each of its words.
        answer: As for :func:`explain`.
        **options: Passed to :func:`explain`: ``layer``, ``score``, ``method``, ``device``, ``processor``.

    Returns:
        The maps; the answer takes the place of the sentence.

    Raises:
        InputError: A part is not in the answer, or occurs more than once; and as :func:`explain`.
        TypeError: An argument is of a wrong type.
    """
    wanted = EACH_WORD if parts is None else [None, *parts]
    found = explain(image, text, model=model, answer=answer, answer_part=wanted, **options)
    whole = (found.answers or ("",))[0]
    spans = words_of(whole) if parts is None else [place_of_part(part, whole) for part in parts]
    return PhraseMaps(found, whole, tuple(spans))


def _prepare(
    can: Capabilities,
    images: list[Image.Image],
    texts: list[str],
    targets: list[Image.Image] | None,
    answer: str | Sequence[str] | None,
    part: Parts,
) -> ComposerInputs:
    """Turn images, texts and answers into tensors."""
    if can.answers is not None:
        answers = (
            None
            if answer is None
            else _spread("answer", [answer] if isinstance(answer, str) else list(answer), len(images))
        )
        return can.answers.preprocess(images, texts, targets, answers=answers, answer_part=part)
    if answer is not None or part is not None:
        raise InputError(f"answer: {can.composer.name} does not answer in words: leave answer and answer_part out")
    return can.composer.preprocess(images, texts, targets)


def _notes_of_images(images: list[Image.Image], prefix: str = "") -> Iterator[Note]:
    """Return the notes on reading each image, with a prefix."""
    for index, image in enumerate(images):
        for note in notes_of_image(image):
            yield replace(note, text=prefix + note.text, samples=(index,))


def _namer(tokenizer: Any, texts: Sequence[str]) -> Callable[[list[list[int]], list[list[int]]], list[Pieces]]:
    """Return a function of token ids that groups them by the words of the texts."""

    def name(ids: list[list[int]], kept: list[list[int]]) -> list[Pieces]:
        return [pieces_of_text(tokenizer, *sample) for sample in zip(texts, ids, kept, strict=True)]

    return name


def _texts(text: str | Sequence[str]) -> list[str]:
    texts = [text] if isinstance(text, str) else list(text)
    for item in texts:
        if not isinstance(item, str):
            raise TypeError(f"text must be a string or a list of strings, got {type(item).__name__}")
        if not item.strip():
            raise InputError('text is empty: say what should change, for example "make it red"')
        if not is_text(item):
            raise InputError("text has halves of characters (lone surrogates), which no model reads: decode it anew")
        if len(item) > _LONGEST_TEXT:
            raise InputError(f"text has {len(item)} characters: give up to {_LONGEST_TEXT}, a sentence")
    if not texts:
        raise InputError("text is an empty list: give at least one text")
    return texts


def _items(image: Any) -> list[Any]:
    if not isinstance(image, list | tuple):
        return [image]
    if not image:
        raise InputError("image is an empty list: give at least one image")
    return list(image)


def _spread(name: str, items: list[T], count: int) -> list[T]:
    if len(items) not in (1, count):
        raise InputError(f"{len(items)} {name}s for {count} samples: give one for all, or one each")
    return items * count if len(items) == 1 else items


@contextmanager
def _on_device(composer: Composer, device: str | torch.device | None) -> Iterator[torch.device]:
    """Move the composer to a device inside the block, and back afterwards; yields the device."""
    home = device_of(composer)
    place = home if device is None else check_device(device)
    if place == home:
        yield home
        return
    if any(parameter.is_meta for parameter in composer.parameters()):
        raise InputError(
            f"device: weights of {composer.name} are offloaded, and accelerate says where they run: leave device out"
        )
    if len({parameter.device for parameter in composer.parameters()}) > 1:
        raise InputError(f"device: the parts of {composer.name} lie on several devices, and stay there: leave it out")
    try:
        composer.to(place)
        yield place
    finally:
        composer.to(home)
