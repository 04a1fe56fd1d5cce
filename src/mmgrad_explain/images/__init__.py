"""Images: read, fitted to a model's input, drawn with maps on them, and saved."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.images.colormaps import COLORMAPS as COLORMAPS
    from mmgrad_explain.images.contours import contour as contour
    from mmgrad_explain.images.marks import Mark as Mark
    from mmgrad_explain.images.marks import add_mark as add_mark
    from mmgrad_explain.images.overlay import blend as blend
    from mmgrad_explain.images.overlay import colorize as colorize
    from mmgrad_explain.images.panels import colorbar as colorbar
    from mmgrad_explain.images.panels import panel as panel
    from mmgrad_explain.images.placement import Placement as Placement
    from mmgrad_explain.images.placement import fit as fit
    from mmgrad_explain.images.processor_geometry import place_by_processor as place_by_processor
    from mmgrad_explain.images.provenance import attach_provenance as attach_provenance
    from mmgrad_explain.images.provenance import read_provenance as read_provenance
    from mmgrad_explain.images.ratio_padding import pad_to_ratio as pad_to_ratio
    from mmgrad_explain.images.ratio_padding import place_padded as place_padded
    from mmgrad_explain.images.reading import MAX_PIXELS as MAX_PIXELS
    from mmgrad_explain.images.reading import open_image as open_image
    from mmgrad_explain.images.reading_notes import notes_of_image as notes_of_image
    from mmgrad_explain.images.saving import safe_save as safe_save
    from mmgrad_explain.images.transform_geometry import place_by_transform as place_by_transform
    from mmgrad_explain.images.word_shading import add_words as add_words
    from mmgrad_explain.images.word_shading import word_strip as word_strip

__getattr__, __dir__ = door(__name__)
