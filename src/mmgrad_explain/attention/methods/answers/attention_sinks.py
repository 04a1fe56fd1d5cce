"""Attention sinks: places that take attention from everywhere and have nothing to do with what is asked.

Transformers put attention that is not needed on a few tokens, often the first ones or those at an image's border, where
nothing is to be seen. Sources: Xiao et al., arXiv 2309.17453; Darcet et al., arXiv 2309.16588 (vision); Kang et al.,
arXiv 2503.03321 (models that answer in words).
"""

import torch
from torch import Tensor

_SHARE = 0.5  # of a map's mass
_EXCESS = 2.0  # times what even attention would have there


def border_share(maps: Tensor) -> Tensor:
    """Return the share of each map's mass that lies in its outermost rows and columns, (B,).

    Args:
        maps: (B, h, w), none of the values negative.
    """
    inner = maps[:, 1:-1, 1:-1].sum((1, 2))
    total = maps.sum((1, 2))
    return ((total - inner) / total.clamp(min=torch.finfo(maps.dtype).tiny)).clamp(0, 1)


def find_sinks(maps: Tensor) -> tuple[int, ...]:
    """Find the maps that are mostly attention sinks: more than half of their mass lies at the border.

    A border of few cells is meant: on grids that are mostly border, such as 4 x 4, no map is one.

    Args:
        maps: (B, h, w), none of the values negative.

    Returns:
        Their indices.
    """
    height, width = maps.shape[1:]
    even = 1 - max(height - 2, 0) * max(width - 2, 0) / (height * width)
    is_sink = border_share(maps) > max(_SHARE, min(_EXCESS * even, 1.0))
    return tuple(int(index) for index in is_sink.nonzero().flatten().tolist())
