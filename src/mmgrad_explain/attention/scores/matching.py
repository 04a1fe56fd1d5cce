"""Scores for models that rate how well an image and a text match, or that answer in words.

Source: Grad-CAM (arXiv 1610.02391), with the similarity, the match logit or the log-likelihood instead of a class
score.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmgrad_explain.attention.scores.base import NamedScore
from mmgrad_explain.attention.scores.outputs import (
    ensure_embedding,
    find_image_and_text,
    find_matching_logits,
    get_field,
    get_part,
    is_embedding,
    normalize,
)
from mmgrad_explain.errors import InputError


@dataclass(frozen=True)
class ImageTextCosine:
    """The cosine of image and text, ``s = <i, t> / (|i| |t|)``, in [-1, 1]; that of a target image is added.

    Each image's map comes from its own term, so that a target does not change the map of the reference.
    """

    @property
    def name(self) -> str:
        """``image-text``."""
        return "image-text"

    def __call__(self, output: Any) -> Tensor:
        """Compute (B,).

        Args:
            output: An output with ``image`` and ``text``, ``image_embeds`` and ``text_embeds``, or ``image_features``
                and ``text_features``, and possibly ``target``; or with two parts (B, D), the image's first. One text
                (1, D) may serve all images.

        Raises:
            InputError: the output lacks one of the embeddings, or their shapes differ.
        """
        found = find_image_and_text(output)
        if found is None:
            raise InputError(
                "score 'image-text' needs an embedding of the image and one of the text (an output with .image and "
                ".text, .image_embeds and .text_embeds, or .image_features and .text_features); this model gives none: "
                "use its default score, or a callable that gives one number a sample"
            )
        image, text = (get_part(output, key) for key in found)
        words = normalize(ensure_embedding(text, "the text embedding"))
        score = _cosine(image, words, "the image embedding")
        target = get_field(output, "target")
        return score if not isinstance(target, Tensor) else score + _cosine(target, words, "the target embedding")

    def fits(self, output: Any) -> bool:
        """Return whether the output holds an embedding of the image and one of the text, of fitting shapes."""
        found = find_image_and_text(output)
        if found is None:
            return False
        (image, text), target = (get_part(output, key) for key in found), get_field(output, "target")
        images = [image, target] if isinstance(target, Tensor) else [image]
        return is_embedding(text) and all(is_embedding(each) and _is_text_of(text, each) for each in images)


@dataclass(frozen=True)
class MatchLogit:
    """The logit for "image and text match", read from both together; that of a target image is added."""

    @property
    def name(self) -> str:
        """``match``."""
        return "match"

    def __call__(self, output: Any) -> Tensor:
        """Compute (B,).

        Args:
            output: An output with ``match`` (B,), and possibly ``target_match``; or with ``itm_score`` (B, 2).

        Raises:
            InputError: the model has no such logit.
        """
        match = self._find_logit(output)
        if not isinstance(match, Tensor):
            raise InputError(
                "score 'match': this model gives no match logit: use its default score, or a callable that gives one "
                "number a sample"
            )
        target = get_field(output, "target_match")
        return match.float() if not isinstance(target, Tensor) else match.float() + target.float()

    def fits(self, output: Any) -> bool:
        """Return whether the output holds a match logit."""
        match = self._find_logit(output)
        return isinstance(match, Tensor) and match.ndim == 1

    @staticmethod
    def _find_logit(output: Any) -> Any:
        match, logits = get_field(output, "match"), find_matching_logits(output)
        return logits[:, 1] if not isinstance(match, Tensor) and logits is not None else match


@dataclass(frozen=True, eq=False)
class AnswerLikelihood:
    """The log-likelihood of an answer: ``s = sum_i log p(token_i | image, the tokens before it)``, at most 0.

    Attributes:
        labels: (B, L) int64, the ids of the answer's tokens at their positions in the model's input, and -100
            elsewhere, as in training. None takes the ``labels`` of the output, which are as long as its ``logits``.
        tokens: Which tokens of the answer count, by their index among them; None for all.
    """

    labels: Tensor | None = None
    tokens: Sequence[int] | None = None

    @property
    def name(self) -> str:
        """``answer``."""
        return "answer"

    def __call__(self, output: Any) -> Tensor:
        """Compute (B,).

        Args:
            output: An output with ``logits`` (B, L, V): at each position those of the next token.

        Raises:
            InputError: there are no logits or no labels, their shapes do not fit, or a sample has no token that counts.
        """
        logits = get_field(output, "logits")
        # detached although integers have no gradient: what is detached stays with its sample (held_constants.py)
        labels = self.labels.detach() if self.labels is not None else get_field(output, "labels")
        if not isinstance(logits, Tensor) or logits.ndim != 3 or not isinstance(labels, Tensor):
            raise InputError(
                "score 'answer' needs an output with logits (batch, places, vocabulary) and the answer's token ids: "
                "pass AnswerLikelihood(labels=ids), with -100 where nothing is asked, or explain(..., answer=...)"
            )
        if labels.shape != logits.shape[:2]:
            raise InputError(
                f"score 'answer': labels have shape {tuple(labels.shape)}, the logits {tuple(logits.shape)}; give the "
                "token ids at their places in the model's input, -100 elsewhere"
            )
        labels = labels.to(logits.device)
        counts = self._count_tokens(labels)
        if not bool(counts.any(1).all()):
            raise InputError("score 'answer': a sample has no token that counts: check labels and tokens")
        rows, places = counts.nonzero(as_tuple=True)  # only these positions, because a vocabulary is large
        wanted = labels[:, 1:][rows, places, None]
        of_tokens = logits[rows, places].float().log_softmax(-1).gather(1, wanted)[:, 0]
        return of_tokens.new_zeros(len(logits)).index_add(0, rows, of_tokens)

    def fits(self, output: Any) -> bool:
        """Return whether the output holds logits and labels, with a token that counts in each sample."""
        logits = get_field(output, "logits")
        labels = self.labels if self.labels is not None else get_field(output, "labels")
        if not isinstance(logits, Tensor) or logits.ndim != 3 or not isinstance(labels, Tensor):
            return False
        return labels.shape == logits.shape[:2] and bool(self._count_tokens(labels).any(1).all())

    def _count_tokens(self, labels: Tensor) -> Tensor:
        """Return the mask (B, L - 1) of the tokens that count."""
        counts = labels[:, 1:] >= 0
        if self.tokens is not None:
            index = counts.cumsum(1) - 1
            counts = counts & torch.isin(index, torch.tensor(list(self.tokens), device=index.device))
        return counts


MATCHING_SCORES: dict[str, Callable[[], NamedScore]] = {
    "image-text": ImageTextCosine,
    "match": MatchLogit,
    "answer": AnswerLikelihood,
}
"""The scores of this module by name."""


def _is_text_of(text: Tensor, image: Tensor) -> bool:
    """Return whether there is one text (B, D) for each image, or one (1, D) for all."""
    return text.shape in {image.shape, (1, image.shape[1])}


def _cosine(image: Tensor, words: Tensor, what: str) -> Tensor:
    image = normalize(ensure_embedding(image, what))
    if not _is_text_of(words, image):
        raise InputError(
            f"score 'image-text': {what} has shape {tuple(image.shape)}, the text's {tuple(words.shape)}: give one "
            "text for each image"
        )
    return (image * words.to(image)).sum(-1)
