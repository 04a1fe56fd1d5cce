"""Tests whether maps show what a model depends on: deletion and insertion, and randomized weights; for any model.

They need no annotation. That a map lies on an annotated object does not answer this question: a map that was trained
to lie on objects can fail these tests.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgrad_explain.errors import InputError, did_you_mean
from mmgrad_explain.metrics.float64 import to_float64

if TYPE_CHECKING:
    from collections.abc import Sequence

ImageScore = Callable[[Tensor, Tensor], Tensor]
"""``score(images (N, C, H, W), index (N,))``: one number an image, or ``(N, K)`` for K scores at once.

``index`` holds the sample of the batch that each image was made from, so that each is paired with its own text."""

FILLS = ("blur", "mean", "zero")
"""What deleted places can become, by name; :func:`deletion_insertion` explains them."""


# ------------------------------------------------------------------------------------------ deletion and insertion


@dataclass(frozen=True)
class Perturbation:
    """Deletion and insertion of ``B`` samples; with K scores every tensor has a last axis K.

    Attributes:
        deletion: Area under the score while places are deleted, the brightest first, ``(B,)``; low is good.
        insertion: Area under the score while places are put back, the brightest first, ``(B,)``; high is good.
        random_deletion: ``deletion`` of the map with its cells in random order, ``(B,)``.
        random_insertion: ``insertion`` of the map with its cells in random order, ``(B,)``.
    """

    deletion: Tensor
    insertion: Tensor
    random_deletion: Tensor
    random_insertion: Tensor

    @property
    def deletion_gain(self) -> Tensor:
        """How much faster the score falls than in random order, ``(B,)``; above 0 the map is informative."""
        return self.random_deletion - self.deletion

    @property
    def insertion_gain(self) -> Tensor:
        """How much faster the score recovers than in random order, ``(B,)``; above 0 the map is informative."""
        return self.insertion - self.random_insertion


def deletion_insertion(
    score: ImageScore,
    images: Tensor,
    maps: Tensor,
    *,
    fill: str | Tensor = "blur",
    steps: int = 12,
    draws: int = 1,
    batch: int = 64,
    seed: int = 0,
) -> Perturbation:
    """Compute the areas under the deletion and insertion curves, and those of the maps with their cells shuffled.

    Deletion replaces places of the image, the brightest first. Insertion starts from the replaced image and puts places
    back, the brightest first. The random order shuffles each map's cells before the map is resized to the image: the
    patches have the same size and values, in arbitrary places.

    Args:
        score: The score that the maps explain; areas are in its units.
        images: ``(B, C, H, W)``, as the model takes them.
        maps: ``(B, h, w)`` on any grid; resized bilinearly to ``(H, W)``. Equal values go in random order.
        fill: What replaces deleted places: ``"blur"`` (the image through a Gaussian of a tenth of its side), ``"mean"``
            (the image's mean colour), ``"zero"``, or images ``(B, C, H, W)``.
        steps: Steps from none to all of the image; the curve has one more point.
        draws: Random orders to average over.
        batch: Images that are scored together.
        seed: Seed of the random orders; the global generators are left alone.

    Returns:
        Areas by the trapezoidal rule over the share of the image.

    Raises:
        InputError: The shapes do not fit, ``fill`` is unknown, or ``steps`` or ``draws`` is below 1.

    Source: Petsiuk et al., RISE, arXiv 1806.07421, section 4.2.
    """
    if images.dim() != 4 or maps.dim() != 3 or len(images) != len(maps):
        shapes = f"{tuple(images.shape)} and {tuple(maps.shape)}"
        raise InputError(f"images and maps must be (B, C, H, W) and (B, h, w) of one batch, got {shapes}")
    if steps < 1 or draws < 1:
        raise InputError(f"steps and draws must be at least 1, got {steps} and {draws}")
    filled = fill_images(images, fill)
    generator = torch.Generator().manual_seed(seed)

    def areas(grids: Tensor) -> tuple[Tensor, Tensor]:
        rank = _ranks(grids, (images.shape[2], images.shape[3]), generator)
        deleted = _curve(score, images, filled, rank, steps, batch)
        inserted = _curve(score, filled, images, rank, steps, batch)
        return _area(deleted), _area(inserted)

    with torch.no_grad():
        deletion, insertion = areas(maps)
        chance = [areas(_shuffle_cells(maps, generator)) for _ in range(draws)]
    random = [torch.stack(values).mean(0) for values in zip(*chance, strict=True)]
    return Perturbation(deletion, insertion, random[0], random[1])


def fill_images(images: Tensor, fill: str | Tensor) -> Tensor:
    """Make what replaces deleted places, ``(B, C, H, W)``; see :func:`deletion_insertion`.

    Raises:
        InputError: ``fill`` is not a known name, or does not have the shape of the images.
    """
    if isinstance(fill, Tensor):
        if fill.shape != images.shape:
            raise InputError(f"fill must have the images' shape {tuple(images.shape)}, not {tuple(fill.shape)}")
        return fill
    if fill == "zero":
        return torch.zeros_like(images)
    if fill == "mean":
        return images.mean((2, 3), keepdim=True).expand_as(images)
    if fill == "blur":
        return _blur(images)
    raise InputError(f"fill: there is no {fill!r}; {did_you_mean(fill, FILLS)}Known: {', '.join(FILLS)}, or images")


def _blur(images: Tensor) -> Tensor:
    """Blur with a Gaussian of a tenth of the shorter side; edges are repeated."""
    channels = images.shape[1]
    sigma = 0.1 * min(images.shape[2:])
    reach = max(1, min(round(3 * sigma), min(images.shape[2:]) - 1))
    at = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(channels, 1, 1, -1)
    out = F.conv2d(F.pad(images, (reach, reach, 0, 0), mode="replicate"), kernel, groups=channels)
    return F.conv2d(F.pad(out, (0, 0, reach, reach), mode="replicate"), kernel.transpose(2, 3), groups=channels)


def _shuffle_cells(maps: Tensor, generator: torch.Generator) -> Tensor:
    """Shuffle the cells of each map."""
    order = torch.rand(maps.flatten(1).shape, generator=generator).argsort(1).to(maps.device)
    return maps.flatten(1).gather(1, order).view_as(maps)


def _ranks(maps: Tensor, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Rank every pixel from bright to dark, in [0, 1): ``(B, H, W)``; ties in random order."""
    values = F.interpolate(maps[:, None].float(), size=size, mode="bilinear")[:, 0].flatten(1)
    mixed = torch.rand(values.shape, generator=generator).argsort(1).to(values.device)
    order = mixed.gather(1, values.gather(1, mixed).argsort(dim=1, descending=True, stable=True))
    places = torch.arange(values.shape[1], device=values.device).expand_as(order)
    rank = torch.empty_like(order).scatter_(1, order, places)
    return (rank / values.shape[1]).view(len(maps), *size)


def _curve(score: ImageScore, start: Tensor, end: Tensor, rank: Tensor, steps: int, batch: int) -> Tensor:
    """Follow the score while ``end`` replaces ``start``, brightest first: ``(B, steps + 1[, K])`` float64."""
    count = len(start)
    shares = torch.linspace(0, 1, steps + 1, device=start.device)
    jobs = torch.cartesian_prod(torch.arange(count), torch.arange(steps + 1))
    values = []
    for part in torch.split(jobs.to(start.device), batch):
        sample, step = part[:, 0], part[:, 1]
        taken = rank[sample] < shares[step][:, None, None]
        values.append(to_float64(score(torch.where(taken[:, None], end[sample], start[sample]), sample)))
    flat = torch.cat(values)
    return flat.view(count, steps + 1, *flat.shape[1:])


def _area(curve: Tensor) -> Tensor:
    return torch.trapezoid(curve, dim=1) / (curve.shape[1] - 1)


# ---------------------------------------------------------------------------------------------- randomized weights


def parameter_randomization(
    model: nn.Module,
    explain: Callable[[nn.Module], Tensor],
    parts: Sequence[str] | None = None,
    *,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Measure how much of the maps remains when the model's weights are randomized; it should be little.

    In a copy of the model each parameter is replaced by normal noise with the parameter's mean and standard deviation,
    and the copy's maps are compared with the model's by rank correlation. The model itself and the global random state
    stay as they are.

    Args:
        model: The model.
        explain: Makes maps ``(B, h, w)`` with the model that it is given.
        parts: Dotted names of modules or parameters in the order in which they are randomized, each in addition to
            those before it (cascading); start at the output. None randomizes all parameters at once.
        seed: Seed of the noise.

    Returns:
        Name of the part (``"all"`` without parts) to the rank correlation of each sample's map, ``(B,)``.

    Raises:
        InputError: A part is not in the model or has no parameters.

    Source: Adebayo et al., Sanity Checks for Saliency Maps, arXiv 1810.03292, section 3.
    """
    groups = {"all": list(dict(model.named_parameters()))} if parts is None else _groups(model, parts)
    before = explain(model).detach()
    copied = copy.deepcopy(model)
    parameters = dict(copied.named_parameters())
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for part, names in groups.items():
        with torch.no_grad():
            for name in names:
                value = parameters[name]
                noise = torch.randn(value.shape, generator=generator).to(value)
                spread = value.std(correction=0) if value.numel() else 0.0
                value.copy_(value.mean() + spread * noise)
        found[part] = rank_correlation(before, explain(copied).detach())
    return found


def _groups(model: nn.Module, parts: Sequence[str]) -> dict[str, list[str]]:
    known = list(dict(model.named_parameters()))
    groups = {}
    for part in parts:
        names = [name for name in known if name == part or name.startswith(f"{part}.")]
        if not names:
            tops = sorted({name.partition(".")[0] for name in known})
            raise InputError(f"parts: {part!r} has no parameters in this model; its parts are {', '.join(tops)}")
        groups[part] = names
    return groups


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Compute Spearman's rank correlation of two maps; ties share their mean rank, and a flat map gives 0.

    Args:
        first: ``(B, h, w)``.
        second: ``(B, h, w)``.

    Returns:
        ``(B,)`` float in [-1, 1].

    Raises:
        ValueError: The shapes differ.
    """
    if first.shape != second.shape or first.dim() != 3:
        raise ValueError(f"two maps must both be (B, h, w), got {tuple(first.shape)} and {tuple(second.shape)}")
    ranks = [torch.stack([_mean_ranks(row) for row in maps.flatten(1)]) for maps in (first, second)]
    a, b = (rank - rank.mean(1, keepdim=True) for rank in ranks)
    scale = (a.square().sum(1) * b.square().sum(1)).sqrt()
    return torch.where(scale > 0, (a * b).sum(1) / scale.clamp(min=torch.finfo(scale.dtype).tiny), 0.0).float()


def _mean_ranks(values: Tensor) -> Tensor:
    _, inverse, counts = torch.unique(values, return_inverse=True, return_counts=True)
    mean_ranks = to_float64(counts.cumsum(0) - (counts - 1) / 2)
    return mean_ranks[inverse.to(mean_ranks.device)]
