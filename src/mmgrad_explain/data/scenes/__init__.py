"""Generated scenes with exact masks of every edit."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.data.scenes.options import SceneOptions as SceneOptions
    from mmgrad_explain.data.scenes.scene import LABELS as LABELS
    from mmgrad_explain.data.scenes.scene import scenes as scenes

__getattr__, __dir__ = door(__name__)
