"""The loss of a training step: retrieval, grounding, label heads, and their options."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.training.objective.grounded_objective import GroundedObjective as GroundedObjective
    from mmgrad_explain.training.objective.grounded_objective import Losses as Losses
    from mmgrad_explain.training.objective.label_heads import LabelHeads as LabelHeads
    from mmgrad_explain.training.objective.options import DenseOptions as DenseOptions
    from mmgrad_explain.training.objective.options import GroundingOptions as GroundingOptions
    from mmgrad_explain.training.objective.options import ObjectiveOptions as ObjectiveOptions
    from mmgrad_explain.training.objective.options import RetrievalOptions as RetrievalOptions

__getattr__, __dir__ = door(__name__)
