"""Prepare images and words for the reference composer; needs neither transformers nor timm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mmgrad_explain.composers.batch_processor import FittedImages, SavedProcessor
from mmgrad_explain.composers.content_words import NEUTRAL, say_lost
from mmgrad_explain.composers.reference.tokenizer import PAD, UNKNOWN
from mmgrad_explain.notes import Note

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tokenizers import Tokenizer
    from torch import Tensor


class ReferenceProcessor(FittedImages, SavedProcessor):
    """Letterboxes images to a square, normalises them, and looks up words.

    Args:
        tokenizer: A ``tokenizers.Tokenizer`` with padding id 0.
        image_size: Side of the model's input, pixels.
        max_words: Longest text, words.
        mean: Subtracted from the channels in [0, 1]: one number, or three. What the network's trunk wants.
        std: Divides the channels; likewise.
        fill: Grey level of the letterbox bars, 0 to 255.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        image_size: int = 96,
        max_words: int = 24,
        mean: float | Sequence[float] = 0.5,
        std: float | Sequence[float] = 0.25,
        fill: int = 127,
    ) -> None:
        self.tokenizer = tokenizer
        self.image_size = image_size
        self.max_words = max_words
        self.mean = mean
        self.std = std
        self.fill = fill

    def encode_texts(self, texts: Sequence[str], notices: list[Note] | None = None) -> tuple[Tensor, Tensor]:
        """Prepare texts: ids and mask ``(B, L)`` int64. Notes on cuts and unknown words are appended."""
        rows = []
        for index, text in enumerate(texts):
            encoding = self.tokenizer.encode(text)
            if notices is not None:
                notices += self._word_notes(text, index)
            known = [i for i, token in zip(encoding.ids, encoding.tokens, strict=True) if token != UNKNOWN]
            if notices is not None and len(known) > self.max_words:
                cut = f"the text has {len(known)} words, the model takes {self.max_words}: the rest was cut"
                notices.append(Note("cut-text", cut, (index,)))
            rows.append(known[: self.max_words])
        padding = int(self.tokenizer.token_to_id(PAD) or 0)
        ids = torch.full((len(rows), max(1, *map(len, rows))), padding, dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row, dtype=torch.long)
        return ids, ids.ne(padding).long()

    def _word_notes(self, text: str, index: int) -> Iterator[Note]:
        """Make the notes on a text's words."""
        unknown = self.unknown_words([text])
        if unknown:
            words = ", ".join(repr(word) for word in dict.fromkeys(unknown))
            read = " ".join(self._words(text, known=True))
            said = f"{text!r}: the model does not know {words}; left out, read as {read!r}"
            yield Note("unknown-words", said, (index,))
        if lost := say_lost(text, unknown):
            yield Note("lost-text", f"{text!r}: the model {lost}: do not trust the map", (index,))

    def unknown_words(self, texts: Sequence[str]) -> list[str]:
        """List the words that the tokenizer does not know, as written, once for each occurrence.

        Words that leave the reading as it is (:data:`~mmgrad_explain.composers.content_words.NEUTRAL`) are not listed;
        those that the tokenizer does not know are left out all the same.
        """
        unknown = [word for text in texts for word in self._words(text, known=False)]
        return [word for word in unknown if word.lower() not in NEUTRAL]

    def _words(self, text: str, *, known: bool) -> list[str]:
        """Return the words of a text, as written, that the tokenizer knows, or those that it does not."""
        encoding = self.tokenizer.encode(text)
        tokens = zip(encoding.tokens, encoding.offsets, strict=True)
        return [text[start:end] for token, (start, end) in tokens if (token != UNKNOWN) == known]
