"""Contrastive and matching image-text models of transformers as they are."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.composers.huggingface.composer import HuggingFaceComposer as HuggingFaceComposer
    from mmgrad_explain.composers.huggingface.family import ContrastiveCheckpoint as ContrastiveCheckpoint
    from mmgrad_explain.composers.huggingface.family import ContrastiveFamily as ContrastiveFamily
    from mmgrad_explain.composers.huggingface.family import contrastive_families as contrastive_families
    from mmgrad_explain.composers.huggingface.joint import JointComposer as JointComposer
    from mmgrad_explain.composers.huggingface.joint import JointOutput as JointOutput
    from mmgrad_explain.composers.huggingface.processor import HuggingFaceProcessor as HuggingFaceProcessor
    from mmgrad_explain.composers.huggingface.vision_text import VisionTextComposer as VisionTextComposer

__getattr__, __dir__ = door(__name__)
