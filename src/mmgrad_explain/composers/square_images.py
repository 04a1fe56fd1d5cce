"""Images of a model's own size, as training has them, normalised as the model's processor does it."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from PIL import Image
    from torch import Tensor

    from mmgrad_explain.images.placement import Placement


class SquareImages:
    """Adds what training needs to a processor; finds it out by preparing a few plain images."""

    @abstractmethod
    def encode_images(self, images: Sequence[Image.Image]) -> tuple[Tensor, list[Placement]]:
        """Turn RGB images into ``(B, 3, H, W)`` float32, and say where each lies."""

    @cached_property
    def image_size(self) -> int:
        """Side of the square that images are brought to, pixels.

        Raises:
            AttributeError: It is no square, or differs from image to image.
        """
        (height, width), *others = self._sizes
        if others or height != width:
            raise AttributeError("images of this model have no one size")
        return int(height)

    @property
    def keeps_shapes(self) -> bool:
        """Whether images of different shapes come to the model in different sizes."""
        return len(self._sizes) > 1

    def normalise(self, pictures: np.ndarray) -> Tensor:
        """Turn ``(B, H, W, 3)`` uint8 of the model's own size into ``(B, 3, H, W)`` float32, without resize or crop."""
        black, white = self._ends
        values = torch.from_numpy(pictures).float().permute(0, 3, 1, 2) / 255
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
