"""Measure the values of the words of a call: leave the words out, or take the gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from mmgrad_explain.attention.running.modules import is_sharded
from mmgrad_explain.attention.running.undisturbed import same_randomness
from mmgrad_explain.attention.word_values.left_out import CannotLeaveOutError, HeldScores, leave_each_out
from mmgrad_explain.attention.word_values.request import GRADIENT, LEFT_OUT, MOST_LEFT_OUT
from mmgrad_explain.attention.word_values.token_texts import TokenTexts, reads_places
from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.words import Word
from mmgrad_explain.notes import Note, join_notes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from mmgrad_explain.attention.scores.base import Score
    from mmgrad_explain.attention.word_values.embedding_gradient import WordCapture
    from mmgrad_explain.attention.word_values.left_out import ShorterTexts
    from mmgrad_explain.attention.word_values.pieces import Pieces
    from mmgrad_explain.attention.word_values.request import WordRequest
    from mmgrad_explain.attention.word_values.token_texts import RunModel

Words = tuple[Word, ...]
_APPROXIMATE = "the values of its words are gradient x input, which says little of what happens without a word"


@dataclass(frozen=True)
class ExplainedCall:
    """The call that is explained, with a function that repeats it with other texts.

    Attributes:
        scorer: The score.
        outputs: The K outputs that it was computed from; one, unless several scores of a forward are explained.
        scores: (K, B).
        inputs: Positional and keyword arguments, the token ids among them.
        run: Runs the model, or what follows its image features, on other arguments.
        root: The model.
        is_encoded: Whether the image is encoded already, and ``run`` only takes what encodes the texts.
        in_rounds: Whether ``run`` only takes the B samples, in their order.
    """

    scorer: Score
    outputs: Sequence[Any]
    scores: Tensor
    inputs: tuple[tuple[Any, ...], dict[str, Any]]
    run: RunModel
    root: nn.Module
    is_encoded: bool = False
    in_rounds: bool = False

    def texts(self, ids: Tensor, words: Sequence[Pieces]) -> TokenTexts:
        """Take words out of the inputs; random numbers are the same in each run.

        Raises:
            CannotLeaveOutError: as :class:`TokenTexts`, or the score reads places of the text, which move.
        """
        for output in self.outputs:
            if reads_places(self.scorer, output, *ids.shape):
                raise CannotLeaveOutError("the score reads places of the text, which move when a token is taken out")
        parameters = list(self.root.parameters())

        def run(args: tuple[Any, ...], kwargs: dict[str, Any], samples: Sequence[int]) -> Sequence[Any]:
            with same_randomness(parameters, (args, kwargs)):
                return self.run(args, kwargs, samples)

        texts = TokenTexts(run, self.inputs, ids, words, root=None if self.is_encoded else self.root)
        texts.in_rounds |= self.in_rounds
        return texts


class WordValues(NamedTuple):
    """What each word of the B texts contributes to a score.

    Attributes:
        words: The words of each text.
        ways: How each text's values were measured, by name (``WORD_WAYS``).
        notes: Where the values are not those that were to be expected.
    """

    words: tuple[Words, ...]
    ways: tuple[str, ...]
    notes: tuple[Note, ...]


def measure_words(
    request: WordRequest, capture: WordCapture, call: ExplainedCall, gradients: Sequence[Sequence[Tensor | None]]
) -> list[WordValues]:
    """Measure the values of words, for each of the K scores.

    Args:
        request: What is wanted.
        capture: The token ids, and the embeddings.
        call: What is explained.
        gradients: For each score its gradient at each of the embeddings; empty where none will be taken.

    Raises:
        InputError: there is not one text for each sample, or words are to be left out by name and cannot be.
        GradientError: as :meth:`WordCapture.values`.
    """
    capture.stop()
    ids, kept = capture.tokens()
    batch = call.scores.shape[1]
    if len(ids) != batch:
        raise InputError(f"words: {len(ids)} texts for {batch} samples; pass one text for each sample")
    pieces = request.name(ids, kept)
    most = MOST_LEFT_OUT if request.way is None else max(map(len, pieces), default=0)
    short = [request.way != GRADIENT and len(of_text) <= most for of_text in pieces]
    left_out: list[list[list[float]]] | None = None
    why = ""
    if any(short):
        try:
            texts = _find_texts(request, capture, call, pieces, ids, kept)
            short = [is_short and sample not in texts.of_one_word for sample, is_short in enumerate(short)]
            counts = [len(of_text) if is_short else 0 for of_text, is_short in zip(pieces, short, strict=True)]
            left_out = leave_each_out(texts, HeldScores(call.scorer, call.outputs, call.scores), counts)
        except CannotLeaveOutError as error:
            if request.way == LEFT_OUT:
                raise InputError(f"words: they cannot be left out: {error}; ask for words='gradient'") from error
            short, why = [False] * batch, str(error)
    if request.way == LEFT_OUT and not all(short):
        raise InputError("words: nothing is left of a text of one word; ask for words='gradient'")
    notes = () if request.way else _note_gradients(short, pieces, why)
    ways = tuple(LEFT_OUT if is_short else GRADIENT for is_short in short)
    found = []
    for k, of_score in enumerate(call.scores):
        values = [[] if left_out is None else of_text for of_text in (left_out[k] if left_out else [[]] * batch)]
        if not all(short):
            rows = capture.values(gradients[k], len(of_score)).detach().cpu().double().tolist()
            for sample, is_short in enumerate(short):
                if not is_short:
                    row = rows[sample]
                    values[sample] = [sum(row[at] for at in positions) for _, positions in pieces[sample]]
        words = tuple(make_words(*of_text) for of_text in zip(pieces, values, strict=True))
        found.append(WordValues(words, ways, notes))
    return found


def make_words(pieces: Pieces, values: Sequence[float]) -> Words:
    """Make the records of a text's words, scaled by the largest magnitude."""
    largest = max(map(abs, values), default=0.0) or 1.0
    return tuple(
        Word(text, value, value / largest, positions)
        for (text, positions), value in zip(pieces, values, strict=True)
    )  # fmt: skip


def _find_texts(
    request: WordRequest,
    capture: WordCapture,
    call: ExplainedCall,
    pieces: Sequence[Pieces],
    ids: list[list[int]],
    kept: list[list[int]],
) -> ShorterTexts:
    """Return the texts as they were written, where they are known; else by their tokens."""
    if is_sharded(call.root):
        raise CannotLeaveOutError("the model is sharded: processes with different texts would wait for one another")
    compose = call.run if call.is_encoded else None
    sentences = None if request.sentences is None else request.sentences(ids, kept, compose)
    return sentences or call.texts(capture.ids, pieces)


def _note_gradients(short: Sequence[bool], pieces: Sequence[Pieces], why: str) -> tuple[Note, ...]:
    """Note which texts have values by the gradient although nobody asked for that, and why."""
    if why:
        return (Note("word-values", f"words cannot be left out ({why}): {_APPROXIMATE}"),)
    notes = []
    for sample, (is_short, of_text) in enumerate(zip(short, pieces, strict=True)):
        if is_short:
            continue
        reason = "nothing is left of the text without its only word"
        if len(of_text) > MOST_LEFT_OUT:
            reason = (
                f"the text has {len(of_text)} words, and up to {MOST_LEFT_OUT} are left out one by one, or all with "
                "words='leave-one-out'"
            )
        notes.append(Note("word-values", f"{reason}: {_APPROXIMATE}", (sample,)))
    return join_notes(notes, len(short))
