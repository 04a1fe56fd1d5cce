"""The method: record a layer, differentiate a score, lay the gradient on the image, and weigh it into a map.

It works on any ``torch.nn.Module`` and knows nothing of composers, data or training.
"""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.attention.calls.many_texts import EncodedTexts as EncodedTexts
    from mmgrad_explain.attention.layers.candidate import Candidate as Candidate
    from mmgrad_explain.attention.layers.candidates import candidate_layers as candidate_layers
    from mmgrad_explain.attention.layouts.detection import infer_layout as infer_layout
    from mmgrad_explain.attention.layouts.layout import Cells as Cells
    from mmgrad_explain.attention.layouts.layout import Layout as Layout
    from mmgrad_explain.attention.layouts.layout import describe_layout as describe_layout
    from mmgrad_explain.attention.layouts.layout import to_grid as to_grid
    from mmgrad_explain.attention.methods.base import Method as Method
    from mmgrad_explain.attention.methods.base import MethodMaps as MethodMaps
    from mmgrad_explain.attention.methods.base import Needs as Needs
    from mmgrad_explain.attention.methods.named import METHODS as METHODS
    from mmgrad_explain.attention.methods.named import ensure_method as ensure_method
    from mmgrad_explain.attention.methods.run import Run as Run
    from mmgrad_explain.attention.mmgrad import MMGrad as MMGrad
    from mmgrad_explain.attention.mmgrad import MultiModalGradAttention as MultiModalGradAttention
    from mmgrad_explain.attention.prepared_maps import PreparedMaps as PreparedMaps
    from mmgrad_explain.attention.prepared_maps import attend_prepared as attend_prepared
    from mmgrad_explain.attention.prepared_maps import prepare_maps as prepare_maps
    from mmgrad_explain.attention.recording.capture import Capture as Capture
    from mmgrad_explain.attention.recording.records import Record as Record
    from mmgrad_explain.attention.scores.base import Score as Score
    from mmgrad_explain.attention.scores.embedding import PairScore as PairScore
    from mmgrad_explain.attention.scores.embedding import Similarity as Similarity
    from mmgrad_explain.attention.scores.embedding import TextShift as TextShift
    from mmgrad_explain.attention.scores.matching import AnswerLikelihood as AnswerLikelihood
    from mmgrad_explain.attention.scores.matching import ImageTextCosine as ImageTextCosine
    from mmgrad_explain.attention.scores.matching import MatchLogit as MatchLogit
    from mmgrad_explain.attention.scores.named import SCORES as SCORES
    from mmgrad_explain.attention.scores.named import ensure_score as ensure_score
    from mmgrad_explain.attention.scores.outputs import as_tensor as as_tensor
    from mmgrad_explain.attention.weighting import WEIGHTINGS as WEIGHTINGS
    from mmgrad_explain.attention.weighting import ensure_weighting as ensure_weighting

__getattr__, __dir__ = door(__name__)
