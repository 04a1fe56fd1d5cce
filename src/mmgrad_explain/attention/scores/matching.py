"""Scores for models that say how well a picture and a text belong together, or that answer in words.

Source: Grad-CAM (arXiv 1610.02391) with the similarity, the match logit or the log-likelihood in the place of a class
score.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmgrad_explain.attention.scores.outputs import embedding_of, field, image_and_text, matching_logits, part_of, unit
from mmgrad_explain.errors import InputError


@dataclass(frozen=True)
class ImageTextCosine:
    """The cosine of picture and text, ``s = <i, t> / (|i| |t|)``, in [-1, 1]; with a target picture its own is added.

    Each picture's map comes from its own term, so that a target does not change the reference's map.
    """

    @property
    def name(self) -> str:
        """``image-text``."""
        return "image-text"

    def __call__(self, output: Any) -> Tensor:
        """Give (B,).

        Args:
            output: Something with ``image`` and ``text``, ``image_embeds`` and ``text_embeds``, or ``image_features``
                and ``text_features``, and perhaps ``target``; or with two parts (B, D), the picture's first. One text
                (1, D) goes with every picture.

        Raises:
            InputError: it has no embeddings of both, or their shapes differ.
        """
        found = image_and_text(output)
        if found is None:
            raise InputError(
                "score 'image-text' needs an embedding of the picture and one of the text (an output with .image and "
                ".text, .image_embeds and .text_embeds, or .image_features and .text_features); this model gives none: "
                "use its default score, or a callable that gives one number a sample"
            )
        image, text = (part_of(output, key) for key in found)
        words = unit(embedding_of(text, "the text embedding"))
        score = _cosine(image, words, "the image embedding")
        target = field(output, "target")
        return score if not isinstance(target, Tensor) else score + _cosine(target, words, "the target embedding")


@dataclass(frozen=True)
class MatchLogit:
    """The logit for "picture and text match", read from both together; a target picture's is added to it."""

    @property
    def name(self) -> str:
        """``match``."""
        return "match"

    def __call__(self, output: Any) -> Tensor:
        """Give (B,).

        Args:
            output: Something with ``match`` (B,), and perhaps ``target_match``; or with ``itm_score`` (B, 2).

        Raises:
            InputError: the model has no such logit.
        """
        match, logits = field(output, "match"), matching_logits(output)
        if not isinstance(match, Tensor) and logits is not None:
            match = logits[:, 1]
        if not isinstance(match, Tensor):
            raise InputError(
                "score 'match': this model gives no match logit: use its default score, or a callable that gives one "
                "number a sample"
            )
        target = field(output, "target_match")
        return match.float() if not isinstance(target, Tensor) else match.float() + target.float()


@dataclass(frozen=True, eq=False)
class AnswerLikelihood:
    """The log-likelihood of an answer: ``s = sum_i log p(token_i | picture, what stands before it)``, at most 0.

    Attributes:
        labels: (B, L) int64, the ids of the tokens that are asked for, at their own places in the model's input, and
            -100 elsewhere, as training has them. None takes the ``labels`` that the output carries, with
            ``logits`` that are as long.
        tokens: Which of the tokens asked for count, by their index among them; None for all.
    """

    labels: Tensor | None = None
    tokens: Sequence[int] | None = None

    @property
    def name(self) -> str:
        """``answer``."""
        return "answer"

    def __call__(self, output: Any) -> Tensor:
        """Give (B,).

        Args:
            output: Something with ``logits`` (B, L, V): at each place, of the token that follows.

        Raises:
            InputError: there are no logits or no labels, their shapes do not fit, or a sample has no token that counts.
        """
        logits = field(output, "logits")
        labels = self.labels if self.labels is not None else field(output, "labels")
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
        asked = labels[:, 1:].to(logits.device)
        counts = asked >= 0
        if self.tokens is not None:
            index = counts.cumsum(1) - 1
            counts = counts & torch.isin(index, torch.tensor(list(self.tokens), device=index.device))
        if not bool(counts.any(1).all()):
            raise InputError("score 'answer': a sample has no token that counts: check labels and tokens")
        rows, places = counts.nonzero(as_tuple=True)  # only these places: a vocabulary is large
        of_tokens = logits[rows, places].float().log_softmax(-1).gather(1, asked[rows, places, None])[:, 0]
        return of_tokens.new_zeros(len(logits)).index_add(0, rows, of_tokens)


def _cosine(image: Tensor, words: Tensor, what: str) -> Tensor:
    picture = unit(embedding_of(image, what))
    if words.shape not in {picture.shape, (1, picture.shape[1])}:
        raise InputError(
            f"score 'image-text': {what} has shape {tuple(picture.shape)}, the text's {tuple(words.shape)}: give one "
            "text a picture"
        )
    return (picture * words.to(picture)).sum(-1)
