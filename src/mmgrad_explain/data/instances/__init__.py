"""Photographs with object masks: readers of COCO and of index masks."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.data.instances.masks import decode_segmentation as decode_segmentation
    from mmgrad_explain.data.instances.readers import read_coco as read_coco
    from mmgrad_explain.data.instances.readers import read_index_masks as read_index_masks
    from mmgrad_explain.data.instances.records import Instance as Instance
    from mmgrad_explain.data.instances.records import InstanceSet as InstanceSet
    from mmgrad_explain.data.instances.records import Licence as Licence
    from mmgrad_explain.data.instances.records import Photo as Photo

__getattr__, __dir__ = door(__name__)
