"""A tower's processor as training needs it, with texts in a prompt around a pseudo-word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.composers.padded_images import PaddedProcessor
from mmgrad_explain.composers.square_images import SquareImages
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image
    from torch import Tensor

    from mmgrad_explain.composers.base import ComposerInputs
    from mmgrad_explain.images.placement import Placement
    from mmgrad_explain.notes import Note

PROMPT = "a photo of $ that {text}"
"""Of Baldrati et al., SEARLE, arXiv 2303.15247."""

_PLACEHOLDER = "it"  # one token in nearly every vocabulary; its embedding is never used


class FusionProcessor(SquareImages):
    """A tower's processor, with texts in a prompt if there is one.

    Args:
        inner: The tower's processor.
        prompt: A text with ``$`` for the pseudo-word and, after it, ``{text}``; None for texts as they are.
        pad_ratio: Long images are padded towards this ratio of their sides first
            (:mod:`~mmgrad_explain.images.ratio_padding`); None leaves them as they are.

    Attributes:
        blank: Ids and mask ``(1, L)`` of an empty text; with a prompt, of its part before the text.
        word_index: Index of the pseudo-word among the tokens of a prompt; None without one.

    Raises:
        InputError: If the prompt lacks something, or the tokenizer cannot reserve one token in it.
    """

    def __init__(self, inner: Any, prompt: str | None = None, pad_ratio: float | None = None) -> None:
        self.inner = inner
        if pad_ratio is not None:
            self.inner = PaddedProcessor(inner, pad_ratio)
            self.pad_ratio = pad_ratio
        self.prompt = prompt
        self.word_index: int | None = None
        if prompt is None:
            self.blank: tuple[Tensor, Tensor] = inner.encode_texts([""])
            return
        head, dollar, tail = (part.strip() for part in prompt.partition("$"))
        if not dollar or "$" in tail or tail.count("{text}") != 1 or "{text}" in head:
            raise InputError(f"prompt must have one $ and, after it, one {{text}}, as {PROMPT!r}; got {prompt!r}")
        self._head, self._tail = f"{head} {_PLACEHOLDER}".strip(), tail
        self.blank = inner.encode_texts([self._head])
        short, long = inner.encode_texts([head, self._head])[0].tolist()
        self.word_index = next((index for index, (a, b) in enumerate(zip(short, long, strict=True)) if a != b), 0)
        if long[: self.word_index] + long[self.word_index + 1 :] != short[:-1]:
            raise InputError(f"prompt: this model's tokenizer cannot put one word after {head!r}: use other words")

    @property
    def tokenizer(self) -> Any:
        """The tower's tokenizer."""
        return self.inner.tokenizer

    def __call__(
        self, images: Sequence[Image.Image], texts: Sequence[str], targets: Sequence[Image.Image] | None = None
    ) -> ComposerInputs:
        """Prepare a batch by the tower's processor."""
        inputs: ComposerInputs = self.inner(images, self.put_in_prompt(texts), targets)
        mask = inputs.tensors["attention_mask"]
        has_words = mask.new_tensor([[bool(text.strip())] for text in texts])
        inputs.tensors["attention_mask"] = mask * has_words
        return inputs

    def encode_images(self, images: Sequence[Image.Image]) -> tuple[Tensor, list[Placement]]:
        """Prepare images by the tower's processor."""
        return self.inner.encode_images(images)  # type: ignore[no-any-return]

    def encode_texts(self, texts: Sequence[str], notices: list[Note] | None = None) -> tuple[Tensor, Tensor]:
        """Prepare texts, in the prompt: ids and mask ``(B, L)``, the mask of an empty text all 0."""
        ids, mask = self.inner.encode_texts(self.put_in_prompt(texts), notices)
        return ids, mask * mask.new_tensor([[bool(text.strip())] for text in texts])

    def put_in_prompt(self, texts: Sequence[str]) -> list[str]:
        """Put texts into the prompt, with an ordinary word in place of the pseudo-word."""
        if self.prompt is None:
            return list(texts)
        return [f"{self._head} {self._tail.replace('{text}', text)}" for text in texts]
