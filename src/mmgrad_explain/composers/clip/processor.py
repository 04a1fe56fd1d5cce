"""Prepare images and texts for a CLIP model; placements lead back exactly to the images' own pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain.composers.batch_processor import FittedImages, SavedProcessor
from mmgrad_explain.composers.files import PROCESSOR_CONFIG
from mmgrad_explain.errors import InputError
from mmgrad_explain.notes import Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of CLIP's training images (Radford et al., arXiv 2103.00020, its published preprocessing)."""

FITS = ("letterbox", "crop")


class ClipProcessor(FittedImages, SavedProcessor):
    """Fits images into CLIP's square and normalises them; looks up tokens.

    Args:
        tokenizer: A ``tokenizers.Tokenizer`` that adds CLIP's start and end.
        image_size: Side of the model's input, pixels.
        max_words: Longest text, in tokens with start and end.
        pad: Id of padding.
        end: Id that ends a text.
        mean: Of each channel, in [0, 1].
        std: Of each channel.
        fit: ``letterbox`` shows the whole image between grey bars; ``crop`` fills the square and crops, as CLIP does.

    Raises:
        InputError: If ``fit`` is unknown.
    """

    def __init__(
        self,
        tokenizer: Any,
        image_size: int = 224,
        max_words: int = 77,
        pad: int = 49407,
        end: int = 49407,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
        fit: str = "letterbox",
    ) -> None:
        if fit not in FITS:
            raise InputError(f"fit must be 'letterbox' or 'crop', not {fit!r}")
        self.tokenizer = tokenizer
        self.image_size = image_size
        self.max_words = max_words
        self.pad = pad
        self.end = end
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.fit = fit

    def encode_texts(self, texts: Sequence[str], notices: list[Note] | None = None) -> tuple[Tensor, Tensor]:
        """Prepare texts: ids and mask ``(B, L)`` int64, the mask of an empty text all 0. Notes on cuts are appended."""
        rows = []
        for index, text in enumerate(texts):
            ids = list(self.tokenizer.encode(text).ids)
            if len(ids) > self.max_words:
                if notices is not None:
                    cut = f"the text has {len(ids)} tokens, CLIP takes {self.max_words}: the rest was cut"
                    notices.append(Note("cut-text", cut, (index,)))
                ids = [*ids[: self.max_words - 1], self.end]
            rows.append(ids)
        ids_of_all = torch.full((len(rows), max(1, *map(len, rows))), self.pad, dtype=torch.long)
        mask = torch.zeros_like(ids_of_all)
        for i, (row, text) in enumerate(zip(rows, texts, strict=True)):
            ids_of_all[i, : len(row)] = torch.tensor(row, dtype=torch.long)
            mask[i, : len(row)] = int(bool(text.strip()))
        return ids_of_all, mask

    @classmethod
    def from_clip(cls, model: str, config: Any, fit: str) -> ClipProcessor:
        """Make the processor of a CLIP model of transformers.

        Args:
            model: Its folder or hub id.
            config: Its ``CLIPConfig``.
            fit: As in the constructor.
        """
        from transformers import AutoTokenizer
        from transformers.utils import cached_file

        tokenizer = AutoTokenizer.from_pretrained(model)
        found = cached_file(model, PROCESSOR_CONFIG, _raise_exceptions_for_missing_entries=False)
        settings = json.loads(Path(found).read_text(encoding="utf-8")) if found else {}
        backend = tokenizer.backend_tokenizer
        backend.no_padding()
        backend.no_truncation()
        return cls(
            backend,
            image_size=config.vision_config.image_size,
            max_words=config.text_config.max_position_embeddings,
            pad=tokenizer.pad_token_id,
            end=tokenizer.eos_token_id,
            mean=settings.get("image_mean", MEAN),
            std=settings.get("image_std", STD),
            fit=fit,
        )
