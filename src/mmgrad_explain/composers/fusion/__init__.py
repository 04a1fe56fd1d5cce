"""Methods of composed image retrieval on top of two towers."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.composers.fusion.composer import FusionComposer as FusionComposer
    from mmgrad_explain.composers.fusion.methods import Fusion as Fusion
    from mmgrad_explain.composers.fusion.registry import METHODS as METHODS

__getattr__, __dir__ = door(__name__)
