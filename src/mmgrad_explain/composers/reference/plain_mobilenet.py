"""MobileNetV2 in plain torch, with the names of timm's modules (Sandler et al., arXiv 1801.04381).

timm takes over a second to import. A test compares both, weight for weight and map for map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

MULTIPLIERS = {
    "mobilenetv2_035": 0.35,
    "mobilenetv2_050": 0.5,
    "mobilenetv2_075": 0.75,
    "mobilenetv2_100": 1.0,
    "mobilenetv2_140": 1.4,
}
"""Timm's names of the models, with the factor of their channels."""

OPTIONS = frozenset({"pad_type", "output_stride"})
"""Options of ``timm.create_model`` that the plain model takes as well."""

TAPS = (0, 1, 2, 4, 6)
"""The stages after which features are taken, by timm's feature index."""

_STAGES = ((1, 1, 16, 1), (6, 2, 24, 2), (6, 3, 32, 2), (6, 4, 64, 2), (6, 3, 96, 1), (6, 3, 160, 2), (6, 1, 320, 1))
"""Expansion, blocks, channels and stride of each stage: table 2 of the paper."""


class SamePadConv(nn.Conv2d):
    """A convolution that pads as TensorFlow's ``same`` does: where the padding is odd, more of it below and right."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute ``(B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))``."""
        sides = []
        for axis in (1, 0):
            size, stride = x.shape[axis - 2], self.stride[axis]
            reach = (self.kernel_size[axis] - 1) * self.dilation[axis] + 1
            missing = max((-(-size // stride) - 1) * stride + reach - size, 0)
            sides += [missing // 2, missing - missing // 2]
        return super().forward(F.pad(x, sides))


class NormRelu6(nn.BatchNorm2d):
    """Batch norm, then ReLU up to 6."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute ``(B, C, H, W) -> (B, C, H, W)``."""
        return F.relu6(super().forward(x), inplace=True)


def _conv(inner: int, outer: int, kernel: int, stride: int, dilation: int, groups: int, *, same: bool) -> nn.Conv2d:
    if same and stride > 1:
        return SamePadConv(inner, outer, kernel, stride, 0, dilation, groups, bias=False)
    return nn.Conv2d(inner, outer, kernel, stride, dilation * (kernel - 1) // 2, dilation, groups, bias=False)


class FirstBlock(nn.Module):
    """The block of the first stage, without expansion: a 3x3 convolution of each channel, then a 1x1 convolution."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.conv_dw = _conv(inner, inner, 3, 1, 1, inner, same=False)
        self.bn1 = NormRelu6(inner)
        self.conv_pw = _conv(inner, outer, 1, 1, 1, 1, same=False)
        self.bn2 = nn.BatchNorm2d(outer)

    def forward(self, x: Tensor) -> Tensor:
        """Compute ``(B, C, H, W) -> (B, C', H, W)``."""
        y = self.bn2(self.conv_pw(self.bn1(self.conv_dw(x))))
        return x + y if x.shape[1] == y.shape[1] else y  # type: ignore[no-any-return]


class InvertedResidual(nn.Module):
    """Expansion by a 1x1 convolution, a 3x3 convolution of each channel, a 1x1 convolution to fewer channels."""

    def __init__(self, inner: int, outer: int, expand: int, stride: int, dilation: int, *, same: bool) -> None:
        super().__init__()
        wide = round_channels(inner * expand)
        self.conv_pw = _conv(inner, wide, 1, 1, 1, 1, same=same)
        self.bn1 = NormRelu6(wide)
        self.conv_dw = _conv(wide, wide, 3, stride, dilation, wide, same=same)
        self.bn2 = NormRelu6(wide)
        self.conv_pwl = _conv(wide, outer, 1, 1, 1, 1, same=same)
        self.bn3 = nn.BatchNorm2d(outer)
        self.has_skip = stride == 1 and inner == outer

    def forward(self, x: Tensor) -> Tensor:
        """Compute ``(B, C, H, W) -> (B, C', H / stride, W / stride)``."""
        y = self.bn1(self.conv_pw(x))
        y = self.bn3(self.conv_pwl(self.bn2(self.conv_dw(y))))
        return x + y if self.has_skip else y  # type: ignore[no-any-return]


class PlainMobileNetV2(nn.Module):
    """Timm's ``mobilenetv2_*`` up to its last tap; state dicts are interchangeable.

    Args:
        multiplier: Factor of all channels.
        taps: Timm's feature indices, from 0 to 4, rising.
        pad_type: ``"same"`` pads as TensorFlow does; ``""`` symmetrically.
        output_stride: Largest stride: 32, 16, 8 or less; later stages are dilated instead.

    Attributes:
        channels: Of the map of each tap.
        strides: Likewise, pixels of the image by cell.
    """

    def __init__(self, multiplier: float, taps: Sequence[int], pad_type: str = "", output_stride: int = 32) -> None:
        super().__init__()
        same = pad_type == "same"
        self.stages = tuple(TAPS[tap] for tap in taps)
        width = round_channels(32 * multiplier)
        self.conv_stem = _conv(3, width, 3, 2, 1, 1, same=same)
        self.bn1 = NormRelu6(width)
        stages, channels, strides = [], [], []
        reached, dilation = 2, 1
        for number, (expand, count, size, step) in enumerate(_STAGES[: self.stages[-1] + 1]):
            outer, blocks = round_channels(size * multiplier), []
            for block in range(count):
                stride, now = (step if block == 0 else 1), dilation
                if stride > 1 and reached * stride > output_stride:
                    stride, dilation = 1, dilation * stride  # from the next block on
                reached *= stride
                blocks.append(
                    InvertedResidual(width, outer, expand, stride, now, same=same)
                    if number
                    else FirstBlock(width, outer)
                )
                width = outer
            stages.append(nn.Sequential(*blocks))
            channels.append(outer)
            strides.append(reached)
        self.blocks = nn.Sequential(*stages)
        self.channels = tuple(channels[stage] for stage in self.stages)
        self.strides = tuple(strides[stage] for stage in self.stages)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Compute the maps of the taps of pixels ``(B, 3, H, W)``."""
        pixels = pixels.contiguous(memory_format=torch.channels_last)  # on a CPU a third faster, in training a quarter
        x = self.bn1(self.conv_stem(pixels))
        maps = []
        for number, stage in enumerate(self.blocks):
            x = stage(x)
            if number in self.stages:
                maps.append(x.contiguous())
        return maps


def round_channels(channels: float, divisor: int = 8) -> int:
    """Round to the nearest multiple of the divisor, and not below 90 % of the channels."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
