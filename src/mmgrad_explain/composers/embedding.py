"""Unit embeddings of images and queries, and the identity of a model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from mmgrad_explain._system.devices import device_of
from mmgrad_explain._system.weight_hash import update_by_weights
from mmgrad_explain.attention.running.undisturbed import undisturbed
from mmgrad_explain.composers.model_capabilities import capabilities
from mmgrad_explain.composers.outputs import HOW_TO, check_parts, image_alone
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mmgrad_explain.composers.base import Composer, ComposerInputs
    from mmgrad_explain.notes import Note

_SIMPLE = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class ModelIdentity:
    """The data by which one model is told from another.

    Attributes:
        name: What the model is called.
        fingerprint: A hash of its class, the settings of its processor, and every weight: 16 hexadecimal digits.
        dim: Length of its embeddings.
        layer: The layer that is explained by default.
        score: The default score.
        vectors: How many embeddings an image has in a gallery.
    """

    name: str
    fingerprint: str
    dim: int
    layer: str | None
    score: str | None
    vectors: int = 1


def identify(composer: Composer) -> ModelIdentity:
    """Identify a model; embeds one small image.

    Raises:
        InputError: The model gives no embedding of an image alone.
    """
    (image,) = embed_images(composer, [Image.new("RGB", (64, 64), (127, 127, 127))])
    vectors = len(image) if image.ndim == 2 else 1
    return ModelIdentity(
        composer.name, fingerprint(composer), image.shape[-1], composer.target_layer, composer.default_score, vectors
    )


def fingerprint(composer: Composer) -> str:
    """Hash a model's class, the settings of its processor, and every weight, on whatever device."""
    digest = hashlib.blake2b(digest_size=8)
    processor = capabilities(composer).processor
    digest.update(f"{type(composer).__name__} {type(processor).__name__}".encode())
    for name, value in sorted(getattr(processor, "__dict__", {}).items()):
        plain = isinstance(value, _SIMPLE) or (
            isinstance(value, list | tuple) and all(isinstance(item, _SIMPLE) for item in value)
        )
        if plain and not name.startswith("_"):
            digest.update(f" {name}={value}".encode())
    update_by_weights(digest, composer)
    return digest.hexdigest()


def embed_images(composer: Composer, images: Sequence[Image.Image]) -> Tensor:
    """Embed images alone, as targets are embedded and as a gallery holds them.

    Args:
        composer: The model, on whatever device; comes back as it was.
        images: RGB images, one batch.

    Returns:
        ``(B, D)`` float32 on the CPU, of unit length; ``(B, Q, D)`` of a model that keeps several vectors of an image.

    Raises:
        InputError: The model gives no embedding of an image alone.
    """
    with undisturbed(composer, {}), torch.no_grad():
        rows = [
            embed_images_alone(composer, inputs.tensors)
            for inputs in prepare_batches(composer, images, ["picture"] * len(images))
        ]
        return F.normalize(torch.cat(rows).float(), dim=-1).cpu()


def embed_query(composer: Composer, image: Image.Image, text: str) -> tuple[Tensor, list[Note]]:
    """Embed an image with a modifier text: the query of a gallery.

    Returns:
        ``(D,)`` float32 on the CPU, of unit length; the notes on image and text.

    Raises:
        InputError: The model's output has no ``embedding``.
    """
    with undisturbed(composer, {}), torch.no_grad():
        inputs = composer.preprocess([image], [text])
        output = run(composer, inputs.tensors)
        check_parts(output, ("embedding",), "to search with it")
        return F.normalize(output.embedding.float(), dim=-1)[0].cpu(), list(inputs.notices)


def embed_images_alone(composer: Composer, tensors: Mapping[str, Tensor]) -> Tensor:
    """Embed images alone, ``(B, D)``, not of unit length, with as little work as the composer allows.

    Args:
        composer: The model.
        tensors: The input of its ``forward``, with any texts.

    Raises:
        InputError: The model gives no embedding of an image alone.
    """
    can = capabilities(composer)
    if can.stages is not None and can.embed_features is not None:
        return can.embed_features(can.stages.encode_image(tensors["pixel_values"].to(device_of(composer))))
    output = run(composer, tensors)
    alone = image_alone(output)
    if alone is None and hasattr(output, "embedding") and hasattr(output, "target"):
        alone = run(composer, {**tensors, "target_pixel_values": tensors["pixel_values"]}).target
    if alone is None:
        raise InputError(
            f"model {composer.name!r} gives no embedding of an image alone, so that there is nothing to rank by: "
            f"write embed, or return .target for target_pixel_values; {HOW_TO}"
        )
    return alone


def run(composer: Composer, tensors: Mapping[str, Tensor]) -> Any:
    """Run a composer on tensors from any device; returns its output."""
    device = device_of(composer)
    return composer(**{name: value.to(device) for name, value in tensors.items()})


def prepare_batches(
    composer: Composer, images: Sequence[Image.Image], texts: Sequence[str]
) -> Iterator[ComposerInputs]:
    """Prepare one batch; or one for each image, if the model keeps the shapes of images and they differ."""
    if len({image.size for image in images}) > 1 and capabilities(composer).keeps_shapes:
        for image, text in zip(images, texts, strict=True):
            yield composer.preprocess([image], [text])
    else:
        yield composer.preprocess(images, texts)
