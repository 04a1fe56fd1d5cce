"""Recording a layer inside a model of any kind: what can be in the way of its gradient."""

import contextlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mmgrad_explain.attention import MMGrad
from mmgrad_explain.errors import CaptureError, GradientError


class Pair(NamedTuple):
    name: Any
    pixels: Any


class TestGradModes:
    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, contextlib.nullcontext])
    def test_of_the_caller(self, zoo, cnn, x, mode):
        expected = zoo.cnn_map(cnn, x)
        with mode(), zoo.leaves_alone(cnn):
            made = MMGrad(cnn, "late", zoo.class_score(), method="gradcam")(x.clone()).maps
        assert torch.allclose(made, expected, atol=1e-6)
        assert not made.is_inference()

    def test_inference_tensors_wherever_they_are(self, zoo, cnn, x):
        @dataclass(frozen=True)
        class Batch:
            views: tuple

        class Nested(nn.Module):
            def __init__(self):
                super().__init__()
                self.cnn = cnn

            def forward(self, batch, *, more):
                return self.cnn(batch.views[0]["x"]) + self.cnn(more[0].pixels)

        with torch.inference_mode():
            pixels = x.clone()
        made = MMGrad(Nested(), "cnn.late", zoo.class_score(), method="gradcam")(
            Batch(({"x": pixels},)), more=[Pair("a", pixels)]
        )
        assert torch.allclose(made.maps, zoo.cnn_map(cnn, x), atol=1e-6)
        assert len(made.calls) == 2

    @pytest.mark.parametrize("mode", ["around all", "around the features", "up to the layer"])
    def test_no_grad_inside_the_model(self, zoo, x, mode):
        class Frozen(zoo.CNN):
            def features(self, x):
                if mode == "around all":
                    return super().features(x)
                with torch.no_grad():
                    if mode == "around the features":
                        return super().features(x) * 1
                    return super().features(x)

            def forward(self, x):
                if mode != "around all":
                    return super().forward(x)
                with torch.no_grad():
                    return super().forward(x)

        model = zoo.build(Frozen)
        with zoo.leaves_alone(model):
            made = MMGrad(model, "late", zoo.class_score(), method="gradcam")(x).maps
        assert torch.allclose(made, zoo.cnn_map(zoo.build(zoo.CNN), x), atol=1e-6)

    def test_inference_mode_inside_the_model(self, zoo, x):
        class Sealed(zoo.CNN):
            def features(self, x):
                with torch.inference_mode():
                    return super().features(x)

        model = zoo.build(Sealed)
        with zoo.leaves_alone(model), pytest.raises(GradientError, match=r"'late' runs inside a torch.inference_mode"):
            MMGrad(model, "late", zoo.class_score())(x)

    @pytest.mark.parametrize("saved", [False, True])
    def test_inference_mode_in_another_part_of_the_model(self, zoo, saved):
        """What came out of that block may be computed with, but not where autograd has to keep it."""

        class Sealed(zoo.TwoInput):
            def forward(self, image, ids):
                with torch.inference_mode():
                    text = self.words(ids)
                if not saved:
                    return zoo.Composed(self.compose(self.tower(image), text))
                return zoo.Composed(self.compose(self.tower(image) * text[:, :, None, None], text))

        mmgrad = MMGrad(zoo.build(Sealed), "tower.body", lambda output: output.embedding[:, 0])
        if saved:
            with pytest.raises(GradientError, match=r"a part of the model runs inside a torch.inference_mode"):
                mmgrad(zoo.pictures(), zoo.ids())
        else:
            plain = MMGrad(zoo.build(zoo.TwoInput), "tower.body", lambda output: output.embedding[:, 0])
            inputs = zoo.pictures(), zoo.ids()
            assert torch.allclose(mmgrad(*inputs).maps, plain(*inputs).maps)

    def test_a_model_built_under_inference_mode(self, zoo, x):
        with torch.inference_mode():
            model = zoo.build(zoo.CNN)
        with pytest.raises(GradientError, match=r"parameters were made under torch.inference_mode"):
            MMGrad(model, "late", zoo.class_score())(x)

    def test_a_score_cut_off_from_the_layer(self, zoo, cnn, x):
        with pytest.raises(
            GradientError, match=r"does not depend on layer 'late': nothing that the layer returned went into it"
        ):
            MMGrad(cnn, "late", lambda output: output[:, 0].detach())(x)

        class Unused(zoo.CNN):
            def forward(self, x):
                self.late(functional.gelu(self.norm(self.early(x))))
                return self.head(self.early(x).mean((2, 3)))

        with pytest.raises(GradientError, match=r"does not depend on layer 'late'"):
            MMGrad(zoo.build(Unused), ["early", "late"], zoo.class_score())(x)


class TestWhatFollowsTheLayer:
    @pytest.mark.parametrize("training_face", [False, True])
    def test_in_place_operations(self, zoo, x, training_face):
        class InPlace(zoo.CNN):
            def forward(self, x):
                grid = self.features(x)
                grid += 1.0
                return self.head(torch.relu_(grid).mean((2, 3)))

        model = zoo.build(InPlace)
        grid = model.features(x).detach().requires_grad_()
        score = model.head((grid + 1.0).relu().mean((2, 3)))[:, 1]
        expected = zoo.grad_cam(grid, torch.autograd.grad(score.sum(), grid)[0])
        mmgrad = MMGrad(model, "late", zoo.class_score())
        if training_face:
            with mmgrad.capture() as seen:
                score = model(x)[:, 1]
            made = mmgrad.attend(score, seen)
        else:
            made = mmgrad(x).maps
        assert torch.allclose(made, expected, atol=1e-6)

    def test_timm_resnet_batchnorm_before_an_in_place_relu(self, zoo):
        """Relative error 1.1 in a tool that keeps the activation without a copy."""
        import timm

        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            model = timm.create_model("resnet18", num_classes=3, zero_init_last=False).eval()
        x = zoo.pictures(1, (96, 96))
        kept = {}

        def cut(_module, _inputs, output):
            kept["grid"] = output.detach().clone().requires_grad_()
            return kept["grid"] * 1

        handle = model.layer4[-1].bn2.register_forward_hook(cut)
        score = model(x)[:, 1].sum()
        handle.remove()
        expected = zoo.grad_cam(kept["grid"], torch.autograd.grad(score, kept["grid"])[0])
        assert model.layer4[-1].act2.inplace
        made = MMGrad(model, "layer4.1.bn2", zoo.class_score(), method="gradcam")(x).maps
        assert expected.max() > 0
        assert torch.allclose(made, expected, rtol=1e-4, atol=1e-7)

    def test_a_layer_that_returns_its_input_which_is_then_changed(self, zoo, x):
        class Aliased(zoo.CNN):
            def __init__(self):
                super().__init__()
                self.same = nn.Identity()

            def forward(self, x):
                grid = self.features(x)
                out = self.same(grid)
                grid.zero_()
                return self.head(out.mean((2, 3)))

        with pytest.raises(CaptureError, match="output of layer 'same' was changed in place after it was recorded"):
            MMGrad(zoo.build(Aliased), "same", zoo.class_score())(x)

    def test_autocast_has_no_say_in_the_map(self, zoo, cnn, x):
        calls = []

        def weighting(activation, gradient):
            calls.append((activation.dtype, gradient.dtype, torch.is_autocast_enabled("cpu")))
            return torch.einsum("bkhw,bkhw->bhw", activation, gradient)

        with torch.autocast("cpu", dtype=torch.bfloat16):
            made = MMGrad(cnn, "late", zoo.class_score(), weighting)(x)
            assert torch.is_autocast_enabled("cpu")
        assert calls == [(torch.float32, torch.float32, False)]
        assert made.maps.dtype == made.score.dtype == torch.float32


class TestCheckpointing:
    @staticmethod
    def model(zoo, *, use_reentrant, frozen=False):
        class Checkpointed(zoo.CNN):
            def features(self, x):
                def run(x):
                    return functional.gelu(self.late(functional.gelu(self.norm(self.early(x)))))

                return checkpoint(run, x, use_reentrant=use_reentrant)

            def forward(self, x):
                return self.head(self.features(x).mean((2, 3)))

        return zoo.build(Checkpointed).requires_grad_(not frozen)

    def test_non_reentrant(self, zoo, x):
        model = self.model(zoo, use_reentrant=False)
        with zoo.leaves_alone(model):
            made = MMGrad(model, "late", zoo.class_score(), method="gradcam")(x)
        assert torch.allclose(made.maps, zoo.cnn_map(zoo.build(zoo.CNN), x), atol=1e-6)
        assert len(made.calls) == 1, "the recomputation is not a call"

    def test_non_reentrant_in_a_training(self, zoo, x):
        model = self.model(zoo, use_reentrant=False)
        mmgrad = MMGrad(model, "late", method="gradcam")
        with mmgrad.capture() as seen:
            output = model(x)
            maps = mmgrad.attend(output[:, 1], seen, create_graph=True)  # recomputes inside the block
            output.square().sum().backward(retain_graph=True)
            assert len(seen.records["late"]) == 1
        assert torch.allclose(maps, zoo.cnn_map(zoo.build(zoo.CNN), x), atol=1e-6)

    def test_non_reentrant_around_a_frozen_layer_in_a_training(self, zoo, x):
        """The recomputation must meet the hooks that the forward met."""
        model = self.model(zoo, use_reentrant=False)
        model.late.requires_grad_(False)
        model.early.requires_grad_(False)
        model.norm.requires_grad_(False)
        mmgrad = MMGrad(model, "late", method="gradcam")
        with mmgrad.capture() as seen:
            score = model(x)[:, 1]
        maps = mmgrad.attend(score, seen, create_graph=True)
        maps.sum().backward()
        assert torch.allclose(maps, zoo.cnn_map(zoo.build(zoo.CNN), x), atol=1e-6)

    @pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
    @pytest.mark.parametrize("training_face", [False, True])
    def test_reentrant(self, zoo, x, training_face):
        model = self.model(zoo, use_reentrant=True)
        mmgrad = MMGrad(model, "late", zoo.class_score())

        def run():
            with mmgrad.capture() if training_face else contextlib.nullcontext():
                (model if training_face else mmgrad)(x)

        with zoo.leaves_alone(model), pytest.raises(GradientError, match="use_reentrant=False"):
            run()

    def test_reentrant_after_the_layer(self, zoo, x):
        class Model(zoo.CNN):
            def forward(self, x):
                return checkpoint(lambda grid: self.head(grid.mean((2, 3))), self.features(x), use_reentrant=True)

        with pytest.raises(GradientError, match="pass use_reentrant=False"):
            MMGrad(zoo.build(Model), "late", zoo.class_score())(x)


class TestCompiled:
    """``aot_eager`` compiles the graph without a C++ compiler; hooks are ignored all the same."""

    def test_warm_model(self, zoo, cnn, x):
        compiled = torch.compile(cnn, backend="aot_eager")
        with torch.no_grad():
            compiled(x)
        with zoo.leaves_alone(cnn):
            made = MMGrad(compiled, "late", zoo.class_score(), method="gradcam")(x).maps
        assert torch.allclose(made, zoo.cnn_map(cnn, x), atol=1e-6)

    def test_warm_part_of_a_model(self, zoo, x):
        model = zoo.build(zoo.TwoInput)
        plain = MMGrad(model, "tower.body", lambda output: output.embedding[:, 0])(x, zoo.ids()).maps
        model.tower = torch.compile(model.tower, backend="aot_eager")
        with torch.no_grad():
            model(x, zoo.ids())
        for layer in ("tower.body", model.tower.body, "tower"):
            mmgrad = MMGrad(model, layer, lambda output: output.embedding[:, 0])
            assert mmgrad.layer_names == (("tower",) if layer == "tower" else ("tower.body",))
            assert torch.allclose(mmgrad(x, zoo.ids()).maps, plain, atol=1e-6)

    @pytest.mark.parametrize("in_place", [False, True])
    def test_warm_model_in_a_training(self, zoo, cnn, x, in_place):
        if in_place:
            compiled = cnn
            cnn.compile(backend="aot_eager")
        else:
            compiled = torch.compile(cnn, backend="aot_eager")
        compiled(x)
        mmgrad = MMGrad(compiled, "late", method="gradcam")
        with mmgrad.capture() as seen:
            score = compiled(x)[:, 1]
        made = mmgrad.attend(score, seen, create_graph=True)
        assert torch.allclose(made, zoo.cnn_map(zoo.build(zoo.CNN), x), atol=1e-6)


def test_multi_head_attention_out_proj_never_runs():
    """What the refusal of this layer rests on."""
    attention = nn.MultiheadAttention(4, 1, batch_first=True).eval()
    fired = []
    attention.out_proj.register_forward_hook(lambda *_: fired.append(1))
    x = torch.zeros(1, 3, 4)
    attention(x, x, x)
    assert fired == []


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")
def test_transformer_encoder_fast_path(zoo):
    """A frozen nn.TransformerEncoderLayer may skip its parts; a layer inside it runs nevertheless."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Conv2d(3, 8, 4, stride=4)
            layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
            self.encoder = nn.TransformerEncoder(layer, 2)
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.encoder(self.embed(x).flatten(2).transpose(1, 2)).mean(1))

    model = zoo.build(Model)
    for layer in ("embed", "encoder.layers.0.norm1", "encoder.layers.0", "encoder.layers.1.linear2"):
        assert MMGrad(model, layer, zoo.class_score())(zoo.pictures()).maps.shape == (2, 4, 6)
