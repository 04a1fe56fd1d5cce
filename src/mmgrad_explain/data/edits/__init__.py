"""Edits of one object of a photograph, the sentences that ask for them, and triplet sets of them."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.data.edits.build import build_edits as build_edits
    from mmgrad_explain.data.edits.colour_names import judge_colours as judge_colours
    from mmgrad_explain.data.edits.colour_names import measure_colour_shares as measure_colour_shares
    from mmgrad_explain.data.edits.colours import COLOURS as COLOURS
    from mmgrad_explain.data.edits.masks import dilate_mask as dilate_mask
    from mmgrad_explain.data.edits.operations import PATTERNS as PATTERNS
    from mmgrad_explain.data.edits.operations import apply_edit as apply_edit
    from mmgrad_explain.data.edits.operations import pick_detail as pick_detail
    from mmgrad_explain.data.edits.options import EDIT_KINDS as EDIT_KINDS
    from mmgrad_explain.data.edits.options import EditOptions as EditOptions
    from mmgrad_explain.data.edits.options import OutputOptions as OutputOptions
    from mmgrad_explain.data.edits.plan import measure_change as measure_change
    from mmgrad_explain.data.edits.text import edit_sentence as edit_sentence
    from mmgrad_explain.data.edits.text import edit_vocabulary as edit_vocabulary

__getattr__, __dir__ = door(__name__)
