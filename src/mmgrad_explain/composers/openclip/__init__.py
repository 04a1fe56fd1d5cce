"""Models of open_clip as they are."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.composers.openclip.composer import OpenClipComposer as OpenClipComposer
    from mmgrad_explain.composers.openclip.processor import OpenClipProcessor as OpenClipProcessor

__getattr__, __dir__ = door(__name__)
