"""Features of a frozen image encoder, computed once and kept on disk.

An image is known by its pixels as the model reads them, so that crops and mirrored images are entries of their own, and
by the frozen weights and the precision. What is read back is what was computed, bit for bit.

Where the explained layer lies in the encoder, its maps are kept, too: as the matrices of
:mod:`~mmgrad_explain.attention.prepared_maps`, from which a step makes them by one product.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgrad_explain._system.files import temporary_name
from mmgrad_explain._system.user_files import reason_of
from mmgrad_explain._system.weight_hash import update_by_weights
from mmgrad_explain.attention.methods.named import ensure_method
from mmgrad_explain.attention.mmgrad import MultiModalGradAttention
from mmgrad_explain.attention.prepared_maps import attend_prepared, prepare_maps
from mmgrad_explain.composers.model_capabilities import capabilities
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mmgrad_explain.attention.methods.base import Method
    from mmgrad_explain.composers.base import Composer

_CLOSE = 1e-3
_VERSION = 1  # of prepared maps, raised when what is kept changes


@dataclass(frozen=True)
class KeptCall:
    """What maps of one call of the encoder are made of.

    Attributes:
        embeddings: That were given out, ``(B, D)``, with ``requires_grad``.
        operators: Reads what makes maps of their gradients, ``(B, W, h, w, D)``.
    """

    embeddings: Tensor
    operators: Callable[[], Tensor]

    def attend(self, score: Tensor) -> Tensor:
        """Make the signed maps of a score ``(B,)``, ``(W, B, h, w)``, differentiable."""
        return attend_prepared(score, self.embeddings, self.operators(), create_graph=True, relu=False)


class FeatureCache:
    """Stands for the ``encode_image`` of a composer whose image encoder is frozen.

    Several processes may share a folder. The first images are checked: the encoder must be frozen and give an image the
    same features in any batch. Where maps are trained and the explained layer lies in the encoder, the features must be
    one embedding an image, and the maps linear in the gradient: then they are prepared.

    Args:
        composer: In stages; comes back from every call as it was.
        folder: Where features are kept, made if needed.
        precision: Of the training.
        methods: Of the maps that are trained; none without maps.

    Raises:
        InputError: The composer has no stages, or the folder cannot be written.
    """

    def __init__(
        self, composer: Composer, folder: str | Path, precision: str, methods: Sequence[str | Method] = ()
    ) -> None:
        stages = capabilities(composer).stages
        if stages is None:
            raise InputError(
                f"model.cache: {type(composer).__name__} does not encode images apart from texts (encode_image): leave "
                "it out"
            )
        self._composer = composer
        self._encode: Callable[[Tensor], Any] = stages.encode_image
        self._methods = [ensure_method(method) for method in methods]
        self._precision = precision
        self._checked = False
        self._prepares = False
        self._mmgrad: MultiModalGradAttention | None = None
        self._calls: list[KeptCall] | None = None
        self._kind: Any = Tensor
        self.folder = Path(folder).expanduser() / _frozen_hash(composer, precision)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"model.cache: {folder} cannot be written: {reason_of(error)}") from error

    def __call__(self, pixels: Tensor) -> Any:
        """Return the features of images ``(B, 3, H, W)``, from the disk where they are there.

        Raises:
            InputError: The encoder is none whose features can be kept, or the disk is full.
        """
        if pixels.requires_grad:  # an image that depends on a map
            return self._encode(pixels)
        self._check_once(pixels)
        place = "rounded" if torch.is_autocast_enabled(pixels.device.type) else "exact"
        keys = [_key(image) for image in pixels.cpu()]
        joined = self._keep(self.folder / place, keys, pixels, self._encode_anew)
        if self._calls is not None:
            joined[0].requires_grad_()
            self._calls.append(KeptCall(joined[0], lambda: self._operators(keys, pixels)))
        return joined[0] if self._kind is Tensor else self._kind(*joined)

    def prepares(self, pixels: Tensor) -> bool:
        """Return whether maps have to be made of what is kept, because the explained layer lies in the encoder.

        Args:
            pixels: The first images are checked.

        Raises:
            InputError: The encoder is none whose features and maps can be kept.
        """
        self._check_once(pixels)
        return self._prepares

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

    def _keep(
        self, folder: Path, keys: list[str], pixels: Tensor, make: Callable[[Tensor], Sequence[Tensor]]
    ) -> list[Tensor]:
        """Read tensors of images, batch first; ``make`` makes them of the images that are not there."""
        files = [folder / key[:2] / f"{key}.safetensors" for key in keys]
        missing = {file: row for row, file in enumerate(files) if not file.is_file()}
        if missing:
            fresh = make(pixels[list(missing.values())])
            for number, file in enumerate(missing):
                _write(file, [part[number] for part in fresh])
        rows = [_read(file) for file in files]
        return [torch.stack(parts).to(pixels.device) for parts in zip(*rows, strict=True)]

    def _encode_anew(self, pixels: Tensor) -> list[Tensor]:
        with torch.no_grad():
            return _parts(self._encode(pixels))

    def _operators(self, keys: list[str], pixels: Tensor) -> Tensor:
        """Read what makes maps of these images, ``(B, W, h, w, D)``."""
        about = [_VERSION, self._composer.target_layer, [method.name for method in self._methods]]
        place = f"maps-{hashlib.blake2b(repr(about).encode(), digest_size=8).hexdigest()}"
        largest, operators = self._keep(self.folder / place, keys, pixels, self._prepare)
        return operators.float() * largest

    def _prepare(self, pixels: Tensor) -> list[Tensor]:
        """Prepare maps: the largest number of each image, and the numbers as shares of it."""
        if self._mmgrad is None:
            self._mmgrad = MultiModalGradAttention(self._composer)
        with torch.enable_grad(), torch.autocast(pixels.device.type, enabled=False):
            operators = prepare_maps(self._mmgrad, pixels, self._embed, method=self._methods).operators
        largest = operators.abs().amax((1, 2, 3, 4), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
        shares = operators / largest
        return [largest, shares if self._precision == "float32" else shares.half()]

    def _embed(self, pixels: Tensor) -> Tensor:
        (embeddings,) = _parts(self._encode(pixels))
        return embeddings

    def _check_once(self, pixels: Tensor) -> None:
        if not self._checked:
            self._check(pixels)
            self._checked = True

    def _check_prepared(self, pixels: Tensor, features: list[Tensor]) -> None:
        """Check that maps of a layer in the encoder can be prepared.

        Raises:
            InputError: They cannot.
        """
        where = f"the explained layer {self._composer.target_layer} lies in the image encoder"
        ways = "leave model.cache out, or set grounding.weight to 0"
        if len(features) != 1 or features[0].ndim != 2:
            raise InputError(
                f"model.cache: {where} of {type(self._composer).__name__}, which reads more of an image than one "
                f"embedding, so that its maps cannot be kept: {ways}"
            )
        try:
            self._prepare(pixels[:1])
        except InputError as error:
            names = ", ".join(method.name for method in self._methods)
            raise InputError(
                f"model.cache: {where}, and maps by {names} cannot be kept: set grounding.method to gradcam, xgradcam "
                f"or hirescam, {ways}"
            ) from error
        self._prepares = True

    def _check(self, pixels: Tensor) -> None:
        """Check that features of these images can be kept.

        Raises:
            InputError: They cannot.
        """
        ran: list[bool] = []
        name = self._composer.target_layer
        layer = self._composer.get_submodule(name) if name else None
        hook = None if layer is None else layer.register_forward_hook(lambda *_: ran.append(True))
        try:
            with torch.enable_grad():
                whole = self._encode(pixels[:2])
                alone = self._encode(pixels[:1])
        finally:
            if hook is not None:
                hook.remove()
        self._kind = Tensor if isinstance(whole, Tensor) else type(whole)
        pairs = [(all_of[:1], one) for all_of, one in zip(_parts(whole), _parts(alone), strict=True)]
        if any(one.requires_grad for _, one in pairs):
            raise InputError(
                "model.cache: the image encoder is trained, and its features change: freeze it by model.freeze, or "
                "leave model.cache out"
            )
        if not all(torch.allclose(both.float(), one.float(), rtol=_CLOSE, atol=_CLOSE) for both, one in pairs):
            raise InputError(
                "model.cache: the image encoder gives an image other features in another batch (dropout, or a "
                "normalisation over the batch): leave it out"
            )
        if ran and self._methods:
            self._check_prepared(pixels, _parts(whole))


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


def _write(file: Path, parts: Sequence[Tensor]) -> None:
    """Write one image's features; the file is whole or not there."""
    from safetensors.torch import save

    content = save({str(number): part.detach().cpu().contiguous() for number, part in enumerate(parts)})
    temporary = file.with_name(temporary_name())
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(file)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"model.cache: {file.parent} cannot be written: {reason_of(error)}") from error


def _read(file: Path) -> list[Tensor]:
    from safetensors.torch import load_file

    try:
        held = load_file(file)
    except Exception as error:  # safetensors raises kinds of its own
        raise InputError(f"model.cache: {file} is damaged: delete it") from error
    return [held[str(number)] for number in range(len(held))]
