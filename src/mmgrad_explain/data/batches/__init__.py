"""Images with their edits as the arrays and tensors of a training step."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.data.batches.batch import IGNORE as IGNORE
    from mmgrad_explain.data.batches.batch import ImageBatch as ImageBatch
    from mmgrad_explain.data.batches.batch import TripletBatch as TripletBatch
    from mmgrad_explain.data.batches.batch import encode_batch as encode_batch
    from mmgrad_explain.data.batches.batch import join_batches as join_batches
    from mmgrad_explain.data.batches.batch import take_images as take_images
    from mmgrad_explain.data.batches.facts import Facts as Facts
    from mmgrad_explain.data.batches.facts import match_facts as match_facts
    from mmgrad_explain.data.batches.scenes import SceneBatch as SceneBatch
    from mmgrad_explain.data.batches.scenes import scene_batch as scene_batch

__getattr__, __dir__ = door(__name__)
