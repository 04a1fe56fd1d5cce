"""The outputs of composers, and functions that read any composer's output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

HOW_TO = 'see the how-to "A model of your own"'
"""Where users read what a model must offer; the end of many messages."""


class ComposedOutput(NamedTuple):
    """The output of a model that composes an image with a text.

    Attributes:
        embedding: Composed embedding of the reference image and the text, ``(B, D)``, not normalised.
        shift: What the text changes in it, ``(B, D)``: ``embedding - embedding without text``.
        target: Embedding of the target image alone, ``(B, D)``, or None without a target; ``(B, Q, D)`` of a model that
            keeps several vectors of an image, of which the one nearest to a query counts.
        target_shift: What the text changes in the target's embedding, ``(B, D)``, or None without a target.
        target_composed: The target image composed with the text as well, ``(B, D)``, or None without a target.
        alone: Embedding of the reference image alone, as a gallery holds it, ``(B, D)``; None if it is
            ``embedding - shift``. Of the shape of ``target``.
    """

    embedding: Tensor
    shift: Tensor
    target: Tensor | None = None
    target_shift: Tensor | None = None
    target_composed: Tensor | None = None
    alone: Tensor | None = None


class LearnedPrompt(NamedTuple):
    """What a composer with a learned prompt gives for two losses in training; see SPRC, arXiv 2310.05473.

    Attributes:
        query: Unit embeddings of the texts with the learned prompt, without the images, ``(B, D)``.
        distance: Mean squared distance of the prompts that were made of the images from the learned one, ``(B,)``.
    """

    query: Tensor
    distance: Tensor


class TwoTowerOutput(NamedTuple):
    """The output of a model with a vision tower and a text tower.

    Attributes:
        embedding: Image plus text, ``(B, D)``: the sum of their unit embeddings.
        shift: The text's part of it, ``(B, D)``; zero for an empty text.
        target: Unit embedding of the target image alone, ``(B, D)``, or None without a target.
        target_shift: The text's part again, ``(B, D)``, or None without a target.
        target_composed: The target image plus the text, ``(B, D)``, or None without a target.
        image: Unit embedding of the image, ``(B, D)``.
        text: Unit embedding of the text, ``(B, D)``.
        match: How well image and text match, ``(B,)``, if the model reads them together; else None.
        target_match: Likewise of the target image.
    """

    embedding: Tensor
    shift: Tensor
    target: Tensor | None
    target_shift: Tensor | None
    target_composed: Tensor | None
    image: Tensor
    text: Tensor
    match: Tensor | None = None
    target_match: Tensor | None = None


def reference_alone(output: Any) -> Tensor:
    """Return the embeddings of the reference images alone, ``(B, D)``, as a gallery holds them.

    Args:
        output: The output of a composer, with ``embedding`` and ``shift``.
    """
    alone: Tensor | None = getattr(output, "alone", None)
    difference: Tensor = output.embedding - output.shift if alone is None else alone
    return difference


def convert_parts(output: Any, convert: Callable[[Tensor], Tensor]) -> ComposedOutput:
    """Convert each part of any composer's output, for example to another dtype.

    Args:
        output: Of any composer, with ``embedding`` and ``shift``.
        convert: Takes a part and returns it converted.

    Returns:
        The converted parts; None for a part that the output lacks.
    """
    parts = {name: getattr(output, name, None) for name in ComposedOutput._fields}
    converted: Any = {name: part if part is None else convert(part) for name, part in parts.items()}
    return ComposedOutput(**converted)


def text_alone(output: Any) -> Tensor | None:
    """Return the embeddings of the texts alone, ``(B, D)``; None if the model embeds no text alone."""
    return output.text if isinstance(output, TwoTowerOutput) else None


def image_alone(output: Any) -> Tensor | None:
    """Return the embeddings of the images alone, ``(B, D)``, if the output has them without a target; else None."""
    return output.image if isinstance(output, TwoTowerOutput) else None


def check_parts(output: Any, names: tuple[str, ...], purpose: str) -> None:
    """Check that a composer's output has certain embeddings.

    Args:
        output: What ``forward`` returned.
        names: Attributes that must be tensors.
        purpose: What they are needed for; the message begins with it: ``"to be trained"``.

    Raises:
        InputError: An attribute is missing or None.
    """
    missing = [name for name in names if not isinstance(getattr(output, name, None), Tensor)]
    if missing:
        wanted, lacking = (", ".join(f".{name}" for name in some) for some in (names, missing))
        raise InputError(
            f"{purpose} a model's output must have {wanted}, each (B, D), and this one ({type(output).__name__}) has "
            f"no {lacking}: return a ComposedOutput (mmgrad_explain.composers); {HOW_TO}"
        )
