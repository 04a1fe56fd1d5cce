"""What a visitor asks the page to explain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class ExplainRequest:
    """An image, sentences, and how to explain them.

    Attributes:
        image: The reference image.
        texts: The sentences.
        model: Name of the model, one of :attr:`Models.names`.
        target: The target image.
        layer: Dotted name; the model's default when None.
        score: Name; the model's default when None.
        method: Name; the model's default when None.
        words: Compute what each word contributes.
        phrases: Explain each phrase of the sentence as a text by itself.
        check: Find out how far each map can be trusted.
        answer: An answer of a model that answers in words; the model's own answer when None.
        image_name: Name of the image, for the page.
        target_name: Name of the target, for the page.
    """

    image: Image.Image
    texts: tuple[str, ...]
    model: str
    target: Image.Image | None = None
    layer: str | None = None
    score: str | None = None
    method: str | None = None
    words: bool = False
    phrases: bool = False
    check: bool = False
    answer: str | None = None
    image_name: str = "picture.png"
    target_name: str = "target.png"
