"""What a caller wants to know of the words: who names them, and how their values are measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.choices import check_choice
from mmgrad_explain.attention.word_values.pieces import NameWords, decode_words, name_by_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmgrad_explain.attention.word_values.left_out import ShorterTexts
    from mmgrad_explain.attention.word_values.token_texts import RunModel

LEFT_OUT, GRADIENT = "leave-one-out", "gradient"
WORD_WAYS = (LEFT_OUT, GRADIENT)
"""How values of words are measured, by name; the first is the default."""
MOST_LEFT_OUT = 32
"""Up to this many words a text's words are left out one by one, where nobody says how."""


@dataclass(frozen=True)
class WordRequest:
    """Values of words that are wanted.

    Attributes:
        name: Names the words of a batch of texts.
        way: One of :data:`WORD_WAYS`; None leaves words out one by one up to :data:`MOST_LEFT_OUT`, and where that
            cannot be done takes the gradient.
        sentences: Takes what ``name`` takes, and what composes other texts with the image if that is encoded already;
            returns the texts as they were written, to leave words out of them. Without it, and where it returns None,
            the words' tokens are taken out of the model's inputs.
    """

    name: NameWords
    way: str | None = None
    sentences: Callable[[list[list[int]], list[list[int]], RunModel | None], ShorterTexts | None] | None = None

    @property
    def needs_gradient(self) -> bool:
        """Whether the gradient at the words' embeddings may be used."""
        return self.way != LEFT_OUT


def ensure_words(words: Any, tokenizer: Any = None) -> WordRequest | None:
    """Return what is wanted of the words, or None where no words are wanted.

    Args:
        words: False or None; True, or one of :data:`WORD_WAYS`; a tokenizer (transformers', tokenizers', or any with
            ``encode`` and ``decode``); or a callable that takes token ids and unmasked positions, one list a text, and
            returns the words of each text: pairs of a word and the positions of its tokens.
        tokenizer: A tokenizer or callable that names the words, where ``words`` is True or a name. Without it tokens
            are named by their ids.

    Raises:
        TypeError: ``words`` is none of these.
        InputError: there is no way of that name.
    """
    if words is None or words is False:
        return None
    if isinstance(words, WordRequest):
        return words
    name = _ensure_namer(tokenizer, "tokenizer") if tokenizer is not None else name_by_id
    if words is True:
        return WordRequest(name)
    if isinstance(words, str):
        if words not in WORD_WAYS:
            check_choice("words", words, WORD_WAYS, also="True or a tokenizer")
        return WordRequest(name, words)
    return WordRequest(_ensure_namer(words, "words"))


def _ensure_namer(namer: Any, argument: str) -> NameWords:
    if hasattr(namer, "encode") and hasattr(namer, "decode"):
        return lambda ids, kept: [decode_words(namer, row, places) for row, places in zip(ids, kept, strict=True)]
    if callable(namer):
        return namer  # type: ignore[no-any-return]
    wanted = "True, 'leave-one-out', 'gradient', a tokenizer" if argument == "words" else "a tokenizer"
    raise TypeError(f"{argument} must be {wanted} or a callable, not {type(namer).__name__}")
