"""The scores by name."""

from collections.abc import Callable
from typing import Any

import torch

from mmgrad_explain.attention.scores.base import CallableScore, NamedScore, Score
from mmgrad_explain.attention.scores.embedding import EMBEDDING_SCORES
from mmgrad_explain.attention.scores.matching import MATCHING_SCORES
from mmgrad_explain.attention.weighting import name_of_callable
from mmgrad_explain.errors import InputError, did_you_mean

SCORES: dict[str, Callable[[], NamedScore]] = {**EMBEDDING_SCORES, **MATCHING_SCORES}
"""The scores by name.

:meta hide-value:
"""


def ensure_score(score: "str | Callable[[Any], Any]") -> Score:
    """Return the score for a name or a callable.

    Args:
        score: A name from ``SCORES``, a score, or any callable of the model's output.

    Raises:
        TypeError: ``score`` is neither a name nor a callable.
        InputError: there is no score of that name.
    """
    if isinstance(score, str):
        if score in SCORES:
            return SCORES[score]()
        hint = did_you_mean(score, SCORES)
        raise InputError(f"score: there is no {score!r}; {hint}Known: {', '.join(SCORES)}, or any callable")
    if isinstance(score, torch.nn.Module) or not isinstance(score, Score):
        if not callable(score):
            raise TypeError(f"score must be a name or a callable of the model's output, not {type(score).__name__}")
        return CallableScore(score, name_of_callable(score))
    return score
