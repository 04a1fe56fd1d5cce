"""Images and texts as SPRC reads them: BLIP-2's own processor, or the padding and crop of the paper's code."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from mmgrad_explain.composers.padded_images import PaddedProcessor
from mmgrad_explain.composers.towers.framing import timm_framing
from mmgrad_explain.composers.towers.processor import TwoTowerProcessor

if TYPE_CHECKING:
    from mmgrad_explain.composers.huggingface.processor import HuggingFaceProcessor

LONGEST = 32
"""Tokens of the longest text, as in the paper's code."""


def sprc_processor(blip: HuggingFaceProcessor, pad_ratio: float | None) -> HuggingFaceProcessor | PaddedProcessor:
    """Make SPRC's processor of BLIP-2's.

    Args:
        blip: BLIP-2's; it stays as it is.
        pad_ratio: As in the paper's code, long images are padded towards this ratio of their sides, the shorter side is
            resized to that of the model's input, and the centre is cropped. None stretches images to the square, as
            BLIP-2 does.

    Raises:
        InputError: The ratio is no number of at least 1.
    """
    longest = min(blip.max_tokens, LONGEST)
    if pad_ratio is None:
        own = copy(blip)
        own.max_tokens = longest
        return own
    values = blip.image_processor
    framing = timm_framing(
        {
            "input_size": (3, blip.image_size, blip.image_size), "crop_pct": 1.0, "crop_mode": "center",
            "interpolation": "bicubic", "mean": values.image_mean, "std": values.image_std,
        }
    )  # fmt: skip
    return PaddedProcessor(TwoTowerProcessor(framing, blip.tokenizer, longest), pad_ratio)
