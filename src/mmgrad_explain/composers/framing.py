"""Pictures to pixels by the transforms that timm and open_clip use in evaluation, with the way back to the pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from mmgrad_explain.errors import InputError
from mmgrad_explain.images import Placement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from PIL import Image
    from torch import Tensor


@dataclass(frozen=True)
class Framing:
    """A resize, then the middle of it: what stands out over the input is cut, what is missing is filled up.

    The pixels are what the library's own transform gives; where a picture lies in them follows from its settings.

    Attributes:
        transform: An RGB picture to ``(3, H, W)`` float32, normalised.
        size: (H, W) of the model's input, pixels.
        scaled: (H, W) that the resize aims at, pixels.
        resize: ``"squash"`` to just that; ``"shortest"`` or ``"longest"``, in the picture's own shape, so that it is
            filled or so that everything is in it.
    """

    transform: Callable[[Any], Tensor]
    size: tuple[int, int]
    scaled: tuple[int, int]
    resize: Literal["squash", "shortest", "longest"]

    def __call__(self, images: Sequence[Image.Image]) -> tuple[Tensor, list[Placement]]:
        """RGB pictures to ``(B, 3, H, W)`` float32 and their placements."""
        placements = [self.place((image.height, image.width)) for image in images]
        return torch.stack([self.transform(image) for image in images]).float(), placements

    def place(self, original: tuple[int, int]) -> Placement:
        """Where a picture of a (height, width) lies in the model's input."""
        if self.resize == "squash":
            rows, columns = self.scaled
        elif self.resize == "shortest" and self.scaled[0] == self.scaled[1]:  # torchvision's resize of the short edge
            short, edge = min(original), self.scaled[0]
            rows, columns = (edge if side == short else int(edge * side / short) for side in original)
        else:
            ratios = [side / aim for side, aim in zip(original, self.scaled, strict=True)]
            ratio = max(ratios) if self.resize == "longest" else min(ratios)
            rows, columns = (round(side / ratio) for side in original)
        top, left = (_offset(have, want) for have, want in zip((rows, columns), self.size, strict=True))
        scale = rows / original[0], columns / original[1]
        return Placement(original, self.size, scale, (float(top), float(left)))


def _offset(have: int, want: int) -> int:
    """Where the resized picture begins: padding is rounded down, a crop to even, as in both libraries."""
    return (want - have) // 2 if have < want else -round((have - want) / 2)


def timm_framing(data: Mapping[str, Any]) -> Framing:
    """The framing of timm's data config.

    Args:
        data: ``input_size`` (3, H, W), ``interpolation``, ``mean``, ``std``, ``crop_pct``, ``crop_mode``.

    Raises:
        InputError: If something in it is missing or of a kind that is not known.
    """
    from timm.data import create_transform

    try:
        channels, height, width = (int(side) for side in data["input_size"])
        share, mode = float(data["crop_pct"] or 0.875), str(data["crop_mode"] or "center")
        options = {name: data[name] for name in ("interpolation", "mean", "std")}
        transform = create_transform((3, height, width), crop_pct=share, crop_mode=mode, **options)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"timm's data config cannot be used: {type(error).__name__} {error}") from error
    resize: Any = {"squash": "squash", "border": "longest", "center": "shortest"}.get(mode)
    if resize is None or channels != 3:
        raise InputError(f"timm's data config asks for {channels} channels and the crop mode {mode!r}: use RGB, center")
    return Framing(transform, (height, width), (math.floor(height / share), math.floor(width / share)), resize)


def open_clip_framing(preprocess: Mapping[str, Any]) -> Framing:
    """The framing of open_clip's ``preprocess_cfg``.

    Args:
        preprocess: ``size``, and what differs from open_clip's defaults.

    Raises:
        InputError: If something in it is of a kind that is not known.
    """
    from open_clip.transform import PreprocessCfg, image_transform_v2

    try:
        config = PreprocessCfg(**preprocess)
        transform = image_transform_v2(config, is_train=False)
    except (AssertionError, TypeError, ValueError) as error:
        raise InputError(f"open_clip's preprocess_cfg cannot be used: {str(error) or preprocess}") from error
    side = config.size
    size = (int(side), int(side)) if isinstance(side, int) else (int(side[0]), int(side[1]))
    return Framing(transform, size, size, config.resize_mode or "shortest")
