"""A processor that pads long images before another one resizes and crops them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.composers.batch_processor import BatchProcessor
from mmgrad_explain.composers.square_images import SquareImages
from mmgrad_explain.images.ratio_padding import check_ratio, pad_to_ratio, place_padded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image
    from torch import Tensor

    from mmgrad_explain.images.placement import Placement
    from mmgrad_explain.notes import Note


class PaddedProcessor(BatchProcessor, SquareImages):
    """Pads images towards a ratio of their sides, then has another processor prepare them.

    Args:
        inner: The other processor.
        pad_ratio: Of the longer to the shorter side; see :mod:`~mmgrad_explain.images.ratio_padding`.

    Raises:
        InputError: The ratio is no number of at least 1.
    """

    def __init__(self, inner: Any, pad_ratio: float) -> None:
        check_ratio(pad_ratio)
        self.inner = inner
        self.pad_ratio = float(pad_ratio)

    @property
    def tokenizer(self) -> Any:
        """The other processor's tokenizer."""
        return self.inner.tokenizer

    def encode_images(self, images: Sequence[Image.Image]) -> tuple[Tensor, list[Placement]]:
        """Prepare RGB images: ``(B, 3, H, W)`` float32, and the placements of the images without their bars."""
        pixels, placements = self.inner.encode_images([pad_to_ratio(image, self.pad_ratio) for image in images])
        sizes = [(image.height, image.width) for image in images]
        return pixels, [place_padded(size, self.pad_ratio, one) for size, one in zip(sizes, placements, strict=True)]

    def encode_texts(self, texts: Sequence[str], notices: list[Note] | None = None) -> tuple[Tensor, Tensor]:
        """Prepare texts by the other processor."""
        return self.inner.encode_texts(texts, notices)  # type: ignore[no-any-return]
