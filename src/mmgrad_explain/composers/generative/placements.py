"""The placement of an image that is stretched to a frame; several generative families share it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgrad_explain.images.placement import Placement

if TYPE_CHECKING:
    from mmgrad_explain.composers.generative.family import Size


def stretch(original: Size, frame: Size) -> Placement:
    """Place an image that fills a frame without regard to its own shape.

    Args:
        original: (height, width) of the image.
        frame: (height, width) of the frame, in pixels.
    """
    return Placement(original, frame, (frame[0] / original[0], frame[1] / original[1]), (0.0, 0.0))
