"""A page to try the method on: its parts, none of which is imported before the page is asked for."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.web.limits import Limits as Limits
    from mmgrad_explain.web.server import running as running

__getattr__, __dir__ = door(__name__)
