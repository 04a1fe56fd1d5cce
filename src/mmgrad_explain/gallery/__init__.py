"""A collection of images to search with an image and a sentence; each hit has a map."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.gallery.contact_sheet import RetrievalMaps as RetrievalMaps
    from mmgrad_explain.gallery.gallery import Gallery as Gallery
    from mmgrad_explain.gallery.gallery import Hit as Hit
    from mmgrad_explain.gallery.gallery import Retrieval as Retrieval
    from mmgrad_explain.gallery.indexing import IndexReport as IndexReport
    from mmgrad_explain.gallery.session import Session as Session

__getattr__, __dir__ = door(__name__)
