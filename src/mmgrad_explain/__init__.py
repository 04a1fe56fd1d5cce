"""Text-conditioned gradient attention maps for vision-language models.

The names below are loaded when first used: importing the package takes milliseconds and does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door
from mmgrad_explain._version import __version__ as __version__

if TYPE_CHECKING:
    from mmgrad_explain.api import answer_maps as answer_maps
    from mmgrad_explain.api import explain as explain
    from mmgrad_explain.api import phrase_maps as phrase_maps
    from mmgrad_explain.attention.calibration.result import Calibration as Calibration
    from mmgrad_explain.attention.calibration.search import calibrate as calibrate
    from mmgrad_explain.attention.captum import MMGradAttribution as MMGradAttribution
    from mmgrad_explain.attention.layers.candidates import candidate_layers as candidate_layers
    from mmgrad_explain.attention.layouts.layout import Cells as Cells
    from mmgrad_explain.attention.layouts.layout import Layout as Layout
    from mmgrad_explain.attention.mmgrad import MMGrad as MMGrad
    from mmgrad_explain.attention.mmgrad import MultiModalGradAttention as MultiModalGradAttention
    from mmgrad_explain.attention.recording.capture import Capture as Capture
    from mmgrad_explain.attention.scores.embedding import PairScore as PairScore
    from mmgrad_explain.attention.scores.embedding import Similarity as Similarity
    from mmgrad_explain.attention.scores.embedding import TextShift as TextShift
    from mmgrad_explain.attention.scores.matching import AnswerLikelihood as AnswerLikelihood
    from mmgrad_explain.attention.scores.matching import ImageTextCosine as ImageTextCosine
    from mmgrad_explain.attention.scores.matching import MatchLogit as MatchLogit
    from mmgrad_explain.composers.base import Composer as Composer
    from mmgrad_explain.composers.fusion.composer import FusionComposer as FusionComposer
    from mmgrad_explain.composers.load import load_composer as load_composer
    from mmgrad_explain.composers.towers.composer import TwoTowerComposer as TwoTowerComposer
    from mmgrad_explain.errors import CaptureError as CaptureError
    from mmgrad_explain.errors import GradientError as GradientError
    from mmgrad_explain.errors import HubUnreachableError as HubUnreachableError
    from mmgrad_explain.errors import InputError as InputError
    from mmgrad_explain.errors import MMGradError as MMGradError
    from mmgrad_explain.errors import MMGradWarning as MMGradWarning
    from mmgrad_explain.errors import OutputExistsError as OutputExistsError
    from mmgrad_explain.explanation.comparison import Comparison as Comparison
    from mmgrad_explain.explanation.map_check import MapCheck as MapCheck
    from mmgrad_explain.explanation.phrases import PhraseMaps as PhraseMaps
    from mmgrad_explain.explanation.result import Explanation as Explanation
    from mmgrad_explain.explanation.words import Word as Word
    from mmgrad_explain.gallery.gallery import Gallery as Gallery
    from mmgrad_explain.grounding.loss import AttentionGroundingLoss as AttentionGroundingLoss
    from mmgrad_explain.grounding.targets import grounding_targets as grounding_targets
    from mmgrad_explain.images.provenance import read_provenance as read_provenance
    from mmgrad_explain.judging import compare as compare
    from mmgrad_explain.judging import evaluate_maps as evaluate_maps
    from mmgrad_explain.notes import Note as Note

__getattr__, __dir__ = door(__name__)
