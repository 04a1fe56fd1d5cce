"""The output of a layer is replaced by one whose tensors are clones, whatever holds them."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.nn import functional

from mmgrad_explain.attention import MMGrad
from mmgrad_explain.attention.recording.layer_taps import LayerTap, enable_grad
from mmgrad_explain.errors import CaptureError, GradientError


class Pair(NamedTuple):
    name: Any
    pixels: Any


def tap(part="", **options):
    options = {"force_grad": False, "min_dims": 3, "record_clone": False, **options}
    return LayerTap({"layer": nn.Identity()}, {"layer": part}, **options)


class TestOutputsThatAreNotTensors:
    @pytest.mark.parametrize("kind", ["tuple", "list", "dict", "dataclass", "named tuple", "model output", "nested"])
    def test_unwrapped_and_rebuilt(self, zoo, x, kind):
        from transformers.modeling_outputs import BaseModelOutput

        @dataclass
        class Output:
            number: int
            grid: torch.Tensor

        mask = torch.zeros(2, dtype=torch.int64)
        wrap, unwrap = {
            "tuple": (lambda grid: (mask, grid), lambda out: out[1]),
            "list": (lambda grid: [None, grid], lambda out: out[1]),
            "dict": (lambda grid: {"mask": mask, "grid": grid}, lambda out: out["grid"]),
            "dataclass": (lambda grid: Output(3, grid), lambda out: out.grid),
            "named tuple": (lambda grid: Pair(mask, grid), lambda out: out.pixels),
            "model output": (lambda grid: BaseModelOutput(last_hidden_state=grid), lambda out: out.last_hidden_state),
            "nested": (lambda grid: ([{"grid": (grid,)}], mask), lambda out: out[0][0]["grid"][0]),
        }[kind]

        class Wrapping(nn.Module):
            def __init__(self, inner):
                super().__init__()
                self.inner = inner

            def forward(self, x):
                self.given = wrap(self.inner(x))
                return self.given

        class Model(zoo.CNN):
            def __init__(self):
                super().__init__()
                self.late = Wrapping(self.late)

            def forward(self, x):
                out = self.late(functional.gelu(self.norm(self.early(x))))
                assert type(out) is type(self.late.given)
                return self.head(functional.gelu(unwrap(out)).mean((2, 3)))

        made = MMGrad(zoo.build(Model), "late", zoo.class_score(), method="gradcam")(x).maps
        plain = zoo.build(zoo.CNN)
        (expected,) = zoo.plain_maps(plain, "late", lambda grid: grid, zoo.class_score(), lambda: plain(x))
        assert torch.allclose(made, expected, atol=1e-6)

    @pytest.mark.parametrize("given", [None, "words", torch.zeros(2, 3), (torch.zeros(2, 2, 2, dtype=torch.int64),)])
    def test_nothing_to_explain(self, zoo, x, given):
        class Odd(nn.Module):
            def forward(self, x):
                return given

        class Model(zoo.CNN):
            def __init__(self):
                super().__init__()
                self.odd = Odd()

            def forward(self, x):
                self.odd(x)
                return super().forward(x)

        with pytest.raises(CaptureError, match=rf"layer 'odd' returned {type(given).__name__} with .*: a map needs"):
            MMGrad(zoo.build(Model), "odd", zoo.class_score())(x)


class TestSplit:
    def test_the_layers_own_output_is_recorded_and_a_clone_is_passed_on(self):
        grid = torch.rand(1, 2, 3, 3, requires_grad=True) * 1
        recorded, passed_on = tap().split("layer", (grid, "words"))
        ((activation, clone),) = recorded.values()
        assert list(recorded) == ["[0]"]
        assert activation is grid
        assert passed_on[0] is clone
        assert passed_on[1] == "words"
        assert clone is not grid
        assert torch.equal(clone, grid)

    def test_an_output_without_a_graph_becomes_a_leaf(self):
        grid = torch.rand(1, 2, 3, 3)
        ((activation, clone),) = tap().split("layer", grid)[0].values()
        assert activation.is_leaf
        assert activation.requires_grad
        assert clone.requires_grad
        assert not grid.requires_grad

    def test_a_clone_is_recorded_where_the_layer_used_its_output_inside(self):
        grid = torch.rand(1, 2, 3, 3, requires_grad=True) * 1
        ((activation, clone),) = tap(record_clone=True).split("layer", grid)[0].values()
        assert activation is not grid
        assert clone is not activation
        clone.sum().backward(inputs=[activation])
        assert activation.grad.eq(1).all()

    def test_too_few_dimensions(self):
        assert tap().split("layer", torch.rand(4, 2)) is None
        assert list(tap(min_dims=2).split("layer", torch.rand(4, 2))[0]) == [""]

    @pytest.mark.parametrize(("part", "index"), [("[0]", 0), ("[1]", 1), ("[-1]", 1), ("[-2]", 0)])
    def test_one_part(self, part, index):
        output = [torch.rand(1, 2, 3, 3), torch.rand(1, 2, 3, 3)]
        recorded, passed_on = tap(part).split("layer", output)
        assert list(recorded) == [""]
        assert torch.equal(recorded[""][0], output[index])
        assert passed_on[index] is recorded[""][1]
        assert passed_on[1 - index] is output[1 - index]

    def test_no_such_part(self):
        with pytest.raises(CaptureError, match=r"layer 'layer' has no part \[2\]: it has \[0\], \[1\]"):
            tap("[2]").split("layer", [torch.rand(1, 2, 3, 3), torch.rand(1, 2, 3, 3)])
        with pytest.raises(CaptureError, match=r"has no part \[0\]: it gives one tensor; name the layer alone"):
            tap("[0]").split("layer", torch.rand(1, 2, 3, 3))


class TestRepeat:
    def test_hooks_live_as_long_as_the_block(self):
        layer = nn.Identity()
        with LayerTap({"layer": layer}, {"layer": ""}, False, 3, False).repeat():
            assert len(layer._forward_hooks) == 1
        assert not layer._forward_hooks

    def test_outside_of_a_backward_pass_nothing_is_replaced(self):
        layer, grid = nn.Identity(), torch.rand(1, 2, 3, 3)
        with LayerTap({"layer": layer}, {"layer": ""}, False, 3, False).repeat():
            assert layer(grid) is grid


class TestEnableGrad:
    def test_only_where_it_is_forced(self):
        with torch.no_grad():
            enable_grad("layer", force=False)
            assert not torch.is_grad_enabled()
            enable_grad("layer", force=True)
            assert torch.is_grad_enabled()

    def test_inference_mode_cannot_be_undone(self):
        with torch.inference_mode():
            enable_grad(None, force=True)  # the block may end before the layer runs
            with pytest.raises(GradientError, match=r"layer 'layer' runs inside a torch.inference_mode\(\) block"):
                enable_grad("layer", force=True)
