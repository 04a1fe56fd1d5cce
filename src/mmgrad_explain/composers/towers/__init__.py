"""A vision tower of timm beside a text tower."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.composers.towers.composer import TwoTowerComposer as TwoTowerComposer
    from mmgrad_explain.composers.towers.timm_layers import GridLayer as GridLayer
    from mmgrad_explain.composers.towers.timm_layers import find_grid_layer as find_grid_layer

__getattr__, __dir__ = door(__name__)
