"""The result of the method: maps with their images and texts, read, drawn, described in words and saved."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.explanation.comparison import ComparedMap as ComparedMap
    from mmgrad_explain.explanation.comparison import Comparison as Comparison
    from mmgrad_explain.explanation.fusion import FUSES as FUSES
    from mmgrad_explain.explanation.map_check import MapCheck as MapCheck
    from mmgrad_explain.explanation.phrases import PhraseMaps as PhraseMaps
    from mmgrad_explain.explanation.phrases import split_phrases as split_phrases
    from mmgrad_explain.explanation.regions import Region as Region
    from mmgrad_explain.explanation.result import Explanation as Explanation
    from mmgrad_explain.explanation.warning_marks import mark_of as mark_of
    from mmgrad_explain.explanation.words import Word as Word

__getattr__, __dir__ = door(__name__)
