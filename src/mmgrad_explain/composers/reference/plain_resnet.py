"""The first stages of timm's ResNet with GroupNorm in plain torch, with the names of timm's modules."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with GroupNorm and a shortcut, named as timm names them."""

    def __init__(self, in_channels: int, channels: int, stride: int, groups: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.GroupNorm(groups, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.GroupNorm(groups, channels)
        self.downsample: nn.Module | None = None
        if stride > 1 or in_channels != channels:
            pool = nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False) if stride > 1 else nn.Identity()
            self.downsample = nn.Sequential(
                pool, nn.Conv2d(in_channels, channels, 1, bias=False), nn.GroupNorm(groups, channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Compute ``(B, in_channels, h, w) -> (B, channels, h / stride, w / stride)``."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + shortcut)


class PlainResNet(nn.Module):
    """The first three stages of timm's ``resnet10t`` with GroupNorm; state dicts are interchangeable.

    Args:
        layers: Blocks of each stage; a fourth entry, which timm needs, is ignored.
        channels: Channels of each stage, likewise.
        stem_width: Half the stem's output channels.
        groups: Groups of every GroupNorm.
    """

    described = ("conv1", "layer1", "layer2", "layer3")

    def __init__(self, layers: list[int], channels: list[int], stem_width: int, groups: int) -> None:
        super().__init__()
        first = 3 * (stem_width // 4)
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, first, 3, 2, 1, bias=False), nn.GroupNorm(groups, first), nn.ReLU(),
            nn.Conv2d(first, stem_width, 3, 1, 1, bias=False), nn.GroupNorm(groups, stem_width), nn.ReLU(),
            nn.Conv2d(stem_width, 2 * stem_width, 3, 1, 1, bias=False),
        )  # fmt: skip
        self.bn1 = nn.GroupNorm(groups, 2 * stem_width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        width = 2 * stem_width
        for stage, (depth, out) in enumerate(zip(layers[:3], channels[:3], strict=True), start=1):
            blocks = [
                BasicBlock(width if i == 0 else out, out, 2 if stage > 1 and i == 0 else 1, groups)
                for i in range(depth)
            ]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            width = out

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Compute three maps at strides 4, 8 and 16 of pixels ``(B, 3, H, W)``."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(pixels))))
        maps = []
        for stage in (1, 2, 3):
            x = self.get_submodule(f"layer{stage}")(x)
            maps.append(x)
        return maps
