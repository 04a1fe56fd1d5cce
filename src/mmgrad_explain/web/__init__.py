"""The page: try a model in the browser, by maps on images and by searches in a gallery."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.web.limits import Limits as Limits
    from mmgrad_explain.web.server import running as running
    from mmgrad_explain.web.server import serve as serve

__getattr__, __dir__ = door(__name__)
