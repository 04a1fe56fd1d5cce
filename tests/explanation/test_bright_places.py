"""The bright places of a map, measured on the pixels of the image."""

import pytest
import torch

from mmgrad_explain.explanation import Explanation
from mmgrad_explain.explanation.bright_places import find_bright_places
from mmgrad_explain.images.placement import Placement


def explain_grid(grid, **known):
    """An explanation with this map, which covers its own cells."""
    grid = torch.as_tensor(grid, dtype=torch.float32)[None]
    facts = {
        "calls": (grid.clamp(min=0),),
        "score": torch.tensor([0.25]),
        "score_name": "image-text",
        "method": "gradcam",
        "layers": {"body": [grid]},
        "signed": {"body": [grid]},
        "layouts": {"body": ("nchw",)},
        "flat": torch.tensor([False]),
        "clipped": torch.tensor([False]),
    }
    return Explanation(**(facts | known))


def test_regions_and_what_lies_around_them():
    grid = torch.zeros(20, 20)
    grid[2, 2], grid[2, 17], grid[4, 4], grid[12, 9] = 1.0, 0.5, 0.3, 0.2
    places = find_bright_places(explain_grid(grid))
    assert places.size == (20, 20)
    assert [region.box for region in places.regions] == [(2, 2, 3, 3), (17, 2, 18, 3)]
    assert places.reach == 2, "a tenth of the longer side"
    assert places.around == pytest.approx(1.8 / 2.0)
    assert places.around_first == pytest.approx(1.3 / 2.0)
    assert places.reason == ""


def test_why_a_map_is_dark():
    margin = Placement((20, 60), (60, 60), (1.0, 1.0), (20.0, 0.0))
    above = torch.zeros(6, 6)
    above[0, 2] = 1
    for reason, explanation in {
        "empty": explain_grid(-torch.ones(2, 3) - torch.eye(2, 3)),
        "flat": explain_grid(torch.ones(2, 3)),
        "outside": explain_grid(above, placements=(margin,)),
    }.items():
        places = find_bright_places(explanation)
        assert (places.regions, places.around, places.reason) == ((), 0.0, reason)
