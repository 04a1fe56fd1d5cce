"""Triplets as arrays and tensors for a step."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.data.batches.scenes import scene_batch as scene_batch

__getattr__, __dir__ = door(__name__)
