"""Data sets of composed image retrieval."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.data.cir.formats import read_cir as read_cir

__getattr__, __dir__ = door(__name__)
