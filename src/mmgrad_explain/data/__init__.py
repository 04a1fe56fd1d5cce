"""Triplet sets on disk: read, write, build and show them; masks from detections and pseudo masks."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.data.contact_sheet import draw_contact_sheet as draw_contact_sheet
    from mmgrad_explain.data.detections import Detection as Detection
    from mmgrad_explain.data.detections import Detections as Detections
    from mmgrad_explain.data.detections import detection_masks as detection_masks
    from mmgrad_explain.data.detections import read_detections as read_detections
    from mmgrad_explain.data.pseudo_masks import PseudoMasks as PseudoMasks
    from mmgrad_explain.data.pseudo_masks import ReferringSegmenter as ReferringSegmenter
    from mmgrad_explain.data.pseudo_masks import difference_masks as difference_masks
    from mmgrad_explain.data.set_builder import BuiltSet as BuiltSet
    from mmgrad_explain.data.triplets import Triplet as Triplet
    from mmgrad_explain.data.triplets import read_pixels as read_pixels
    from mmgrad_explain.data.triplets import read_triplets as read_triplets
    from mmgrad_explain.data.triplets import write_triplets as write_triplets

__getattr__, __dir__ = door(__name__)
