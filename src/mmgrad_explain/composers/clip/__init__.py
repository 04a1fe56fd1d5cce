"""A CLIP of transformers with a combiner for composed image retrieval."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.composers.clip.composer import ClipComposer as ClipComposer
    from mmgrad_explain.composers.clip.composer import Combiner as Combiner
    from mmgrad_explain.composers.clip.composer import CombinerConfig as CombinerConfig
    from mmgrad_explain.composers.clip.processor import ClipProcessor as ClipProcessor

__getattr__, __dir__ = door(__name__)
