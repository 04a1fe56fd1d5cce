"""Pictures to pixels by the transforms that timm and open_clip use in evaluation, with the way back to the pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.placement import Placement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

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


# What a transform of torchvision, timm or open_clip does to a picture's values and not to its places.
_POINTWISE = {
    "ToTensor", "MaybeToTensor", "PILToTensor", "MaybePILToTensor", "ToImage", "ToDtype", "ConvertImageDtype",
    "Normalize", "MaybeConvertMode", "RGB", "_convert_to_rgb",
}  # fmt: skip


def framing_of(transform: Any) -> Framing:
    """The framing of a transform that is handed in: a resize, then perhaps a crop of the centre.

    Args:
        transform: A ``Compose`` as torchvision, timm and open_clip make it for evaluation.

    Raises:
        InputError: If it holds anything else, or its pictures have no one size.
    """
    resize: Any = None
    scaled: tuple[int, ...] = (0, 0)
    size: tuple[int, ...] = (0, 0)
    for step in _steps(transform):
        name = type(step).__name__ if isinstance(step, nn.Module) or not hasattr(step, "__name__") else step.__name__
        if name in _POINTWISE:
            continue
        if name == "Resize" and resize is None and getattr(step, "max_size", None) is None:
            sides = _sides(step.size)
            resize, scaled = ("shortest", sides * 2) if len(sides) == 1 else ("squash", sides)
            size = sides if len(sides) == 2 else (0, 0)
        elif name == "ResizeKeepRatio" and resize is None and _keeps_still(step):
            resize, scaled = "longest" if step.longest else "shortest", _sides(step.size)
        elif name in {"CenterCrop", "CenterCropOrPad"} and resize is not None:
            sides = _sides(step.size)
            size = sides if len(sides) == 2 else sides * 2
        else:
            raise InputError(
                f"processor: the transform has {name}, and where it puts a picture cannot be undone on the map: give "
                "the one for evaluation, a resize and a crop of the centre"
            )
    if not size[0]:
        raise InputError("processor: the transform gives pictures of no one size: it needs a resize and a crop")
    return Framing(transform, (size[0], size[1]), (scaled[0], scaled[1]), resize)


def _steps(transform: Any) -> Iterator[Any]:
    """What a transform does, one after another."""
    inside = getattr(transform, "transforms", None)
    inside = transform if isinstance(transform, nn.Sequential) else inside
    if inside is None:
        yield transform
    for step in inside or ():
        yield from _steps(step)


def _sides(size: Any) -> tuple[int, ...]:
    return (int(size),) if isinstance(size, int | float) else tuple(map(int, size))


def _keeps_still(step: Any) -> bool:
    """Whether a ``ResizeKeepRatio`` is one of evaluation, of a kind that the framing knows."""
    still = not getattr(step, "random_scale_prob", 0) and not getattr(step, "random_aspect_prob", 0)
    return still and (step.longest == 1 or (step.longest == 0 and step.size[0] != step.size[1]))


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
