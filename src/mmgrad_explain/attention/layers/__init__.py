"""Find the layers that a map can be made at, and choose one of them."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.attention.layers.candidate import Candidate as Candidate
    from mmgrad_explain.attention.layers.candidates import candidate_layers as candidate_layers
    from mmgrad_explain.attention.layers.candidates import find_layer as find_layer

__getattr__, __dir__ = door(__name__)
