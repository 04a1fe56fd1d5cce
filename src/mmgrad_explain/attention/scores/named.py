"""The scores by name."""

from collections.abc import Callable
from typing import Any

import torch

from mmgrad_explain._system.choices import check_callable, check_choice, name_of
from mmgrad_explain.attention.scores.base import CallableScore, NamedScore, Score
from mmgrad_explain.attention.scores.embedding import EMBEDDING_SCORES
from mmgrad_explain.attention.scores.matching import MATCHING_SCORES

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
        check_choice("score", score, SCORES, also="any callable")
        return SCORES[score]()
    if isinstance(score, torch.nn.Module) or not isinstance(score, Score):
        check_callable("score", score, takes="the model's output")
        return CallableScore(score, name_of(score))
    return score
