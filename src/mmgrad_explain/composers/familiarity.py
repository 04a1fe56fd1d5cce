"""Find out whether an image looks like a model's training images, by features of several depths and by its pixels.

An image is described by the mean and the standard deviation of every channel of several layers, and by statistics of
the pixels that go into the first layer (:mod:`~mmgrad_explain.composers.pixel_statistics`). For each kind of
training image the model folder may hold a Gaussian of these descriptions, over its main directions, and a plane between
that kind and images that the model does not know. An image is strange if, for every kind, it is farther out by one of
the two than all but a small share of that kind's held-out images.

Sources: Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples, arXiv 1807.03888, with
channel statistics instead of class means; Hendrycks et al., Deep Anomaly Detection with Outlier Exposure, arXiv
1812.04606, for the use of other images; Fisher's linear discriminant, its covariance shrunk towards the identity.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmgrad_explain.composers.pixel_statistics import pixel_statistics
from mmgrad_explain.errors import InputError
from mmgrad_explain.notes import Note

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FILE = "familiarity.safetensors"
SHRINKAGE = 0.05
"""Share of the identity in the correlation of descriptions, so that few images do not make it singular."""
DIRECTIONS = 96
"""Main directions that a Gaussian keeps at most; all other directions share one variance."""
FARTHEST = 8.0
"""Standard deviations at which numbers are cut for the plane."""
_TENSORS = ("mean", "scale", "whiten", "plane")


@dataclass(frozen=True)
class Kind:
    """One kind of training image, by its descriptions of length D.

    Attributes:
        mean: ``(D,)``.
        scale: ``(D,)``, standard deviations.
        whiten: ``(k, D)``; descriptions of this kind have unit covariance after it.
        beside: Standard deviation of each number outside the directions of ``whiten``.
        limit: Squared distance, divided by D, that the stated share of held-out images exceeds.
        plane: ``(D,)``, direction from this kind to images that the model does not know; zeros where none were given.
        edge: Distance in that direction that the stated share of held-out images exceeds.
    """

    mean: Tensor
    scale: Tensor
    whiten: Tensor
    beside: float
    limit: float
    plane: Tensor
    edge: float

    def distance(self, described: Tensor) -> Tensor:
        """Return squared Mahalanobis distances of descriptions ``(B, D)``, over D: ``(B,)``, about 1 in the kind."""
        standard = (described - self.mean) / self.scale
        main = standard @ self.whiten.T
        directions = self.whiten / self.whiten.norm(dim=1, keepdim=True).clamp(min=1e-12)
        rest = standard.square().sum(1) - (standard @ directions.T).square().sum(1)
        return (main.square().sum(1) + rest.clamp(min=0) / self.beside**2) / standard.shape[1]  # type: ignore[no-any-return]

    def towards_others(self, described: Tensor) -> Tensor:
        """Return how far descriptions ``(B, D)`` lie towards images that the model does not know, ``(B,)``."""
        return ((described - self.mean) / self.scale).clamp(-FARTHEST, FARTHEST) @ self.plane

    def strangeness(self, described: Tensor) -> Tensor:
        """Return the larger of both distances, each divided by its limit: ``(B,)``, above 1 is strange."""
        return torch.maximum(self.distance(described) / self.limit, self.towards_others(described) / self.edge)


@dataclass(frozen=True)
class Familiarity:
    """Statistics of a model's training images.

    Attributes:
        kinds: Name to kind of image.
        layers: Dotted names of the layers that are described.
        trained_on: The kinds in words, for the note.
        alternative: What to do with other images, for the note.
        rate: Share of each kind's held-out images that are called strange.
        breadth: Share of images of any kind that look familiar, as far as it was measured; 1 if it was not.
    """

    kinds: dict[str, Kind]
    layers: tuple[str, ...]
    trained_on: str
    alternative: str
    rate: float = 0.01
    breadth: float = 1.0

    def strangeness(self, described: Tensor) -> Tensor:
        """Return how far images are from the nearest kind, divided by its limit: above 1 is strange.

        Args:
            described: From :func:`describe`, ``(B, D)``.

        Returns:
            ``(B,)`` float.
        """
        return torch.stack([kind.strangeness(described) for kind in self.kinds.values()]).amin(0)

    def note(self, described: Tensor) -> Note | None:
        """Return the note on the strange images; None if there are none."""
        strange = (self.strangeness(described) > 1).tolist()
        if not any(strange):
            return None
        text = (
            f"the image is unlike what the model was trained on ({self.trained_on}): do not trust the map; "
            f"{self.alternative}"
        )
        which = tuple(index for index, is_strange in enumerate(strange) if is_strange)
        return Note("unfamiliar-image", text, None if all(strange) else which)

    def save(self, folder: Path) -> Path:
        """Write the file into a model folder, whole or not at all; an older one is replaced."""
        from safetensors.torch import save

        from mmgrad_explain._system.files import atomic_file

        tensors = {}
        for name, kind in self.kinds.items():
            for part in _TENSORS:
                tensors[f"{name}.{part}"] = getattr(kind, part).half().contiguous()
            tensors[f"{name}.numbers"] = torch.tensor([kind.beside, kind.limit, kind.edge])
        words = {"trained_on": self.trained_on, "alternative": self.alternative, "rate": str(self.rate)}
        words |= {"layers": " ".join(self.layers), "breadth": str(self.breadth)}
        with atomic_file(folder / FILE, overwrite=True) as stream:
            stream.write(save(tensors, metadata=words))
        return folder / FILE

    @classmethod
    def load(cls, folder: Path) -> Familiarity | None:
        """Read the file of a model folder; None where there is none.

        Raises:
            InputError: The file is damaged.
        """
        from safetensors import SafetensorError, safe_open

        path = folder / FILE
        if not path.is_file():
            return None
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
                words = file.metadata()
            kinds = {}
            for name in sorted({key.rpartition(".")[0] for key in tensors}):
                mean, scale, whiten, plane = (tensors[f"{name}.{part}"].float() for part in _TENSORS)
                beside, limit, edge = tensors[f"{name}.numbers"].tolist()
                kinds[name] = Kind(mean, scale, whiten, beside, limit, plane, edge)
            layers = tuple(words["layers"].split())
            breadth = float(words.get("breadth", "1"))
            return cls(kinds, layers, words["trained_on"], words["alternative"], float(words["rate"]), breadth)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is damaged ({error}): remove it, or copy the model folder again") from error


def describe(seen: Mapping[str, Tensor]) -> Tensor:
    """Describe images by the outputs that ``familiar_images.record_layers`` recorded: ``(B, D)`` float32.

    Args:
        seen: The pixels, ``(B, 3, H, W)``, then each layer's output, ``(B, K, h, w)``.
    """
    pixels, *grids = seen.values()
    flat = [grid.detach().float().cpu().flatten(2) for grid in grids]
    return torch.cat(
        [pixel_statistics(pixels), *(part for one in flat for part in (one.mean(2), one.std(2, correction=0)))], 1
    )


def fit_familiarity(
    described: Mapping[str, tuple[Tensor, Tensor]],
    layers: Sequence[str],
    trained_on: str,
    alternative: str,
    *,
    unknown: Tensor | None = None,
    rate: float = 0.01,
) -> Familiarity:
    """Fit the statistics of training images.

    Args:
        described: Name of each kind of image to descriptions ``(n, D)`` to fit and others ``(m, D)`` to set the
            limits by, from images that were not used for the fit.
        layers: The layers that were described.
        trained_on: The kinds in words; a note gives them in brackets.
        alternative: What to do with other images, for example ``"take a model that knows them"``.
        unknown: Descriptions ``(n, D)`` of images that the model does not know.
        rate: Share of the others that may be called strange.

    Raises:
        InputError: There are no kinds, or too few images to set a limit by.
    """
    if not described:
        raise InputError("described: no kind of image is given")
    kinds = {}
    for name, (seen, others) in described.items():
        if len(seen) < 2 or len(others) < 1 / rate:
            need = f"at least 2 and {round(1 / rate)}"
            raise InputError(f"{name}: {len(seen)} and {len(others)} images are too few for a rate of {rate}: {need}")
        kinds[name] = _fit_kind(seen.double(), others.double(), None if unknown is None else unknown.double(), rate)
    return Familiarity(kinds, tuple(layers), trained_on, alternative, rate)


def _fit_kind(seen: Tensor, others: Tensor, unknown: Tensor | None, rate: float) -> Kind:
    mean, scale = seen.mean(0), seen.std(0).clamp(min=1e-4)
    standard = (seen - mean) / scale
    values, vectors = torch.linalg.eigh(_shrunk(standard.T @ standard / (len(seen) - 1)))
    count = min(DIRECTIONS, len(values))
    beside = float(values[: len(values) - count].mean().sqrt()) if count < len(values) else 1.0
    whiten = (vectors[:, len(values) - count :] / values[len(values) - count :].sqrt()).T
    plane = torch.zeros_like(mean) if unknown is None else _plane(standard, (unknown - mean) / scale)
    parts = [one.half().float() for one in (mean, scale, whiten, plane)]  # as they are stored
    kind = Kind(parts[0], parts[1], parts[2], beside, 1.0, parts[3], 1.0)
    limit = float(torch.quantile(kind.distance(others.float()), 1 - rate / 2))
    edge = 1.0 if unknown is None else float(torch.quantile(kind.towards_others(others.float()), 1 - rate / 2))
    return replace(kind, limit=limit, edge=max(edge, 1e-6))


def _plane(own: Tensor, unknown: Tensor) -> Tensor:
    """Return the direction from a kind's standardised descriptions, of mean 0, to those of unknown images."""
    first, second = own.clamp(-FARTHEST, FARTHEST), unknown.clamp(-FARTHEST, FARTHEST)
    within = _shrunk((torch.cov(first.T) + torch.cov(second.T)) / 2)
    direction = torch.linalg.solve(within, second.mean(0) - first.mean(0))
    return direction / (first @ direction).std()  # type: ignore[no-any-return]


def _shrunk(covariance: Tensor) -> Tensor:
    size = covariance.diagonal().mean()
    return (1 - SHRINKAGE) * covariance + SHRINKAGE * size * torch.eye(len(covariance), dtype=covariance.dtype)


def area_under_curve(familiar: Sequence[float] | Tensor, strange: Sequence[float] | Tensor) -> float:
    """Return the chance that a strange image is called stranger than a familiar one; ties count half."""
    first, second = (torch.as_tensor(values, dtype=torch.float64) for values in (familiar, strange))
    larger = (second[:, None] > first[None]).double() + 0.5 * (second[:, None] == first[None]).double()
    return float(larger.mean())
