"""A processor for a model of one's own: square images, and any tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain.composers.base import check_image_side
from mmgrad_explain.composers.batch_processor import BatchProcessor, FittedImages
from mmgrad_explain.errors import InputError
from mmgrad_explain.notes import Note

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor


class SquareProcessor(FittedImages, BatchProcessor):
    """Letterboxes images to a square, normalises them, and encodes texts with a tokenizer. Enough to train with.

    Args:
        tokenizer: Of tokenizers or transformers, or any callable of a text that gives its ids. ``words=True`` needs
            one with ``encode``.
        image_size: Side of the model's input, pixels.
        mean: Subtracted from each channel in [0, 1]; one number, or one a channel.
        std: Each channel is divided by it; likewise.
        max_tokens: Longest text, tokens; the rest is cut, with a note.
        padding: Id that fills shorter texts up.
        fill: Grey level of the letterbox bars, 0 to 255.

    Raises:
        InputError: ``image_size`` is no whole number of pixels, or too large.
        TypeError: ``tokenizer`` is no tokenizer.
    """

    def __init__(
        self,
        tokenizer: Callable[[str], Any] | Any,
        image_size: int = 224,
        mean: float | Sequence[float] = 0.5,
        std: float | Sequence[float] = 0.5,
        *,
        max_tokens: int = 64,
        padding: int = 0,
        fill: int = 127,
    ) -> None:
        check_image_side(image_size)
        if not callable(tokenizer) and not callable(getattr(tokenizer, "encode", None)):
            raise TypeError(
                "tokenizer must be one of tokenizers or transformers, or a function of a text that gives its ids, got "
                f"{type(tokenizer).__name__}"
            )
        self.tokenizer = tokenizer
        self.image_size = image_size
        self.mean = mean
        self.std = std
        self.max_tokens = max_tokens
        self.padding = padding
        self.fill = fill

    def encode_texts(self, texts: Sequence[str], notices: list[Note] | None = None) -> tuple[Tensor, Tensor]:
        """Turn texts into ids and mask ``(B, L)`` int64; add a note for each text that was cut to ``notices``."""
        rows = [self._ids(text) for text in texts]
        for index, row in enumerate(rows):
            if notices is not None and len(row) > self.max_tokens:
                cut = f"the text has {len(row)} tokens, the model takes {self.max_tokens}: the rest was cut"
                notices.append(Note("cut-text", cut, (index,)))
        rows = [row[: self.max_tokens] for row in rows]
        longest = max(1, *map(len, rows))
        ids = torch.tensor([row + [self.padding] * (longest - len(row)) for row in rows], dtype=torch.long)
        return ids, (torch.arange(longest) < torch.tensor([[len(row)] for row in rows])).long()

    def _ids(self, text: str) -> list[int]:
        encoded = self.tokenizer.encode(text) if hasattr(self.tokenizer, "encode") else self.tokenizer(text)
        ids = list(getattr(encoded, "ids", encoded))
        if not all(isinstance(one, int) for one in ids):
            raise InputError(
                f"the tokenizer {type(self.tokenizer).__name__} must give a list of ids (whole numbers) of a text, not "
                f"{type(encoded).__name__}"
            )
        return ids
