"""Vision-language models that answer in words."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.composers.generative.families import FAMILIES as FAMILIES

__getattr__, __dir__ = door(__name__)
