"""Find out from a model's layers whether images are familiar to it, and whether they show what the texts name.

How strange an image is says :mod:`~mmgrad_explain.composers.familiarity`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgrad_explain.composers.familiarity import describe
from mmgrad_explain.composers.model_capabilities import capabilities
from mmgrad_explain.errors import InputError
from mmgrad_explain.notes import Note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from PIL import Image

    from mmgrad_explain.composers.base import Composer

PIXELS = "pixels"
_PRESENT = 0.2
"""Least presence of what a text names, of 1; below it the image is said not to show it."""


@contextmanager
def record_layers(composer: Composer, layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Record the outputs of layers inside the block, in their first call, which is that of the reference images.

    Args:
        composer: The model.
        layers: Dotted names.

    Yields:
        A dictionary that the first forward fills: the input of the first layer as ``PIXELS``, then each layer's output.
    """
    kept: dict[str, Tensor] = {}
    handles: list[Any] = []

    def keep_input(_module: Any, inputs: Any) -> None:
        kept.setdefault(PIXELS, inputs[0].detach())

    def keep(name: str) -> Callable[[Any, Any, Any], None]:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            first = output[0] if isinstance(output, list | tuple) else output  # of a model with branches, the finest
            kept.setdefault(name, first.detach())

        return hook

    try:
        for name in layers:
            module = composer.get_submodule(name)
            if not handles:
                handles.append(module.register_forward_pre_hook(keep_input))
            handles.append(module.register_forward_hook(keep(name)))
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def describe_images(
    composer: Composer, images: Sequence[Image.Image], layers: Sequence[str], *, batch: int = 32
) -> Tensor:
    """Describe images by the features of a model's layers, ``(B, D)``; the model comes back as it was.

    Raises:
        InputError: The model does not encode images by themselves.
    """
    can = capabilities(composer)
    if can.stages is None or can.reader is None:
        raise InputError(f"{composer.name} cannot encode images by themselves, so that they cannot be described")
    device = next(composer.parameters()).device
    found = []
    for start in range(0, len(images), batch):
        pixels, _ = can.reader.encode_images(images[start : start + batch])
        with torch.inference_mode(), record_layers(composer, layers) as seen:
            can.stages.encode_image(pixels.to(device))
        found.append(describe(seen))
    return torch.cat(found)


def strangeness_of(composer: Composer, images: Sequence[Image.Image]) -> Tensor:
    """Measure how strange images are to a model, ``(B,)``: above 1 is strange; infinite without ``familiarity``."""
    familiarity = composer.familiarity
    if familiarity is None or not images:
        return torch.full((len(images),), torch.inf)
    return familiarity.strangeness(describe_images(composer, images, familiarity.layers))


@contextmanager
def watch_familiarity(composer: Composer) -> Iterator[dict[str, Tensor]]:
    """Record the layers that the model's familiarity uses; nothing if it has none."""
    with record_layers(composer, composer.familiarity.layers if composer.familiarity else ()) as seen:
        yield seen


def note_unfamiliar(composer: Composer, seen: Mapping[str, Tensor]) -> Note | None:
    """Return the note on what :func:`watch_familiarity` recorded.

    Args:
        composer: The model, with its ``familiarity`` if it has one.
        seen: What was recorded, of the reference images.

    Returns:
        None if no image is strange, or the model has no familiarity.
    """
    return None if composer.familiarity is None or not seen else composer.familiarity.note(describe(seen))


@contextmanager
def watch_presence(composer: Composer) -> Iterator[dict[str, Tensor]]:
    """Record how surely images show what their texts name; nothing if the model does not tell."""
    with record_layers(composer, [composer.presence_layer] if composer.presence_layer else []) as seen:
        yield seen


def note_absent(composer: Composer, seen: Mapping[str, Tensor]) -> list[Note]:
    """Return the notes on what :func:`watch_presence` recorded; none if every image shows what its text names."""
    if composer.presence_layer is None or composer.presence_layer not in seen:
        return []
    presence = seen[composer.presence_layer].flatten()
    found = []
    for which, text in (
        (presence < _PRESENT, "does not find in the image what the text names: the map shows what else is there"),
        (presence.isnan(), "reads in the text no thing that it knows: the map shows what stands out"),
    ):
        samples = tuple(index for index, one in enumerate(which.tolist()) if one)
        if samples:
            every = len(samples) == len(presence)
            found.append(Note("absent-thing", f"{composer.name} {text}", None if every else samples))
    return found
