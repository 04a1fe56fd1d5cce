"""Fit and normalise image arrays of a model's own size, which training uses, as the model's processor would."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from PIL import Image
    from torch import Tensor

    from mmgrad_explain.images.placement import Placement


class SquareImages:
    """Adds to a processor what training needs: ``image_size``, ``fit_image`` and ``normalise``.

    Everything follows from what the processor makes of images.
    """

    @abstractmethod
    def encode_images(self, images: Sequence[Image.Image]) -> tuple[Tensor, list[Placement]]:
        """Turn RGB images into ``(B, 3, H, W)`` float32; also return where each lies in its tensor."""

    @cached_property
    def image_size(self) -> int:
        """Side of the square that images are brought to, pixels.

        Raises:
            AttributeError: The input is not square, or its size differs from image to image.
        """
        (height, width), *others = self._sizes
        if others or height != width:
            raise AttributeError("images of this model have no one size")
        return int(height)

    @property
    def keeps_shapes(self) -> bool:
        """Whether images of different shapes keep different sizes."""
        return len(self._sizes) > 1

    def fit_image(self, image: Image.Image) -> tuple[npt.NDArray[np.uint8], Placement]:
        """Fit an RGB image as the processor does, ``(S, S, 3)`` uint8, for training; not yet normalised."""
        pixels, (placement,) = self.encode_images([image])
        black, white = self._ends
        levels = (255 * (pixels[0] - black) / (white - black)).round().clamp(0, 255)
        return np.ascontiguousarray(levels.byte().permute(1, 2, 0).numpy()), placement

    def normalise(self, images: np.ndarray) -> Tensor:
        """Normalise images of ``image_size``: ``(B, S, S, 3)`` uint8 to ``(B, 3, S, S)`` float32, not resized."""
        black, white = self._ends
        values = torch.from_numpy(images).float().permute(0, 3, 1, 2) / 255
        normalised: Tensor = black + values * (white - black)
        return normalised.contiguous()

    @cached_property
    def _sizes(self) -> set[tuple[int, int]]:
        """The sizes (H, W), pixels, in which images of several shapes come to the model."""
        from PIL import Image

        shapes = ((600, 600), (600, 900), (900, 600))
        return {self.encode_images([Image.new("RGB", shape)])[1][0].input for shape in shapes}

    @cached_property
    def _ends(self) -> Tensor:
        """Black and white as the processor gives them, ``(2, 3, 1, 1)``; values between are linear."""
        from PIL import Image

        pixels = self.encode_images([Image.new("RGB", (64, 64), colour) for colour in ("black", "white")])[0]
        height, width = pixels.shape[2] // 2, pixels.shape[3] // 2
        return pixels[:, :, height : height + 1, width : width + 1]
