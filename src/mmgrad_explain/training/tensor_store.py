"""Tensors of images on disk, a safetensors file an image."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmgrad_explain._system.files import temporary_name
from mmgrad_explain._system.user_files import reason_of
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class TensorStore:
    """A folder of tensors of images; several processes may share it.

    Attributes:
        folder: Made when something is written.
    """

    folder: Path

    def read(
        self, keys: Sequence[str], make: Callable[[list[int]], Sequence[Tensor]], device: torch.device
    ) -> list[Tensor]:
        """Read the tensors of images, and make and write what is not there.

        Args:
            keys: Names of the images.
            make: Takes the places of some of the keys and returns tensors, batch first.
            device: Of the result.

        Returns:
            Tensors, batch first.

        Raises:
            InputError: A file is damaged, or the disk is full.
        """
        files = [self.folder / key[:2] / f"{key}.safetensors" for key in keys]
        missing = {file: row for row, file in enumerate(files) if not file.is_file()}
        if missing:
            fresh = make(list(missing.values()))
            for number, file in enumerate(missing):
                _write(file, [part[number] for part in fresh])
        rows = [_read(file) for file in files]
        return [torch.stack(parts).to(device) for parts in zip(*rows, strict=True)]


def _write(file: Path, parts: Sequence[Tensor]) -> None:
    """Write the tensors of one image; a write that is interrupted leaves no file."""
    from safetensors.torch import save

    content = save({str(number): part.detach().cpu().contiguous() for number, part in enumerate(parts)})
    temporary = file.with_name(temporary_name())
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(file)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise InputError(f"model.cache: {file.parent} cannot be written: {reason_of(error)}") from error


def _read(file: Path) -> list[Tensor]:
    from safetensors.torch import load_file

    try:
        held = load_file(file)
    except Exception as error:  # safetensors raises kinds of its own
        raise InputError(f"model.cache: {file} is damaged: delete it") from error
    return [held[str(number)] for number in range(len(held))]
