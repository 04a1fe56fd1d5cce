"""Where a text asks for a change, without annotators: masks for composed-retrieval sets, made once and kept on disk."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.data.masks.cache import MaskCache as MaskCache
    from mmgrad_explain.data.masks.cache import load_masks as load_masks
    from mmgrad_explain.data.masks.cache import make_masks as make_masks
    from mmgrad_explain.data.masks.foreground import mark_foreground as mark_foreground
    from mmgrad_explain.data.masks.parsed_things import thing_finder as thing_finder
    from mmgrad_explain.data.masks.pixel_difference import mark_difference as mark_difference
    from mmgrad_explain.data.masks.settings import MASKS as MASKS
    from mmgrad_explain.data.masks.settings import MaskSettings as MaskSettings
    from mmgrad_explain.data.masks.sheet import draw_mask_sheet as draw_mask_sheet
    from mmgrad_explain.data.masks.spoken_things import find_things as find_things

__getattr__, __dir__ = door(__name__)
