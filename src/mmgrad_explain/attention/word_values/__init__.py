"""What each word of a text contributes to the score: left out one by one, or by gradient x input."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.attention.word_values.pieces import pieces_of_text as pieces_of_text
    from mmgrad_explain.attention.word_values.request import WORD_WAYS as WORD_WAYS

__getattr__, __dir__ = door(__name__)
