"""Vision-language models of transformers that answer in words."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.composers.generative.answer_parts import EACH_WORD as EACH_WORD
    from mmgrad_explain.composers.generative.answer_parts import AnswerParts as AnswerParts
    from mmgrad_explain.composers.generative.answer_parts import Parts as Parts
    from mmgrad_explain.composers.generative.answer_parts import place_of_part as place_of_part
    from mmgrad_explain.composers.generative.answer_parts import words_of as words_of
    from mmgrad_explain.composers.generative.composer import GenerativeComposer as GenerativeComposer
    from mmgrad_explain.composers.generative.family import GenerativeCheckpoint as GenerativeCheckpoint
    from mmgrad_explain.composers.generative.family import GenerativeFamily as GenerativeFamily
    from mmgrad_explain.composers.generative.family import generative_families as generative_families
    from mmgrad_explain.composers.generative.outputs import GenerativeOutput as GenerativeOutput
    from mmgrad_explain.composers.generative.processor import GenerativeProcessor as GenerativeProcessor

__getattr__, __dir__ = door(__name__)
