"""Generated scenes of coloured shapes, edits of them with exact masks, and triplet sets of them."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.data.scenes.build import build_scenes as build_scenes
    from mmgrad_explain.data.scenes.context import draw_context_mask as draw_context_mask
    from mmgrad_explain.data.scenes.contrast import find_contrast_partners as find_contrast_partners
    from mmgrad_explain.data.scenes.drawing import COLORS as COLORS
    from mmgrad_explain.data.scenes.drawing import SHAPES as SHAPES
    from mmgrad_explain.data.scenes.options import HELD_OUT_PAIRS as HELD_OUT_PAIRS
    from mmgrad_explain.data.scenes.options import SceneOptions as SceneOptions
    from mmgrad_explain.data.scenes.planning import EDITS as EDITS
    from mmgrad_explain.data.scenes.scene import LABELS as LABELS
    from mmgrad_explain.data.scenes.scene import Scene as Scene
    from mmgrad_explain.data.scenes.scene import SceneTriplet as SceneTriplet
    from mmgrad_explain.data.scenes.scene import generate_scene as generate_scene
    from mmgrad_explain.data.scenes.scene import scenes as scenes
    from mmgrad_explain.data.scenes.set_options import SceneSetOptions as SceneSetOptions
    from mmgrad_explain.data.scenes.text import VOCABULARY as VOCABULARY

__getattr__, __dir__ = door(__name__)
