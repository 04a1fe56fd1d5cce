"""Data sets of composed image retrieval: their readers by name, and what is wrong with a set."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.data.cir.dataset import CirSet as CirSet
    from mmgrad_explain.data.cir.dataset import CirTriplet as CirTriplet
    from mmgrad_explain.data.cir.dataset import Finding as Finding
    from mmgrad_explain.data.cir.dataset import ImageIndex as ImageIndex
    from mmgrad_explain.data.cir.formats import FORMATS as FORMATS
    from mmgrad_explain.data.cir.formats import Format as Format
    from mmgrad_explain.data.cir.formats import read_cir as read_cir
    from mmgrad_explain.data.cir.image_files import check_images as check_images

__getattr__, __dir__ = door(__name__)
