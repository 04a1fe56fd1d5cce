"""Layouts: what they rearrange, and what they refuse."""

import pytest
import torch

from mmgrad_explain.attention import Layout, to_grid
from mmgrad_explain.attention.layouts.layout import ensure_layout, to_grid_if_it_fits
from mmgrad_explain.errors import InputError


class TestToGrid:
    def test_a_marked_place_stays_where_it_is(self):
        grid = torch.zeros(2, 3, 4, 5)
        grid[1, 2, 3, 1] = 1
        assert torch.equal(to_grid(grid, Layout("nchw")), grid)
        assert torch.equal(to_grid(grid.permute(0, 2, 3, 1), Layout("nhwc")), grid)
        tokens = grid.flatten(2).transpose(1, 2)
        padded = torch.cat([torch.ones(2, 2, 3), tokens, torch.ones(2, 4, 3)], 1)
        assert torch.equal(to_grid(padded, Layout("tokens", (4, 5), 2)), grid)
        assert torch.equal(to_grid(tokens, lambda x: x.transpose(1, 2).unflatten(2, (4, 5))), grid)

    @pytest.mark.parametrize(
        ("shape", "layout", "message"),
        [
            ((2, 3, 4), Layout("nchw"), r"'nchw' does not fit an output of shape \(2, 3, 4\)"),
            ((2, 3, 4, 5), Layout("tokens", (2, 2), 0), r"'tokens' does not fit an output of shape \(2, 3, 4, 5\)"),
            (
                (2, 10, 4),
                Layout("tokens", (3, 3), 2),
                "2 prefix tokens and a grid of 3 x 3 are more than the 10 tokens",
            ),
            ((2, 10, 4), Layout("tokens"), "tokens need both grid and prefix"),
            ((2, 10, 4), lambda x: x, r"the callable must give \(B, K, h, w\), not \(2, 10, 4\)"),
            ((2, 10, 4), lambda x: None, r"must give \(B, K, h, w\), not NoneType"),
        ],
    )
    def test_misfits(self, shape, layout, message):
        with pytest.raises(InputError, match=message):
            to_grid(torch.zeros(shape), layout)


class TestLayout:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("hwc",), "kind must be 'nchw', 'nhwc' or 'tokens', not 'hwc'"),
            (("tokens", (0, 3)), r"grid must be \(h, w\), both at least 1, not \(0, 3\)"),
            (("tokens", (3, 3), -1), "prefix must not be negative, got -1"),
        ],
    )
    def test_impossible(self, arguments, message):
        with pytest.raises(InputError, match=message):
            Layout(*arguments)

    def test_ensure(self):
        assert ensure_layout("nhwc") == Layout("nhwc")
        assert ensure_layout(None) is None
        layout = Layout("tokens", (2, 3))
        assert ensure_layout(layout) is layout
        with pytest.raises(InputError, match="there is no 'nwhc'; known: nchw, nhwc, tokens"):
            ensure_layout("nwhc")
        with pytest.raises(TypeError, match="layout must be a name, a Layout, Cells or a callable, not tuple"):
            ensure_layout((2, 3))


class Stubborn:
    def __call__(self, x):
        raise InputError("not this layer")


def test_to_grid_if_it_fits():
    x = torch.arange(24.0).view(1, 6, 4)
    layout = Layout("tokens", (2, 2), 1)
    assert torch.equal(to_grid_if_it_fits(x, layout), to_grid(x, layout))
    for misfit in (Layout("nchw"), Layout("tokens", (3, 3), 0), Layout("tokens"), lambda x: x, Stubborn()):
        assert to_grid_if_it_fits(x, misfit) is None
