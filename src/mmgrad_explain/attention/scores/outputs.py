"""What scores read from a model's output: fields by name, the embedding, unit vectors."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmgrad_explain.errors import InputError

_TENSOR_FIELDS = ("pooler_output", "image_embeds", "embedding", "last_hidden_state")

PICTURE_AND_TEXT = (("image", "text"), ("image_embeds", "text_embeds"), ("image_features", "text_features"))
"""What outputs call the embedding of a picture and that of its text."""


def field(output: Any, name: str) -> Any:
    """Give ``output.name`` or ``output["name"]``, or None where there is neither."""
    if isinstance(output, Mapping) and name in output:
        return output[name]
    return None if isinstance(output, Mapping) and not hasattr(output, name) else getattr(output, name, None)


def named_parts(output: Any) -> dict[Any, Any]:
    """List what an output is made of: by name, or by index for a tuple or list; nothing for a tensor."""
    if isinstance(output, Tensor):
        return {}
    if isinstance(output, Mapping):
        return dict(output)
    if hasattr(output, "_fields"):
        return output._asdict()  # type: ignore[no-any-return]  # a named tuple
    if isinstance(output, (tuple, list)):
        return dict(enumerate(output))
    return dict(getattr(output, "__dict__", {}))


def part_of(output: Any, key: Any) -> Any:
    """Give a part by its name, or by its index in a tuple or list; None where there is none."""
    return field(output, key) if isinstance(key, str) else output[key]


def image_and_text(output: Any, *, other_names: bool = False) -> tuple[Any, Any] | None:
    """Find the embedding of the picture and that of the text: by their names, or as the only two (., D) of a tuple.

    Args:
        output: What a model gave.
        other_names: Take the only two (., D) whatever they are called.

    Returns:
        Their names, or indices in a tuple or list; None where there are no such two.
    """
    for names in PICTURE_AND_TEXT:
        if all(isinstance(field(output, name), Tensor) for name in names):
            return names
    vectors = [
        key
        for key, part in named_parts(output).items()
        if isinstance(part, Tensor) and part.is_floating_point() and part.ndim == 2 and part.shape[1] > 1
    ]
    if len(vectors) != 2 or part_of(output, vectors[0]).shape[1] != part_of(output, vectors[1]).shape[1]:
        return None
    told = other_names or not any(isinstance(key, str) for key in vectors)
    return (vectors[0], vectors[1]) if told else None


def matching_logits(output: Any) -> Tensor | None:
    """Find the two logits (B, 2) for "does not match" and "matches": BLIP's, and BLIP-2's, which has them elsewhere."""
    logits = field(output, "itm_score")
    if logits is None and hasattr(output, "image_embeds") and output.image_embeds is None:
        logits = field(output, "logits_per_image")
    return logits if isinstance(logits, Tensor) and logits.ndim == 2 and logits.shape[1] == 2 else None


def as_tensor(output: Any) -> Tensor:
    """Find the embedding in what a model gives.

    Args:
        output: A tensor; a tuple or list (its first tensor counts); an object or mapping with ``pooler_output``,
            ``image_embeds``, ``embedding`` or ``last_hidden_state``, in this order (transformers gives the projected
            embedding as ``pooler_output`` in version 5 and as a tensor in version 4).

    Returns:
        The tensor, as it is.

    Raises:
        TypeError: there is no tensor in any of these places.
    """
    if isinstance(output, Tensor):
        return output
    for name in _TENSOR_FIELDS:
        value = field(output, name)
        if isinstance(value, Tensor):
            return value
    if isinstance(output, (tuple, list)):
        for item in output:
            if item is not None:
                return as_tensor(item)
    raise TypeError(
        f"the model's output is a {type(output).__name__} without a tensor as {', '.join(_TENSOR_FIELDS)}: give score= "
        "a callable that makes one number a sample of it"
    )


def unit(vector: Tensor) -> Tensor:
    """Scale (..., D) to length 1; the zero vector stays zero, with finite first and second derivatives."""
    eps = torch.finfo(vector.dtype).eps
    return vector * (vector.square().sum(-1, keepdim=True) + eps * eps).rsqrt()


def embedding_of(value: Tensor, what: str) -> Tensor:
    """Give an embedding (B, D) in float32; float64 stays as it is.

    Raises:
        InputError: it has another shape.
    """
    if value.ndim != 2:
        raise InputError(f"score: {what} must have shape (B, D), not {tuple(value.shape)}")
    return value if value.dtype == torch.float64 else value.float()


def alongside(embedding: Tensor, other: Tensor, what: str) -> Tensor:
    """Bring another embedding, (D,) or (B, D), to the dtype and device of (B, D); InputError where it does not fit."""
    if other.shape not in {embedding.shape, embedding.shape[1:], (1, embedding.shape[1])}:
        raise InputError(
            f"{what} has shape {tuple(other.shape)}, the output embedding {tuple(embedding.shape)}; give (D,) or (B, D)"
        )
    return other.to(embedding)
