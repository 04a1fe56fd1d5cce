"""Features of a frozen image encoder, computed once and kept on disk.

An image is known by its pixels as the model reads them, so that crops and mirrored images are entries of their own, and
by the frozen weights and the precision. What is read back is what was computed, bit for bit.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgrad_explain._system.files import temporary_name
from mmgrad_explain._system.user_files import reason_of
from mmgrad_explain._system.weight_hash import update_by_weights
from mmgrad_explain.composers.model_capabilities import capabilities
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mmgrad_explain.composers.base import Composer

_CLOSE = 1e-3


class FeatureCache:
    """Stands for the ``encode_image`` of a composer whose image encoder is frozen.

    Several processes may share a folder. The first images are checked: the encoder must be frozen, give an image the
    same features in any batch, and, where maps are trained, not contain the explained layer.

    Args:
        composer: In stages; comes back from every call as it was.
        folder: Where features are kept, made if needed.
        precision: Of the training.
        maps: Whether maps are trained.

    Raises:
        InputError: The composer has no stages, or the folder cannot be written.
    """

    def __init__(self, composer: Composer, folder: str | Path, precision: str, *, maps: bool) -> None:
        stages = capabilities(composer).stages
        if stages is None:
            raise InputError(
                f"model.cache: {type(composer).__name__} does not encode images apart from texts (encode_image): leave "
                "it out"
            )
        self._composer = composer
        self._encode: Callable[[Tensor], Any] = stages.encode_image
        self._maps = maps
        self._checked = False
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
        if not self._checked:
            self._check(pixels)
            self._checked = True
        place = "rounded" if torch.is_autocast_enabled(pixels.device.type) else "exact"
        files = [self.folder / place / key[:2] / f"{key}.safetensors" for key in map(_key, pixels.cpu())]
        missing = {file: row for row, file in enumerate(files) if not file.is_file()}
        if missing:
            with torch.no_grad():
                fresh = self._encode(pixels[list(missing.values())])
            for number, file in enumerate(missing):
                _write(file, [part[number] for part in _parts(fresh)])
        rows = [_read(file) for file in files]
        joined = [torch.stack(parts).to(pixels.device) for parts in zip(*rows, strict=True)]
        return joined[0] if self._kind is Tensor else self._kind(*joined)

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
        if ran and self._maps:
            raise InputError(
                f"model.cache: the explained layer {name} lies in the image encoder of "
                f"{type(self._composer).__name__}, and kept features have no maps: leave model.cache out, or set "
                "grounding.weight to 0"
            )
        if not all(torch.allclose(both.float(), one.float(), rtol=_CLOSE, atol=_CLOSE) for both, one in pairs):
            raise InputError(
                "model.cache: the image encoder gives an image other features in another batch (dropout, or a "
                "normalisation over the batch): leave it out"
            )


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
