"""Image-text models of transformers as they are."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.composers.huggingface.composers import composer_class as composer_class
    from mmgrad_explain.composers.huggingface.families import FAMILIES as FAMILIES

__getattr__, __dir__ = door(__name__)
