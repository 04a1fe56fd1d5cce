"""Evaluation transforms of timm and open_clip, with the placement of each image in the model's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.transform_geometry import place_by_transform

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from PIL import Image
    from torch import Tensor

    from mmgrad_explain.images.placement import Placement


@dataclass(frozen=True)
class Framing:
    """A transform that brings every image to one size.

    The library's own transform makes the pixels; the placement is computed from its steps.

    Attributes:
        transform: An RGB image to ``(3, H, W)`` float32, normalised.
        size: (H, W) of the model's input, pixels.
    """

    transform: Callable[[Any], Tensor]
    size: tuple[int, int]

    def __call__(self, images: Sequence[Image.Image]) -> tuple[Tensor, list[Placement]]:
        """Prepare RGB images: ``(B, 3, H, W)`` float32, and their placements."""
        placements = [self.place((image.height, image.width)) for image in images]
        return torch.stack([self.transform(image) for image in images]).float(), placements

    def place(self, original: tuple[int, int]) -> Placement:
        """Find where an image of this (height, width) lies in the model's input."""
        return place_by_transform(self.transform, original)


_EVALUATION_STEPS = {
    "Resize", "ResizeKeepRatio", "CenterCrop", "CenterCropOrPad",
    "ToTensor", "MaybeToTensor", "PILToTensor", "MaybePILToTensor", "ToImage", "ToDtype", "ConvertImageDtype",
    "Normalize", "MaybeConvertMode", "RGB", "_convert_to_rgb",
}  # fmt: skip
_SHAPES = ((600, 600), (600, 900), (900, 600))  # (height, width) of images by which a transform is checked


def framing_of(transform: Any) -> Framing:
    """Make the framing of a user's transform: a resize, then possibly a crop of the centre.

    Args:
        transform: A ``Compose`` of torchvision, as timm and open_clip make it for evaluation.

    Raises:
        InputError: It has another step, or does not bring all images to one size.
    """
    for step in _steps(transform):
        name = str(getattr(step, "__name__", type(step).__name__))
        if name not in _EVALUATION_STEPS or _is_random(step):
            raise InputError(
                f"processor: the transform has {name}, and where it puts an image cannot be undone on the map: give "
                "the one for evaluation, a resize and a crop of the centre"
            )
    sizes = {place_by_transform(transform, shape).input for shape in _SHAPES}
    if len(sizes) > 1:
        raise InputError("processor: the transform gives images of no one size: it needs a resize and a crop")
    return Framing(transform, sizes.pop())


def _steps(transform: Any) -> list[Any]:
    """List the steps of a transform, those of inner containers too."""
    inner = transform if isinstance(transform, nn.Sequential) else getattr(transform, "transforms", None)
    return [transform] if inner is None else [step for part in inner for step in _steps(part)]


def _is_random(step: Any) -> bool:
    """Return whether a ``ResizeKeepRatio`` is one for training."""
    return bool(getattr(step, "random_scale_prob", 0) or getattr(step, "random_aspect_prob", 0))


def timm_framing(data: Mapping[str, Any]) -> Framing:
    """Make the framing of timm's data config.

    Args:
        data: ``input_size`` (3, H, W), ``interpolation``, ``mean``, ``std``, ``crop_pct``, ``crop_mode``.

    Raises:
        InputError: An option is missing, or its value is not supported.
    """
    from timm.data import create_transform

    try:
        channels, height, width = (int(side) for side in data["input_size"])
        share, mode = float(data["crop_pct"] or 0.875), str(data["crop_mode"] or "center")
        options = {name: data[name] for name in ("interpolation", "mean", "std")}
        transform = create_transform((3, height, width), crop_pct=share, crop_mode=mode, **options)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"timm's data config cannot be used: {type(error).__name__} {error}") from error
    if mode not in {"squash", "border", "center"} or channels != 3:
        raise InputError(f"timm's data config asks for {channels} channels and the crop mode {mode!r}: use RGB, center")
    return Framing(transform, (height, width))


def open_clip_framing(preprocess: Mapping[str, Any]) -> Framing:
    """Make the framing of open_clip's ``preprocess_cfg``.

    Args:
        preprocess: ``size``, and what differs from open_clip's defaults.

    Raises:
        InputError: The value of an option is not supported.
    """
    from open_clip.transform import PreprocessCfg, image_transform_v2

    try:
        config = PreprocessCfg(**preprocess)
        transform = image_transform_v2(config, is_train=False)
    except (AssertionError, TypeError, ValueError) as error:
        raise InputError(f"open_clip's preprocess_cfg cannot be used: {str(error) or preprocess}") from error
    side = config.size
    return Framing(transform, (int(side), int(side)) if isinstance(side, int) else (int(side[0]), int(side[1])))
