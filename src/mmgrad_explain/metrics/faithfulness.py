"""Do maps say what a model depends on? Deletion and insertion, and randomized weights; for any model.

Where a map lies on an annotated object says nothing about that: the tests here need no annotation, and a map that was
taught to lie on objects can fail them.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgrad_explain.errors import InputError, did_you_mean
from mmgrad_explain.metrics.float64 import exact

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PictureScore: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"
"""``score(pictures (N, C, H, W), index (N,))``: one number a picture, or ``(N, K)`` for K scores at once.

``index`` says which sample of the batch a picture was made from, so that each meets its own text."""

FILLS = ("blur", "mean", "zero")
"""What deleted places can become, by name; :func:`deletion_insertion` explains them."""


# ------------------------------------------------------------------------------------------ deletion and insertion


@dataclass(frozen=True)
class Perturbation:
    """Deletion and insertion of ``B`` samples; with K scores every tensor has a last axis K.

    Attributes:
        deletion: Area under the score as the brightest places go first, ``(B,)``; low is good.
        insertion: Area under the score as the brightest places come first, ``(B,)``; high is good.
        random_deletion: The same for the map's own cells in random order, ``(B,)``.
        random_insertion: Likewise.
    """

    deletion: Tensor
    insertion: Tensor
    random_deletion: Tensor
    random_insertion: Tensor

    @property
    def deletion_gain(self) -> Tensor:
        """How much faster than by chance the score falls; above 0 the map knows something."""
        return self.random_deletion - self.deletion

    @property
    def insertion_gain(self) -> Tensor:
        """How much faster than by chance the score comes back; above 0 the map knows something."""
        return self.insertion - self.random_insertion


def deletion_insertion(
    score: PictureScore,
    pictures: Tensor,
    maps: Tensor,
    *,
    fill: str | Tensor = "blur",
    steps: int = 12,
    draws: int = 1,
    batch: int = 64,
    seed: int = 0,
) -> Perturbation:
    """Areas under the deletion and the insertion curve, and of the same maps with their cells shuffled.

    Deletion replaces the brightest places of the picture first, insertion starts from the replaced picture and puts the
    brightest places back first. The random order shuffles each map's own cells before the map is brought to the
    picture's size: patches of the same size and values, in places that mean nothing.

    Args:
        score: What the maps are to be faithful to; areas are in its units.
        pictures: ``(B, C, H, W)``, as the model takes them.
        maps: ``(B, h, w)`` on any grid; brought to ``(H, W)`` bilinearly. Equal values go in random order.
        fill: What deleted places become: ``"blur"`` (the picture through a Gaussian of a tenth of its side), ``"mean"``
            (the picture's mean colour), ``"zero"``, or pictures ``(B, C, H, W)``.
        steps: Steps from none to all of the picture; the curve has one more point.
        draws: Random orders to average over.
        batch: Pictures that are scored together.
        seed: Of the random orders; the global generators are left alone.

    Returns:
        Areas by the trapezoidal rule over the share of the picture.

    Raises:
        InputError: If the shapes do not fit, ``fill`` is unknown, or ``steps`` or ``draws`` is below 1.

    Source: Petsiuk et al., RISE, arXiv 1806.07421, section 4.2.
    """
    if pictures.dim() != 4 or maps.dim() != 3 or len(pictures) != len(maps):
        shapes = f"{tuple(pictures.shape)} and {tuple(maps.shape)}"
        raise InputError(f"pictures and maps must be (B, C, H, W) and (B, h, w) of one batch, got {shapes}")
    if steps < 1 or draws < 1:
        raise InputError(f"steps and draws must be at least 1, got {steps} and {draws}")
    filled = fill_pictures(pictures, fill)
    generator = torch.Generator().manual_seed(seed)

    def areas(grids: Tensor) -> tuple[Tensor, Tensor]:
        rank = _ranks(grids, (pictures.shape[2], pictures.shape[3]), generator)
        gone = _curve(score, pictures, filled, rank, steps, batch)
        back = _curve(score, filled, pictures, rank, steps, batch)
        return _area(gone), _area(back)

    with torch.no_grad():
        deletion, insertion = areas(maps)
        chance = [areas(_shuffled(maps, generator)) for _ in range(draws)]
    random = [torch.stack(values).mean(0) for values in zip(*chance, strict=True)]
    return Perturbation(deletion, insertion, random[0], random[1])


def fill_pictures(pictures: Tensor, fill: str | Tensor) -> Tensor:
    """What deleted places become, ``(B, C, H, W)``; see :func:`deletion_insertion`.

    Raises:
        InputError: If ``fill`` is no known name, or has another shape than the pictures.
    """
    if isinstance(fill, Tensor):
        if fill.shape != pictures.shape:
            raise InputError(f"fill must have the pictures' shape {tuple(pictures.shape)}, not {tuple(fill.shape)}")
        return fill
    if fill == "zero":
        return torch.zeros_like(pictures)
    if fill == "mean":
        return pictures.mean((2, 3), keepdim=True).expand_as(pictures)
    if fill == "blur":
        return _blur(pictures)
    raise InputError(f"fill: there is no {fill!r}; {did_you_mean(fill, FILLS)}Known: {', '.join(FILLS)}, or pictures")


def _blur(pictures: Tensor) -> Tensor:
    """A Gaussian of a tenth of the shorter side; edges repeat."""
    channels = pictures.shape[1]
    sigma = 0.1 * min(pictures.shape[2:])
    reach = max(1, min(round(3 * sigma), min(pictures.shape[2:]) - 1))
    at = torch.arange(-reach, reach + 1, device=pictures.device, dtype=pictures.dtype)
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(channels, 1, 1, -1)
    out = F.conv2d(F.pad(pictures, (reach, reach, 0, 0), mode="replicate"), kernel, groups=channels)
    return F.conv2d(F.pad(out, (0, 0, reach, reach), mode="replicate"), kernel.transpose(2, 3), groups=channels)


def _shuffled(maps: Tensor, generator: torch.Generator) -> Tensor:
    """Each map's cells in a random order."""
    order = torch.rand(maps.flatten(1).shape, generator=generator).argsort(1).to(maps.device)
    return maps.flatten(1).gather(1, order).view_as(maps)


def _ranks(maps: Tensor, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Place of every pixel in the order from bright to dark, in [0, 1): ``(B, H, W)``; ties in random order."""
    values = F.interpolate(maps[:, None].float(), size=size, mode="bilinear")[:, 0].flatten(1)
    mixed = torch.rand(values.shape, generator=generator).argsort(1).to(values.device)
    order = mixed.gather(1, values.gather(1, mixed).argsort(dim=1, descending=True, stable=True))
    places = torch.arange(values.shape[1], device=values.device).expand_as(order)
    rank = torch.empty_like(order).scatter_(1, order, places)
    return (rank / values.shape[1]).view(len(maps), *size)


def _curve(score: PictureScore, start: Tensor, end: Tensor, rank: Tensor, steps: int, batch: int) -> Tensor:
    """The score while ``end`` takes the place of ``start``, brightest first: ``(B, steps + 1[, K])`` float64."""
    count = len(start)
    shares = torch.linspace(0, 1, steps + 1, device=start.device)
    jobs = torch.cartesian_prod(torch.arange(count), torch.arange(steps + 1))
    values = []
    for part in torch.split(jobs.to(start.device), batch):
        sample, step = part[:, 0], part[:, 1]
        taken = rank[sample] < shares[step][:, None, None]
        values.append(exact(score(torch.where(taken[:, None], end[sample], start[sample]), sample)))
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
    """How much of the maps survives when what the model has learned is destroyed; little should.

    A copy's parameters are replaced by normal noise of each one's own mean and standard deviation, and the maps of the
    copy are compared with the model's by rank correlation. The model itself and the global random state stay as they
    are.

    Args:
        model: The model.
        explain: Makes maps ``(B, h, w)`` with whatever model it is handed.
        parts: Dotted names of modules or parameters in the order in which they are randomized, each on top of those
            before it (cascading); start at the output. None randomizes all parameters at once.
        seed: Of the noise.

    Returns:
        Name of the part (``"all"`` without parts) to the rank correlation of each sample's map, ``(B,)``.

    Raises:
        InputError: If a part is not in the model or has no parameters.

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
    """Spearman's rank correlation of two maps, ties sharing their mean rank; 0 where one of them is flat.

    Args:
        first: ``(B, h, w)``.
        second: ``(B, h, w)``.

    Returns:
        ``(B,)`` float in [-1, 1].

    Raises:
        ValueError: If the shapes differ.
    """
    if first.shape != second.shape or first.dim() != 3:
        raise ValueError(f"two maps must both be (B, h, w), got {tuple(first.shape)} and {tuple(second.shape)}")
    ranks = [torch.stack([_mean_ranks(row) for row in maps.flatten(1)]) for maps in (first, second)]
    a, b = (rank - rank.mean(1, keepdim=True) for rank in ranks)
    scale = (a.square().sum(1) * b.square().sum(1)).sqrt()
    return torch.where(scale > 0, (a * b).sum(1) / scale.clamp(min=torch.finfo(scale.dtype).tiny), 0.0).float()


def _mean_ranks(values: Tensor) -> Tensor:
    _, inverse, counts = torch.unique(values, return_inverse=True, return_counts=True)
    mean_ranks = exact(counts.cumsum(0) - (counts - 1) / 2)
    return mean_ranks[inverse.to(mean_ranks.device)]
