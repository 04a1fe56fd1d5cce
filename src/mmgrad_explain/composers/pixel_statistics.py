"""Statistics of the pixels of images: edges at several scales, colour, light."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SCALES = 4
"""Number of scales; each is half as large as the one before."""
_SHARES = (0.03, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97)
_LEAST = 1e-4  # added before a logarithm


def pixel_statistics(pixels: Tensor) -> Tensor:
    """Compute statistics of images, ``(B, D)`` float32.

    Of brightness and of two colour differences: mean and deviation; at each scale, the size of the differences between
    neighbours across, down, diagonally and around, and how unevenly these sizes are distributed (in a photograph most
    are small and few are large). Then quantiles of edges, saturation and brightness, and correlations of edges between
    the three colours.

    Args:
        pixels: ``(B, 3, H, W)``, in any unit that is the same for the three colours; at least 32 x 32.
    """
    pixels = pixels.detach().float().cpu()
    red, green, blue = pixels.unbind(1)
    shown = torch.stack([(red + green + blue) / 3, (red - blue) / 2, (2 * green - red - blue) / 4], 1)
    found = [shown.mean((2, 3)), shown.std((2, 3))]
    scaled = shown
    for _ in range(SCALES):
        found += _edges(scaled)
        scaled = F.avg_pool2d(scaled, 2)
    across = (shown[:, 0, :, 1:] - shown[:, 0, :, :-1]).abs()
    found += [(_quantiles(across) + 10 * _LEAST).log(), _quantiles(pixels.amax(1) - pixels.amin(1))]
    found += [_quantiles(shown[:, 0]), _edge_correlations(pixels)]
    return torch.cat([one.flatten(1) for one in found], 1)


def _edges(shown: Tensor) -> list[Tensor]:
    """Measure how large differences are and how unevenly they are distributed, ``(B, 3)`` each."""
    across, down = shown[..., 1:] - shown[..., :-1], shown[..., 1:, :] - shown[..., :-1, :]
    inner = shown[..., 1:-1, 1:-1]
    around = 4 * inner - shown[..., :-2, 1:-1] - shown[..., 2:, 1:-1] - shown[..., 1:-1, :-2] - shown[..., 1:-1, 2:]
    diagonal = down[..., 1:] - down[..., :-1]
    found = []
    for one in (across, down, around):
        size = one.abs().flatten(2)
        mean, square = size.mean(2) + _LEAST, size.square().mean(2).sqrt() + _LEAST
        root = size.sqrt().mean(2).square() + _LEAST
        found += [mean.log(), (square / mean).log(), (root / mean).log()]
    return [*found, (diagonal.abs().mean((2, 3)) + _LEAST).log()]


def _quantiles(values: Tensor) -> Tensor:
    """Return the quantiles of ``(B, H, W)``: ``(B, 7)``."""
    return torch.quantile(values.flatten(1), torch.tensor(_SHARES), dim=1).T


def _edge_correlations(pixels: Tensor) -> Tensor:
    """Correlate the horizontal differences of the three colours, ``(B, 3)``."""
    across = (pixels[..., 1:] - pixels[..., :-1]).flatten(2)
    product = across @ across.transpose(1, 2)
    size = product.diagonal(dim1=1, dim2=2).clamp(min=_LEAST).sqrt()
    correlation = product / (size[:, :, None] * size[:, None])
    return torch.stack([correlation[:, 0, 1], correlation[:, 0, 2], correlation[:, 1, 2]], 1)
