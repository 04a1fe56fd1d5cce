"""Facts about generative models of transformers: which part a layer belongs to, and how many patches an image has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

_LANGUAGE_MODELS = {"language_model", "text_model"}
_CONNECTORS = {"multi_modal_projector", "connector", "merger", "deepstack_merger_list"}


def in_language_model(layer: str) -> bool:
    """Return whether a layer, by its dotted name, is in the language model."""
    return bool(_LANGUAGE_MODELS & set(layer.split(".")))


def in_connector(layer: str) -> bool:
    """Return whether a layer, by its dotted name, joins the vision tower to the language model."""
    return bool(_CONNECTORS & set(layer.split(".")))


def image_side(vision_config: Any) -> int:
    """Get the side of the square that the vision tower sees, in pixels."""
    size = vision_config.image_size
    return int(size if isinstance(size, int) else size[0])


def patches_along_side(vision_config: Any) -> int:
    """Count the patches along the side of the square that the vision tower sees."""
    patch = vision_config.patch_size
    return image_side(vision_config) // int(patch if isinstance(patch, int) else patch[0])


def shared_row(values: Tensor, name: str) -> tuple[int, ...]:
    """Get the row that all images have in common.

    Args:
        values: (B, N), a row an image.
        name: What the values are called, for the message.

    Raises:
        InputError: If the rows differ.
    """
    rows = {tuple(row) for row in values.tolist()}
    if len(rows) != 1:
        raise InputError(
            f"the images have different {name} ({', '.join(map(str, sorted(rows)))}): explain them one at a time"
        )
    return tuple(int(value) for value in rows.pop())


def image_token_slots(config: Any, layer: str, tensors: Mapping[str, Tensor], tokens: int) -> Tensor | None:
    """Find each image's tokens in the sequence that the language model reads.

    Args:
        config: The model's config.
        layer: Dotted name of a layer.
        tensors: The tensors of the call, with ``input_ids``.
        tokens: How many tokens an image has.

    Returns:
        (B, tokens) int64, positions in the sequence; None for layers outside the language model.

    Raises:
        InputError: If the sequence has another number of image tokens.
    """
    if not in_language_model(layer):
        return None
    is_image: Tensor = tensors["input_ids"] == config.image_token_id
    counts = is_image.sum(1).tolist()
    if set(counts) != {tokens}:
        raise InputError(
            f"the prompts have {', '.join(map(str, sorted(set(counts))))} image tokens, the image has {tokens}"
        )
    return is_image.nonzero()[:, 1].reshape(len(counts), tokens)
