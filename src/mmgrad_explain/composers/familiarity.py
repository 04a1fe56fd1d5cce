"""Whether a picture looks like what a model was trained on, told by the features that are explained.

A picture's feature grid is described by the mean and the standard deviation of every channel. For each kind of training
picture the model folder may hold a Gaussian of these descriptions; a picture is strange where it is farther from all of
them (Mahalanobis) than all but a small share of that kind's own held-out pictures.

Source: Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples, arXiv 1807.03888, with channel
statistics instead of class means.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgrad_explain.errors import InputError
from mmgrad_explain.notes import Note

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mmgrad_explain.composers.base import Composer

FILE = "familiarity.safetensors"
SHRINKAGE = 0.05
"""Share of the identity in the correlation of descriptions, so that few pictures do not make it singular."""


@dataclass(frozen=True)
class Kind:
    """One kind of training picture, by its descriptions of length D.

    Attributes:
        mean: ``(D,)``.
        scale: ``(D,)``, standard deviations.
        whiten: ``(D, D)``; descriptions of this kind have unit covariance after it.
        limit: Squared distance, over D, that the stated share of held-out pictures is beyond.
    """

    mean: Tensor
    scale: Tensor
    whiten: Tensor
    limit: float

    def distance(self, described: Tensor) -> Tensor:
        """Squared Mahalanobis distance over D of descriptions ``(B, D)``: ``(B,)``, about 1 for this kind."""
        return (((described - self.mean) / self.scale) @ self.whiten.T).square().mean(1)


@dataclass(frozen=True)
class Familiarity:
    """What a model's training pictures look like to it.

    Attributes:
        kinds: Name to kind of picture.
        trained_on: These in words, as the note says it.
        alternative: What to do with other pictures, as the note says it.
        rate: Share of each kind's own held-out pictures that are called strange.
    """

    kinds: dict[str, Kind]
    trained_on: str
    alternative: str
    rate: float = 0.01

    def strangeness(self, grids: Tensor) -> Tensor:
        """How far pictures are from the nearest kind, by its limit: above 1 is strange.

        Args:
            grids: What the explained layer gave, ``(B, K, h, w)`` or tokens ``(B, N, K)``.

        Returns:
            ``(B,)`` float.
        """
        return self.of_descriptions(describe(grids))

    def of_descriptions(self, described: Tensor) -> Tensor:
        """:meth:`strangeness` of what :func:`describe` gave, ``(B, D)``."""
        return torch.stack([kind.distance(described) / kind.limit for kind in self.kinds.values()]).amin(0)

    def note(self, grids: Tensor) -> Note | None:
        """What the user should know of the pictures that are strange; None where none is."""
        strange = (self.strangeness(grids) > 1).tolist()
        if not any(strange):
            return None
        text = (
            f"the picture is unlike what the model was trained on ({self.trained_on}): do not trust the map; "
            f"{self.alternative}"
        )
        which = tuple(index for index, one in enumerate(strange) if one)
        return Note("unfamiliar-picture", text, None if all(strange) else which)

    def save(self, folder: Path) -> Path:
        """Write the file into a model folder, whole or not at all; one that is there is replaced."""
        from safetensors.torch import save

        from mmgrad_explain.writing import atomic_file

        tensors = {}
        for name, kind in self.kinds.items():
            for part in ("mean", "scale", "whiten"):
                tensors[f"{name}.{part}"] = getattr(kind, part).float().contiguous()
            tensors[f"{name}.limit"] = torch.tensor([kind.limit])
        words = {"trained_on": self.trained_on, "alternative": self.alternative, "rate": str(self.rate)}
        with atomic_file(folder / FILE, overwrite=True) as stream:
            stream.write(save(tensors, metadata=words))
        return folder / FILE

    @classmethod
    def load(cls, folder: Path) -> Familiarity | None:
        """Read the file of a model folder; None where there is none.

        Raises:
            InputError: If the file is damaged.
        """
        from safetensors import SafetensorError, safe_open

        path = folder / FILE
        if not path.is_file():
            return None
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
                words = file.metadata()
            kinds = {
                name: Kind(
                    tensors[f"{name}.mean"],
                    tensors[f"{name}.scale"],
                    tensors[f"{name}.whiten"],
                    float(tensors[f"{name}.limit"]),
                )
                for name in sorted({key.rpartition(".")[0] for key in tensors})
            }
            return cls(kinds, words["trained_on"], words["alternative"], float(words["rate"]))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is damaged ({error}): remove it, or copy the model folder again") from error


def describe(grids: Tensor) -> Tensor:
    """Mean and standard deviation of every channel over the places, ``(B, 2 K)`` float32.

    Args:
        grids: ``(B, K, h, w)``, or tokens ``(B, N, K)``.
    """
    flat = grids.detach().float().cpu()
    flat = flat.flatten(2) if flat.dim() == 4 else flat.transpose(1, 2)
    return torch.cat([flat.mean(2), flat.std(2, correction=0)], 1)


def fit(
    described: Mapping[str, tuple[Tensor, Tensor]], trained_on: str, alternative: str, *, rate: float = 0.01
) -> Familiarity:
    """Learn what training pictures look like.

    Args:
        described: Name of each kind of picture to descriptions ``(n, D)`` to fit and others ``(m, D)`` to set the limit
            by, from pictures that were not used for the fit.
        trained_on: The kinds in words, as a note can say it in brackets.
        alternative: What to do with other pictures, for example ``"take a model that knows them"``.
        rate: Share of the others that may be called strange.

    Raises:
        InputError: If there are no kinds, or too few pictures to set a limit by.
    """
    if not described:
        raise InputError("described: no kind of picture is given")
    kinds = {}
    for name, (seen, others) in described.items():
        if len(seen) < 2 or len(others) < 1 / rate:
            need = f"at least 2 and {round(1 / rate)}"
            raise InputError(f"{name}: {len(seen)} and {len(others)} pictures are too few for a rate of {rate}: {need}")
        exact = seen.double()
        mean, scale = exact.mean(0), exact.std(0).clamp(min=1e-6)
        standard = (exact - mean) / scale
        correlation = standard.T @ standard / (len(seen) - 1)
        correlation = (1 - SHRINKAGE) * correlation + SHRINKAGE * torch.eye(len(mean), dtype=exact.dtype)
        values, vectors = torch.linalg.eigh(correlation)
        whiten = (vectors / values.sqrt()).T
        kind = Kind(mean.float(), scale.float(), whiten.float(), 1.0)
        limit = float(torch.quantile(kind.distance(others.float()), 1 - rate))
        kinds[name] = Kind(kind.mean, kind.scale, kind.whiten, limit)
    return Familiarity(kinds, trained_on, alternative, rate)


@contextmanager
def grids_seen(composer: Composer) -> Iterator[list[Tensor]]:
    """Keep what the composer's explained layer gives inside the block, one tensor a call, without another forward.

    Args:
        composer: The model; one without a ``target_layer`` is left alone.
    """
    kept: list[Tensor] = []

    def keep(_module: Any, _inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() in (3, 4):
            kept.append(output.detach())

    if composer.target_layer is None:
        yield kept
        return
    handle = composer.get_submodule(composer.target_layer).register_forward_hook(keep)
    try:
        yield kept
    finally:
        handle.remove()


def unfamiliar(composer: Composer, grids: Sequence[Tensor]) -> Note | None:
    """The note for what :func:`grids_seen` kept: of the first call, which is the references'.

    Args:
        composer: The model, with its ``familiarity`` if it has one.
        grids: Of each call.

    Returns:
        None where nothing is strange or nothing is known.
    """
    familiarity: Familiarity | None = getattr(composer, "familiarity", None)
    return None if familiarity is None or not grids else familiarity.note(grids[0])


def area_under_curve(familiar: Sequence[float] | Tensor, strange: Sequence[float] | Tensor) -> float:
    """Chance that a strange picture is called stranger than a familiar one; ties count half."""
    first, second = (torch.as_tensor(values, dtype=torch.float64) for values in (familiar, strange))
    larger = (second[:, None] > first[None]).double() + 0.5 * (second[:, None] == first[None]).double()
    return float(larger.mean())
