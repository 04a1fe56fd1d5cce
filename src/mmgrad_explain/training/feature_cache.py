"""Features of a frozen image encoder, computed once and kept on disk.

An image is known by its pixels as the model reads them, so that crops and mirrored images are entries of their own, and
by the frozen weights and the precision. What is read back is what was computed, bit for bit.

Where all of the way from the explained layer to the embedding is frozen, maps are kept, too: as the matrices of
:mod:`~mmgrad_explain.attention.prepared_maps`, from which a step makes them by one product (:mod:`.kept_maps`).
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mmgrad_explain._system.user_files import reason_of
from mmgrad_explain._system.weight_hash import update_by_weights
from mmgrad_explain.attention.methods.named import ensure_method
from mmgrad_explain.composers.model_capabilities import capabilities
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.kept_maps import KeptMaps, MapStore
from mmgrad_explain.training.tensor_store import TensorStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mmgrad_explain.attention.methods.base import Method
    from mmgrad_explain.composers.base import Composer

KeptCall = tuple[KeptMaps, list[Tensor]]
"""What makes maps of the images of one call of the encoder, and the features that it gave, with ``requires_grad``."""
_CLOSE = 1e-3


class FeatureCache:
    """Stands for the ``encode_image`` of a composer whose image encoder is frozen.

    Several processes may share a folder. An image's features are its embedding, if the composer composes embeddings
    (``composes_embeddings``), they are frozen and its maps can be prepared; else what ``encode_image`` returns.

    Args:
        composer: In stages; comes back from every call as it was.
        folder: Where features are kept, made if needed.
        precision: Of the training.
        methods: Of the maps that are trained; none without maps.
        embeddings: Whether an embedding may stand for the features; not where label heads read their grid.

    Raises:
        InputError: The composer has no stages, or the folder cannot be written.

    Attributes:
        folder: Where the features are kept.
    """

    def __init__(
        self,
        composer: Composer,
        folder: str | Path,
        precision: str,
        methods: Sequence[str | Method] = (),
        *,
        embeddings: bool = True,
    ) -> None:
        found = capabilities(composer)
        if found.stages is None:
            raise InputError(
                f"model.cache: {type(composer).__name__} does not encode images apart from texts (encode_image): leave "
                "it out"
            )
        self._composer = composer
        self._encoder: Callable[[Tensor], Any] = found.stages.encode_image
        self._embed = found.embed_features if embeddings and composer.composes_embeddings else None
        self._methods = [ensure_method(method) for method in methods]
        self._precision = precision
        self._checked = False
        self._calls: list[KeptCall] | None = None
        self._kind: Any = Tensor
        self._maps: MapStore | None = None
        self.folder = Path(folder).expanduser() / _frozen_hash(composer, precision)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"model.cache: {folder} cannot be written: {reason_of(error)}") from error

    @property
    def prepares(self) -> bool:
        """Whether maps are made of what is kept, not of a layer in a forward; known from :meth:`check` on."""
        return self._maps is not None

    def __call__(self, pixels: Tensor) -> Any:
        """Return the features of images ``(B, 3, H, W)``, from the disk where they are there.

        Raises:
            InputError: The encoder is none whose features can be kept, or the disk is full.
        """
        features, kept = self.read(pixels)
        if self._calls is not None and kept is not None:
            parts = _parts(features)
            for part in parts:
                part.requires_grad_()
            self._calls.append((kept, parts))
        return features

    def read(self, pixels: Tensor) -> tuple[Any, KeptMaps | None]:
        """Return the features of images, and what makes maps of them; None if maps are made of a layer in a forward.

        Raises:
            InputError: As for a call.
        """
        if pixels.requires_grad:  # an image that depends on a map
            return self._encode(pixels), None
        self.check(pixels)
        keys = [_key(image) for image in pixels.cpu()]
        store = TensorStore(self.folder / self._place(pixels))
        joined = store.read(keys, lambda missing: self._encode_anew(pixels[missing]), pixels.device)
        kept = None if self._maps is None else KeptMaps(self._maps, keys, pixels, list(range(len(keys))))
        return joined[0] if self._kind is Tensor else self._kind(*joined), kept

    @contextmanager
    def used(self) -> Iterator[None]:
        """Have the composer take features from here inside the block."""
        own = self._composer.__dict__
        before = own.get("encode_image")
        own["encode_image"] = self
        try:
            yield
        finally:
            del own["encode_image"]
            if before is not None:
                own["encode_image"] = before

    @contextmanager
    def recorded(self) -> Iterator[list[KeptCall]]:
        """Have the composer take features from here inside the block, and collect what the maps of each call need."""
        calls: list[KeptCall] = []
        self._calls = calls
        try:
            with self.used():
                yield calls
        finally:
            self._calls = None

    def check_model(self) -> None:
        """Check that the features and maps of the composer can be kept, with images of noise.

        Raises:
            InputError: They cannot.
        """
        processor, device = self._composer.processor, next(self._composer.parameters()).device
        size = int(processor.image_size)
        noise = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
        self.check(processor.normalise(noise).to(device))

    def check(self, pixels: Tensor) -> None:
        """Check once that features and maps can be kept: the encoder must be frozen, and know images one by one.

        Args:
            pixels: Some images, ``(B, 3, H, W)``.

        Raises:
            InputError: They cannot.
        """
        if not self._checked:
            self._check(pixels)
            self._checked = True

    # ------------------------------------------------------------------------------------------------------- computing

    def _encode(self, pixels: Tensor) -> Any:
        """Compute features, as the training does without a cache."""
        features = self._encoder(pixels)
        if self._embed is None:
            return features
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self._is_autocast(pixels, "bf16-composer")):
            return self._embed(features.float())

    def _is_autocast(self, pixels: Tensor, least: str) -> bool:
        return torch.is_autocast_enabled(pixels.device.type) and self._precision in {least, "bf16-composer"}

    def _place(self, pixels: Tensor) -> str:
        place = "rounded" if torch.is_autocast_enabled(pixels.device.type) else "exact"
        return place if self._embed is None else f"{place}-embeddings"

    def _encode_anew(self, pixels: Tensor) -> list[Tensor]:
        with torch.no_grad():
            return _parts(self._encode(pixels))

    def _start_of_maps(self, pixels: Tensor) -> tuple[Any, Callable[[Any], Any]]:
        """Return what the frozen part that holds the explained layer takes, and that part."""
        embed = self._embed
        if embed is None:
            return pixels, lambda one: tuple(_parts(self._encoder(one)))
        with torch.no_grad(), torch.autocast(pixels.device.type, torch.bfloat16, enabled=self._precision != "float32"):
            return self._encoder(pixels).float(), embed

    # -------------------------------------------------------------------------------------------------------- checking

    def _check(self, pixels: Tensor) -> None:
        name = self._composer.target_layer
        if self._embed is not None and not self._can_embed(pixels):
            self._embed = None
        with _watched(self._composer, name) as ran, torch.enable_grad():
            whole = self._encode(pixels[:2])
            alone = self._encode(pixels[:1])
        self._kind = Tensor if isinstance(whole, Tensor) else type(whole)
        pairs = [(all_of[:1], one) for all_of, one in zip(_parts(whole), _parts(alone), strict=True)]
        if any(one.requires_grad for _, one in pairs):
            raise InputError(
                "model.cache: the image encoder is trained, and its features change: freeze it by model.freeze and set "
                "model.lora.rank to 0, or leave model.cache out"
            )
        if not all(torch.allclose(both.float(), one.float(), rtol=_CLOSE, atol=_CLOSE) for both, one in pairs):
            raise InputError(
                "model.cache: the image encoder gives an image other features in another batch (dropout, or a "
                "normalisation over the batch): leave it out"
            )
        if ran and self._methods:
            self._maps = self._map_store()
            if self._embed is None:
                self._check_maps(self._maps, pixels, _parts(whole))

    def _can_embed(self, pixels: Tensor) -> bool:
        """Return whether embeddings may stand for the features: they are frozen, and maps can be prepared of them."""
        with torch.enable_grad():
            embedding = self._encode(pixels[:1])
        if embedding.requires_grad or not self._methods:
            return not embedding.requires_grad
        try:
            self._map_store().prepare(pixels[:1])
        except InputError:
            return False
        return True

    def _map_store(self) -> MapStore:
        return MapStore(self._composer, self.folder, self._methods, self._start_of_maps, self._precision)

    def _check_maps(self, maps: MapStore, pixels: Tensor, features: list[Tensor]) -> None:
        where = f"the explained layer {self._composer.target_layer} lies in the image encoder"
        ways = "leave model.cache out, or set grounding.weight to 0"
        if [part.ndim for part in features] not in ([2], [2, 4]):
            raise InputError(
                f"model.cache: {where} of {type(self._composer).__name__}, which reads more of an image than its "
                f"embedding and patches, so that its maps cannot be kept: {ways}"
            )
        try:
            maps.prepare(pixels[:1])
        except InputError as error:
            names = ", ".join(method.name for method in self._methods)
            raise InputError(
                f"model.cache: {where}, and maps by {names} cannot be kept: set grounding.method to gradcam, xgradcam "
                f"or hirescam, {ways}"
            ) from error


@contextmanager
def _watched(composer: Composer, layer: str | None) -> Iterator[list[bool]]:
    """Collect whether a layer runs inside the block."""
    ran: list[bool] = []
    hook = composer.get_submodule(layer).register_forward_hook(lambda *_: ran.append(True)) if layer else None
    try:
        yield ran
    finally:
        if hook is not None:
            hook.remove()


def _frozen_hash(composer: Composer, precision: str) -> str:
    """Hash the class, the precision and all weights that are not trained."""
    digest = hashlib.blake2b(f"{type(composer).__name__} {precision}".encode(), digest_size=8)
    frozen = torch.nn.Module()
    for name, parameter in composer.named_parameters():
        if not parameter.requires_grad:
            frozen.register_parameter(name.replace(".", "/"), parameter)
    for name, buffer in composer.named_buffers():
        frozen.register_buffer(name.replace(".", "/"), buffer)
    update_by_weights(digest, frozen)
    return digest.hexdigest()


def _key(image: Tensor) -> str:
    return hashlib.blake2b(image.contiguous().float().numpy().tobytes(), digest_size=16).hexdigest()


def _parts(features: Any) -> list[Tensor]:
    return [features] if isinstance(features, Tensor) else [part for part in features if part is not None]
