"""Scores: what the gradient is taken of, one number a sample computed from the model's output."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.attention.scores.base import CallableScore as CallableScore
    from mmgrad_explain.attention.scores.base import NamedScore as NamedScore
    from mmgrad_explain.attention.scores.base import Score as Score
    from mmgrad_explain.attention.scores.embedding import PairScore as PairScore
    from mmgrad_explain.attention.scores.embedding import Similarity as Similarity
    from mmgrad_explain.attention.scores.embedding import TextShift as TextShift
    from mmgrad_explain.attention.scores.guess import guess_score as guess_score
    from mmgrad_explain.attention.scores.matching import AnswerLikelihood as AnswerLikelihood
    from mmgrad_explain.attention.scores.matching import ImageTextCosine as ImageTextCosine
    from mmgrad_explain.attention.scores.matching import MatchLogit as MatchLogit
    from mmgrad_explain.attention.scores.named import SCORES as SCORES
    from mmgrad_explain.attention.scores.named import ensure_score as ensure_score
    from mmgrad_explain.attention.scores.outputs import as_tensor as as_tensor

__getattr__, __dir__ = door(__name__)
