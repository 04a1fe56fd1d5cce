"""A head of semantic segmentation on the trunk's last map, whose classes the neck takes as a further map.

It is that of DeepLab v3 on MobileNetV2, without branches of larger reach (Chen et al., arXiv 1706.05587; Sandler et
al., arXiv 1801.04381, section 6.3). A trained head brings all that a trunk knows of its classes to the features that
are explained, those included that the training at hand shows rarely.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_WIDTH = 256


class Segmenter(nn.Module):
    """Tells the class of every cell of a map.

    Args:
        channels: Of the map.
        classes: Number of classes, background included.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.aspp0 = nn.Conv2d(channels, _WIDTH, 1)
        self.image_pooling = nn.Conv2d(channels, _WIDTH, 1)
        self.concat_projection = nn.Conv2d(2 * _WIDTH, _WIDTH, 1)
        self.logits = nn.Conv2d(_WIDTH, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits of the classes, ``(B, C, h, w) -> (B, classes, h, w)``."""
        whole = F.relu(self.image_pooling(x.mean((2, 3), keepdim=True))).expand(-1, -1, *x.shape[2:])
        each = F.relu(self.aspp0(x))
        return self.logits(F.relu(self.concat_projection(torch.cat([whole, each], 1))))  # type: ignore[no-any-return]
