"""Compiled, traced, scripted, exported and quantized models, through every door."""

import copy

import pytest
import torch
from torch import nn

from mmgrad_explain import MMGrad, candidate_layers
from mmgrad_explain.errors import GradientError, InputError

pytestmark = [
    pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:torch"),
]


def score(output):
    return output.embedding[:, 0]


class TestCompiled:
    """``aot_eager`` and ``eager`` compile without a C++ compiler; what comes after is the same for every backend."""

    @pytest.mark.parametrize("how", ["whole", "in place", "forward", "parts", "parts in place", "a function"])
    def test_warm(self, zoo, model, image, ids, door, how):
        plain = copy.deepcopy(model)
        options = {"backend": "aot_eager"}
        compiled = model
        if how == "whole":
            compiled = torch.compile(model, **options)
        elif how == "in place":
            model.compile(**options)
        elif how == "forward":
            model.forward = torch.compile(model.forward, **options)
        elif how == "parts":
            model.tower, model.words = torch.compile(model.tower, **options), torch.compile(model.words, **options)
        elif how == "parts in place":
            model.tower.compile(**options)
        else:
            model.compose = torch.compile(model.compose, fullgraph=True, **options)
        with torch.no_grad():
            compiled(image.expand(3, -1, -1, -1), ids)
        zoo.check(door, compiled, plain, image, ids)

    def test_cold_with_a_mode_that_needs_a_compiler(self, zoo, model, image, ids, door):
        """Nothing is compiled to be explained."""
        compiled = torch.compile(model, mode="reduce-overhead")
        zoo.check(door, compiled, model, image, ids)

    def test_it_is_compiled_again_afterwards(self, model, image, ids):
        runs = []

        def backend(graph, _inputs):
            def run(*args):
                runs.append(1)
                return graph.forward(*args)

            return run

        compiled = torch.compile(model, backend=backend)
        mmgrad = MMGrad(compiled, "tower.body", score)
        with torch.no_grad():
            compiled(image, ids[:1])
            assert runs == [1]
            mmgrad(image, ids[:1])
            assert runs == [1]
            compiled(image, ids[:1])
        assert runs == [1, 1]


class TestTraced:
    def test_scripted(self, zoo):
        cnn, x = zoo.build(zoo.CNN), zoo.pictures()
        for made in (torch.jit.trace(cnn, x), torch.compile(torch.jit.trace(cnn, x), backend="eager")):
            for layers in ("late", None):
                with pytest.raises(
                    InputError, match=r"model is a torch.jit.ScriptModule.*pass the eager module that it was made from"
                ):
                    MMGrad(made, layers, zoo.class_score())

    def test_a_part_that_is_scripted(self, zoo, model, image, ids, door):
        """It is run; only what lies in it cannot be a target."""
        plain = copy.deepcopy(model)
        model.tower = torch.jit.trace(model.tower, image.expand(3, -1, -1, -1))
        for layer in ("tower", "tower.body", model.tower, model.tower.body):
            with pytest.raises(InputError, match=r"target_layers: 'tower.*' is, or lies in, a torch.jit.ScriptModule"):
                MMGrad(model, layer)
        found = candidate_layers(model, image, ids[:1], score=score)
        assert [one.name for one in found if one.chosen] == ["fusion"]
        expected = zoo.through(door, plain, image, ids, layer="fusion")
        torch.testing.assert_close(zoo.through(door, model, image, ids, layer="fusion"), expected)
        assert all(one.requires_grad for one in model.parameters())

    def test_exported(self, zoo):
        cnn, x = zoo.build(zoo.CNN), zoo.pictures()
        program = torch.export.export(cnn, (x,))
        with pytest.raises(InputError, match=r"model is an ExportedProgram.*torch.export.unflatten\(program\)"):
            MMGrad(program, "late")
        with pytest.raises(InputError, match=r"graph that calls no layers, as torch.export makes it.*unflatten"):
            MMGrad(program.module(), "late")
        unflat = torch.export.unflatten(program)
        expected = MMGrad(cnn, "late", zoo.class_score())(x).maps
        torch.testing.assert_close(MMGrad(unflat, "late", zoo.class_score())(x).maps, expected)

    def test_traced_to_a_graph_of_layers(self, zoo):
        cnn, x = zoo.build(zoo.CNN), zoo.pictures()
        graph = torch.fx.symbolic_trace(cnn)
        expected = MMGrad(cnn, "late", zoo.class_score())(x).maps
        with zoo.leaves_alone(graph):
            assert torch.equal(MMGrad(graph, "late", zoo.class_score())(x).maps, expected)
        mmgrad = MMGrad(graph, None, zoo.class_score())
        assert mmgrad(x).layer_names == ("late",)
        with mmgrad.capture() as seen:
            output = graph(x)
        assert torch.equal(mmgrad.attend(output[:, 1], seen, create_graph=True), expected)

    def test_quantized(self, zoo, model, image, ids, door):
        quantized = torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
        with pytest.raises(GradientError, match=r"the score does not depend on layer 'tower.body'"):
            zoo.through(door, quantized, image, ids)
        with pytest.raises(GradientError, match=r"or a quantized layer lies between"):
            MMGrad(quantized, "tower.body", score)(image, ids[:1])
