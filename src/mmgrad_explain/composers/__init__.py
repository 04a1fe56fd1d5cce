"""Vision-language models behind one small interface."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.composers.base import Composer as Composer
    from mmgrad_explain.composers.fusion.composer import FusionComposer as FusionComposer
    from mmgrad_explain.composers.load import load_composer as load_composer
    from mmgrad_explain.composers.towers.composer import TwoTowerComposer as TwoTowerComposer

__getattr__, __dir__ = door(__name__)
