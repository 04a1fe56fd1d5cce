"""Edits of photographs, given masks of their objects."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.data.edits.masks import grown as grown
    from mmgrad_explain.data.edits.operations import apply_edit as apply_edit
    from mmgrad_explain.data.edits.operations import pick_detail as pick_detail
    from mmgrad_explain.data.edits.text import edit_sentence as edit_sentence
    from mmgrad_explain.data.edits.text import edit_vocabulary as edit_vocabulary

__getattr__, __dir__ = door(__name__)
