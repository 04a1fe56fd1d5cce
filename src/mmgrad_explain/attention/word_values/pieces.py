"""Find the words of a text, where they stand in it, and which tokens belong to each."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

Pieces = list[tuple[str, tuple[int, ...]]]
"""The words of one text, each with the positions of its tokens."""

NameWords = Callable[[list[list[int]], list[list[int]]], list[Pieces]]
"""Token ids and unmasked positions of each text to its words."""

_CLOSING = tuple(",.;:!?)]}")


class WordPlace(NamedTuple):
    """A word of a text.

    Attributes:
        text: As it was written.
        positions: Of its tokens in the model's input.
        span: (start, end) in characters of the text; None where the tokenizer does not tell.
    """

    text: str
    positions: tuple[int, ...]
    span: tuple[int, int] | None


def find_words(tokenizer: Any, text: str, ids: Sequence[int], kept: Sequence[int]) -> list[WordPlace]:
    """Find the words of a text.

    A word begins where the tokenizer begins one (by its word ids) and at white space. Special tokens, padding, tokens
    that are not in the text, and words without tokens are left out.

    Args:
        tokenizer: A tokenizer of transformers or tokenizers; with others each token is a word.
        text: The text that was encoded.
        ids: The tokens that the model got.
        kept: The positions among them that are not padding.

    Returns:
        The words in the order of the text.
    """
    encoding = getattr(tokenizer, "backend_tokenizer", tokenizer).encode(text)
    if not hasattr(encoding, "offsets"):
        special = set(getattr(tokenizer, "all_special_ids", ()))
        return [
            WordPlace(str(tokenizer.decode([ids[at]])).strip(), (at,), None) for at in kept if ids[at] not in special
        ]
    row = [ids[at] for at in kept]
    blocks = SequenceMatcher(None, encoding.ids, row, autojunk=False).get_matching_blocks()
    pairs = [(block.a + step, kept[block.b + step]) for block in blocks for step in range(block.size)]
    starts = [match.start() for match in re.finditer(r"\S+", text)]
    found: dict[tuple[int, int], tuple[list[int], list[int]]] = {}
    for at, position in pairs:
        start, end = encoding.offsets[at]
        start += len(text[start:end]) - len(text[start:end].lstrip())
        if encoding.special_tokens_mask[at] or encoding.word_ids[at] is None or start >= end:
            continue
        word = sum(begin <= start for begin in starts)
        spans, positions = found.setdefault((encoding.word_ids[at], word), ([], []))
        spans += [start, end]
        positions.append(position)
    return [
        WordPlace(text[min(spans) : max(spans)].strip(), tuple(places), (min(spans), max(spans)))
        for spans, places in found.values()
    ]


def pieces_of_text(tokenizer: Any, text: str, ids: Sequence[int], kept: Sequence[int]) -> Pieces:
    """Find the tokens of each word of a text; see :func:`find_words`.

    Returns:
        Each word with the positions of its tokens, in the order of the text.
    """
    return [(word.text, word.positions) for word in find_words(tokenizer, text, ids, kept)]


def leave_out(text: str, span: tuple[int, int]) -> str:
    """Write a text without one of its words, as somebody would type it: no gap stays, and no space before a comma.

    Args:
        text: The text.
        span: (start, end) of the word in it, in characters.
    """
    before, after = text[: span[0]], text[span[1] :]
    if after.startswith(_CLOSING) or not after:
        before = before.rstrip()
    if not before or before[-1].isspace():
        after = after.lstrip()
    return before + after


def decode_words(tokenizer: Any, ids: Sequence[int], kept: Sequence[int]) -> Pieces:
    """Name the words of a text of which only the tokens are known."""
    special = set(getattr(tokenizer, "all_special_ids", ()))
    row = [ids[at] for at in kept if ids[at] not in special]
    text = (
        tokenizer.decode(row, skip_special_tokens=True)
        if _can_skip_special_tokens(tokenizer)
        else tokenizer.decode(row)
    )
    return pieces_of_text(tokenizer, str(text), ids, kept)


def name_by_id(ids: list[list[int]], kept: list[list[int]]) -> list[Pieces]:
    """Name each token that is not masked by its id."""
    return [[(f"#{row[at]}", (at,)) for at in places] for row, places in zip(ids, kept, strict=True)]


def _can_skip_special_tokens(tokenizer: Any) -> bool:
    return hasattr(tokenizer, "backend_tokenizer") or hasattr(tokenizer, "get_vocab_size")
