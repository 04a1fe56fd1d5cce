"""BLIP-2 for composed image retrieval by its own Q-Former."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.composers.sprc.composer import SprcComposer as SprcComposer

__getattr__, __dir__ = door(__name__)
