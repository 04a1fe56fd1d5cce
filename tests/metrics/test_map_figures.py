"""The list of map figures, and the functions that read it."""

import torch

from mmgrad_explain.metrics.map_figures import CONTRAST, MAP_FIGURES, figure_names, measure_maps


def test_each_name_once():
    names = [figure.name for figure in MAP_FIGURES]
    assert len(set(names)) == len(names)
    assert figure_names() == ("pointing", "energy", "iou", "dead")
    assert figure_names(full_size=True) == ("pointing", "energy", "iou", "auc", "dead")
    assert CONTRAST == "contrast"


def test_a_map_that_points_and_a_dead_one():
    maps, masks = torch.zeros(2, 8, 8), torch.zeros(2, 8, 8, dtype=torch.bool)
    maps[0, 5, 5], masks[:, 4:, 4:] = 1.0, True
    found = measure_maps(maps, masks)
    assert tuple(found) == figure_names()
    assert found["pointing"].tolist() == [1.0, 0.0]
    assert found["energy"].tolist() == [1.0, 0.0]
    assert found["iou"].tolist() == [1 / 16, 0.0]
    assert found["dead"].tolist() == [0.0, 1.0]
    assert measure_maps(maps, masks, full_size=True)["auc"].tolist() == [0.53125, 0.5]
