"""Maps of images whose image tower is frozen, from matrices that are kept beside their features.

See :mod:`~mmgrad_explain.attention.prepared_maps` for the matrices. They are kept in half precision, as shares of the
largest number of each image, unless everything is computed in float32.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgrad_explain.attention.mmgrad import MultiModalGradAttention
from mmgrad_explain.attention.prepared_maps import attend_prepared, prepare_maps
from mmgrad_explain.training.tensor_store import TensorStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mmgrad_explain.attention.methods.base import Method
    from mmgrad_explain.composers.base import Composer

_VERSION = 1
"""Raised when what is kept changes."""
CHUNK = 32
"""Images whose maps are prepared together."""


class MapStore:
    """Prepares matrices of images and keeps them.

    Args:
        composer: Whose maps.
        folder: Of the features of the same frozen weights.
        methods: Of the maps.
        start: From pixels to what the frozen part that holds the explained layer takes, and that part.
        precision: Of the training.
    """

    def __init__(
        self,
        composer: Composer,
        folder: Path,
        methods: Sequence[Method],
        start: Callable[[Tensor], tuple[Any, Callable[[Any], Any]]],
        precision: str,
    ) -> None:
        self._composer = composer
        self.methods = list(methods)
        self._start = start
        self._exact = precision == "float32"
        about = [_VERSION, composer.target_layer, [method.name for method in methods]]
        name = hashlib.blake2b(repr(about).encode(), digest_size=8).hexdigest()
        self._store = TensorStore(folder / f"maps-{name}")

    def read(self, keys: Sequence[str], pixels: Callable[[list[int]], Tensor], device: torch.device) -> Tensor:
        """Read the matrices of images, ``(B, W, h, w, D)``, and prepare those that are not there.

        Args:
            keys: Names of the images.
            pixels: From the places of some of the keys to the images.
            device: Of the result.
        """
        largest, shares = self._store.read(keys, lambda missing: self.prepare(pixels(missing)), device)
        return shares.float() * largest

    def prepare(self, pixels: Tensor) -> list[Tensor]:
        """Prepare maps: the largest number of each image, and all numbers as shares of it.

        Raises:
            InputError: Maps of a method are not linear in the gradient.
        """
        parts = [self._prepare_some(some) for some in torch.split(pixels, CHUNK)]
        operators = torch.cat(parts)
        largest = operators.abs().amax((1, 2, 3, 4), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
        shares = operators / largest
        return [largest, shares if self._exact else shares.half()]

    def _prepare_some(self, pixels: Tensor) -> Tensor:
        start, encode = self._start(pixels)
        with torch.enable_grad(), torch.autocast(pixels.device.type, enabled=False):
            return prepare_maps(self._mmgrad, start, encode, method=self.methods).operators

    @cached_property
    def _mmgrad(self) -> MultiModalGradAttention:
        return MultiModalGradAttention(self._composer)


@dataclass(frozen=True)
class KeptMaps:
    """What maps of images are made of.

    Attributes:
        store: Of the matrices.
        keys: Names of the images of a batch.
        pixels: These images, ``(B, 3, H, W)``.
        rows: Which of them.
    """

    store: MapStore
    keys: list[str]
    pixels: Tensor
    rows: list[int]

    def take(self, rows: Tensor) -> KeptMaps:
        """Return the same for some of the images."""
        return replace(self, rows=[self.rows[row] for row in rows.tolist()])

    def attend(self, score: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Make the signed maps of a score ``(B,)``, ``(W, B, h, w)``, differentiable.

        Args:
            score: Of these images.
            features: That it was computed from, with ``requires_grad``: embeddings ``(B, D)`` and, for some models,
                patches ``(B, K, h, w)``.
        """
        embeddings, *patches = features
        operators = self.store.read(
            [self.keys[row] for row in self.rows],
            lambda places: self.pixels[[self.rows[place] for place in places]],
            score.device,
        )
        return attend_prepared(
            score, embeddings, operators, patches=patches[0] if patches else None, method=self.store.methods,
            create_graph=True, relu=False,
        )  # fmt: skip
