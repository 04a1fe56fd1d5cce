"""Read from a model's output what scores need: parts by name, the embedding, unit vectors."""

from collections.abc import Mapping
from typing import Any, TypeGuard

import torch
from torch import Tensor

from mmgrad_explain.errors import InputError

_TENSOR_FIELDS = ("pooler_output", "image_embeds", "embedding", "last_hidden_state")

IMAGE_AND_TEXT = (("image", "text"), ("image_embeds", "text_embeds"), ("image_features", "text_features"))
"""What outputs call the embedding of an image and that of its text."""


def get_field(output: Any, name: str) -> Any:
    """Return ``output.name`` or ``output["name"]``, or None where there is neither."""
    if isinstance(output, Mapping) and name in output:
        return output[name]
    return None if isinstance(output, Mapping) and not hasattr(output, name) else getattr(output, name, None)


def list_parts(output: Any) -> dict[Any, Any]:
    """List the parts of an output: by name, or by index for a tuple or list; a tensor has no parts."""
    if isinstance(output, Tensor):
        return {}
    if isinstance(output, Mapping):
        return dict(output)
    if hasattr(output, "_fields"):
        return output._asdict()  # type: ignore[no-any-return]  # a named tuple
    if isinstance(output, (tuple, list)):
        return dict(enumerate(output))
    return dict(getattr(output, "__dict__", {}))


def get_part(output: Any, key: Any) -> Any:
    """Return a part by its name, or by its index in a tuple or list; None where there is no such part."""
    return get_field(output, key) if isinstance(key, str) else output[key]


def find_image_and_text(output: Any, *, other_names: bool = False) -> tuple[Any, Any] | None:
    """Find the embedding of the image and that of the text: by their names, or as the only two (., D) of a tuple.

    Args:
        output: The output of a model.
        other_names: Take the only two (., D) whatever their names.

    Returns:
        Their names, or indices in a tuple or list; None where the output does not hold exactly two.
    """
    for names in IMAGE_AND_TEXT:
        if all(isinstance(get_field(output, name), Tensor) for name in names):
            return names
    vectors = [
        key
        for key, part in list_parts(output).items()
        if isinstance(part, Tensor) and part.is_floating_point() and part.ndim == 2 and part.shape[1] > 1
    ]
    if len(vectors) != 2 or get_part(output, vectors[0]).shape[1] != get_part(output, vectors[1]).shape[1]:
        return None
    accepted = other_names or not any(isinstance(key, str) for key in vectors)
    return (vectors[0], vectors[1]) if accepted else None


def find_matching_logits(output: Any) -> Tensor | None:
    """Find the two logits (B, 2) for "does not match" and "matches", under the names of BLIP and of BLIP-2."""
    logits = get_field(output, "itm_score")
    if logits is None and hasattr(output, "image_embeds") and output.image_embeds is None:
        logits = get_field(output, "logits_per_image")
    return logits if isinstance(logits, Tensor) and logits.ndim == 2 and logits.shape[1] == 2 else None


def as_tensor(output: Any) -> Tensor:
    """Return the embedding in a model's output.

    Args:
        output: A tensor; a tuple or list (its first tensor counts); an object or mapping with ``pooler_output``,
            ``image_embeds``, ``embedding`` or ``last_hidden_state``, in this order (transformers returns the projected
            embedding as ``pooler_output`` in version 5 and as a tensor in version 4).

    Returns:
        The tensor, as it is.

    Raises:
        TypeError: there is no tensor in any of these places.
    """
    found, innermost = _search(output)
    if found is None:
        raise TypeError(
            f"the model's output is a {type(innermost).__name__} without a tensor as {', '.join(_TENSOR_FIELDS)}: give "
            "score= a callable that makes one number a sample of it"
        )
    return found


def find_tensor(output: Any) -> Tensor | None:
    """Find the embedding in a model's output as :func:`as_tensor`; None where there is none."""
    return _search(output)[0]


def _search(output: Any) -> tuple[Tensor | None, Any]:
    """Find the embedding, and the innermost value that was searched for it."""
    if isinstance(output, Tensor):
        return output, output
    for name in _TENSOR_FIELDS:
        value = get_field(output, name)
        if isinstance(value, Tensor):
            return value, output
    first = next((item for item in output if item is not None), None) if isinstance(output, (tuple, list)) else None
    return (None, output) if first is None else _search(first)


def normalize(vector: Tensor) -> Tensor:
    """Scale (..., D) to length 1; the zero vector stays zero, with finite first and second derivatives."""
    eps = torch.finfo(vector.dtype).eps
    return vector * (vector.square().sum(-1, keepdim=True) + eps * eps).rsqrt()


def ensure_embedding(value: Tensor, what: str) -> Tensor:
    """Return an embedding (B, D) in float32; float64 stays as it is.

    Raises:
        InputError: ``value`` has another shape.
    """
    if value.ndim != 2:
        raise InputError(f"score: {what} must have shape (B, D), not {tuple(value.shape)}")
    return value if value.dtype == torch.float64 else value.float()


def as_rows(vector: Tensor) -> Tensor:
    """Return (1, D) of a vector (D,) that serves all samples; (B, D) stays."""
    return vector[None] if vector.ndim == 1 else vector


def is_embedding(value: Any) -> TypeGuard[Tensor]:
    """Return whether a value is a tensor (B, D)."""
    return isinstance(value, Tensor) and value.ndim == 2


def fits_embedding(embedding: Tensor, other: Any) -> TypeGuard[Tensor]:
    """Return whether a value is a tensor (D,), (1, D) or (B, D) for an embedding (B, D)."""
    return isinstance(other, Tensor) and other.shape in {embedding.shape, embedding.shape[1:], (1, embedding.shape[1])}


def match_embedding(embedding: Tensor, other: Tensor, what: str) -> Tensor:
    """Move another embedding, (D,) or (B, D), to the dtype and device of (B, D).

    Raises:
        InputError: the shapes do not fit.
    """
    if not fits_embedding(embedding, other):
        given = tuple(
            other.shape[1:] if other.ndim > 1 and len(other) == 1 else other.shape
        )  # one for all: see as_rows
        raise InputError(
            f"{what} has shape {given}, the output embedding {tuple(embedding.shape)}; give (D,) or (B, D)"
        )
    return other.to(embedding)
