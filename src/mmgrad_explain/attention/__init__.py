"""The method: record a layer, take a score's gradient, lay it on the picture's grid, weigh it, explain it."""

from mmgrad_explain.attention.candidates import Candidate as Candidate
from mmgrad_explain.attention.candidates import candidate_layers as candidate_layers
from mmgrad_explain.attention.capture import Capture as Capture
from mmgrad_explain.attention.layout import infer_layout as infer_layout
from mmgrad_explain.attention.matching import AnswerLikelihood as AnswerLikelihood
from mmgrad_explain.attention.matching import ImageTextCosine as ImageTextCosine
from mmgrad_explain.attention.matching import MatchLogit as MatchLogit
from mmgrad_explain.attention.mmgrad import MMGrad as MMGrad
from mmgrad_explain.attention.mmgrad import MultiModalGradAttention as MultiModalGradAttention
from mmgrad_explain.attention.outputs import as_tensor as as_tensor
from mmgrad_explain.attention.scores import SCORES as SCORES
from mmgrad_explain.attention.scores import PairScore as PairScore
from mmgrad_explain.attention.scores import Score as Score
from mmgrad_explain.attention.scores import Similarity as Similarity
from mmgrad_explain.attention.scores import TextShift as TextShift
from mmgrad_explain.attention.scores import ensure_score as ensure_score
from mmgrad_explain.attention.weighting import WEIGHTINGS as WEIGHTINGS
from mmgrad_explain.attention.weighting import ensure_weighting as ensure_weighting
from mmgrad_explain.attention.words import Word as Word
from mmgrad_explain.explanation.result import Explanation as Explanation
from mmgrad_explain.layouts import Cells as Cells
from mmgrad_explain.layouts import Layout as Layout
from mmgrad_explain.layouts import to_grid as to_grid
