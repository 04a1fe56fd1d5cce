"""Planning the edits of a scene."""

import numpy as np

from mmgrad_explain.data.scenes import planning as scene_edits
from mmgrad_explain.data.scenes import scene as scenes
from mmgrad_explain.data.scenes.drawing import COLORS
from mmgrad_explain.data.scenes.options import SceneOptions


def test_crowded_scenes_give_way_to_others():
    rng = np.random.default_rng(0)
    stage = scene_edits.make_stage(rng, 32, tuple(COLORS), SceneOptions(objects=(12, 12)))
    assert len(scene_edits.plan_edits(rng, stage, 200)) < 200  # so many edits there are not
    scene, stage = scenes._generate(np.random.default_rng(1), 32, 16, options=SceneOptions(objects=(9, 9)))
    assert len(scene.triplets) == 16
    assert len(stage.objects) == 9


def test_no_third_color_no_recolouring():
    stage = scene_edits.make_stage(np.random.default_rng(0), 64, ("red", "green"), SceneOptions(objects=(2, 2)))
    assert {o.color for o in stage.objects} == {"red", "green"}
    assert scene_edits._recolour(np.random.default_rng(0), stage, stage.objects) is None
