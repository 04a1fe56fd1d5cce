"""Collections of images to search with an image and a text; each hit has a map."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.gallery.gallery import Gallery as Gallery
    from mmgrad_explain.gallery.indexing import IndexReport as IndexReport
    from mmgrad_explain.gallery.results import Hit as Hit
    from mmgrad_explain.gallery.results import Retrieval as Retrieval
    from mmgrad_explain.gallery.results import RetrievalMaps as RetrievalMaps
    from mmgrad_explain.gallery.session import Session as Session
    from mmgrad_explain.gallery.session import SessionHit as SessionHit
    from mmgrad_explain.gallery.session import SessionTurn as SessionTurn
    from mmgrad_explain.gallery.store import COLLECTION as COLLECTION
    from mmgrad_explain.gallery.store import INDEXES as INDEXES
    from mmgrad_explain.gallery.store import MOST_HITS as MOST_HITS

__getattr__, __dir__ = door(__name__)
