"""Prepare images by timm's transform and texts by a tokenizer of transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.composers.huggingface.loading import first_line, silent
from mmgrad_explain.composers.huggingface.processor import HuggingFaceProcessor
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image
    from torch import Tensor

    from mmgrad_explain.composers.towers.framing import Framing
    from mmgrad_explain.images.placement import Placement


class TwoTowerProcessor(HuggingFaceProcessor):
    """A timm model's own transform and a text model's own tokenizer.

    Args:
        framing: The transform of images.
        tokenizer: Of transformers.
        max_tokens: Longest text, in tokens with the special ones.

    Raises:
        InputError: The tokenizer cannot pad.
    """

    def __init__(self, framing: Framing, tokenizer: Any, max_tokens: int) -> None:
        self.framing = framing
        super().__init__(framing, tokenizer, max_tokens)

    def _check_geometry(self) -> None:
        """Accept any framing: its geometry is known."""

    def encode_images(self, images: Sequence[Image.Image]) -> tuple[Tensor, list[Placement]]:
        """Prepare RGB images: ``(B, 3, H, W)`` float32, and their placements."""
        return self.framing(images)

    def place(self, original: tuple[int, int]) -> Placement:
        """Find where an image of this (height, width) lies in the model's input."""
        return self.framing.place(original)


def read_tokenizer(folder: str) -> Any:
    """Read the tokenizer of a folder or hub id; no code in it is run.

    Raises:
        InputError: There is none, or it cannot be read.
    """
    from transformers import AutoTokenizer

    try:
        with silent():
            return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises bare Exception for a file it cannot parse
        raise InputError(f"the tokenizer in {folder} cannot be read: {first_line(error)}") from error
