"""Losses on what a map hides and shows: the score of the image without it, and of nothing but it.

A map becomes a soft mask of the image (:func:`soft_mask`). The image without the masked region should have no score
left (:func:`hidden_loss`), the masked region alone all of it (:func:`shown_loss`). Both need further forwards, of the
images that :func:`split_images` makes.

Source: Li et al., Tell Me Where to Look: Guided Attention Inference Network (GAIN, CVPR 2018, arXiv 1802.10171),
section 3.1: the soft mask, and the attention mining loss, which is the score of the hidden image. Its counterpart on
the shown region, and scores relative to that of the whole image, are additions.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgrad_explain.errors import InputError
from mmgrad_explain.grounding.maps import floor_of, full_precision, in_float32, stretch

SHARPNESS, THRESHOLD = 10.0, 0.5
"""How steep :func:`soft_mask` is, and the value of a map, as a share of its maximum, at which it is one half."""


class MaskedScores(NamedTuple):
    """The scores of a batch's images, whole and masked by their maps.

    Attributes:
        whole: Of the images as they are, ``(B,)``; held constant.
        hidden: Of the images without what their map shows, ``(B,)``, differentiable; None if not computed.
        shown: Of what the map shows alone, ``(B,)``, differentiable; None if not computed.
        valid: ``(B,)`` bool: the samples that were scored; None for all.
    """

    whole: Tensor
    hidden: Tensor | None = None
    shown: Tensor | None = None
    valid: Tensor | None = None


@full_precision
def soft_mask(
    maps: Tensor, size: tuple[int, int], *, sharpness: float = SHARPNESS, threshold: float = THRESHOLD
) -> Tensor:
    r"""Make a soft mask of each map, at the size of the image.

    .. math:: T = \frac{1}{1 + \exp\left(-\omega (g - \sigma)\right)}

    Args:
        maps: ``(B, h, w)``, differentiable; ``g`` is the rectified map, scaled from its minimum to its maximum (both
            held constant), then enlarged to the image, bilinearly. The map's grid must cover the whole image.
        size: ``(H, W)`` of the images in pixels.
        sharpness: ``omega``.
        threshold: ``sigma``, in [0, 1].

    Returns:
        ``(B, H, W)`` in [0, 1].

    Raises:
        TypeError: If the maps are not a floating-point tensor.
        InputError: If they are not ``(B, h, w)``, or the sharpness is not above 0.
    """
    if maps.dim() != 3:
        raise InputError(f"maps must be (B, h, w), got {tuple(maps.shape)}")
    if not sharpness > 0:
        raise InputError(f"sharpness must be above 0, got {sharpness}")
    large = F.interpolate(stretch(maps)[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    return (sharpness * (large - threshold)).sigmoid()


def split_images(images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Split images at soft masks: what is left without the region, and the region alone.

    Args:
        images: ``(B, C, H, W)``, normalised: what is taken away becomes 0, the mean colour.
        masks: ``(B, H, W)`` in [0, 1].

    Returns:
        Two batches like ``images``; their sum is ``images``.

    Raises:
        InputError: If the sizes differ.
    """
    if images.dim() != 4 or masks.shape != (len(images), *images.shape[2:]):
        raise InputError(
            f"masks must be (B, H, W) for images (B, C, H, W), got {tuple(masks.shape)} and {tuple(images.shape)}"
        )
    shown = images * masks[:, None].to(images)
    return images - shown, shown


def find_scored(whole: Tensor) -> Tensor:
    """Find the samples whose score is above 0, ``(B,)`` bool: a share of another score cannot be told."""
    return whole.detach() > floor_of(whole)


def hidden_loss(whole: Tensor, hidden: Tensor) -> Tensor:
    r"""Measure how much of the score is left without what the map shows: ``max(0, hidden) / whole``.

    Args:
        whole: Scores of the whole images, ``(B,)``; held constant. 0 is returned where they are not above 0.
        hidden: Scores of the images without what their map shows, ``(B,)``.

    Returns:
        ``(B,)``, at least 0; above 1 where the score rises.

    Raises:
        InputError: If the shapes differ.
    """
    share, counted = _share_of_score(whole, hidden)
    return share.relu() * counted


def shown_loss(whole: Tensor, shown: Tensor) -> Tensor:
    r"""Measure how much of the score is missing in what the map shows: ``max(0, 1 - shown / whole)``.

    Args and raises as :func:`hidden_loss`, with ``shown`` the scores of what the map shows alone.

    Returns:
        ``(B,)``, at least 0; 0 where the region alone has as high a score as the image.
    """
    share, counted = _share_of_score(whole, shown)
    return (1 - share).relu() * counted


def _share_of_score(whole: Tensor, part: Tensor) -> tuple[Tensor, Tensor]:
    if whole.dim() != 1 or whole.shape != part.shape:
        raise InputError(f"scores must both be (B,), got {tuple(whole.shape)} and {tuple(part.shape)}")
    whole, part = in_float32(whole.detach()), in_float32(part)
    counted = find_scored(whole)
    return part / torch.where(counted, whole, torch.ones_like(whole)), counted
