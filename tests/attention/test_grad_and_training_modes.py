"""Grad modes, training flags and activation checkpointing of the user's own, through every door."""

import contextlib

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mmgrad_explain import MMGrad
from mmgrad_explain.errors import GradientError

pytestmark = [
    pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning"),
    pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad"),
]

looking = pytest.mark.parametrize("door", ["call", "texts", "words", "captum"])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, lambda: torch.autograd.set_grad_enabled(False)])
@looking
def test_gradients_off(zoo, model, image, ids, door, mode):
    with mode():
        zoo.check(door, model, model, image.clone(), ids.clone())


def test_frozen_parameters(zoo, model, image, ids, door):
    zoo.check(door, model.requires_grad_(False), model, image, ids)


class Regular(nn.Module):
    """Has all that differs between training and evaluation; of the form that the doors want."""

    def __init__(self, zoo):
        super().__init__()
        plain = zoo.build(zoo.TwoInput)
        self.tower, self.words, self.plain = plain.tower, plain.words, plain
        self.tower.body = nn.Sequential(plain.tower.body, nn.BatchNorm2d(8), nn.Dropout2d(0.5))
        self.compose = plain.compose
        self.noise = nn.Dropout(0.5)

    def forward(self, image, ids):
        return self.plain(self.noise(image), ids)


@looking
def test_training_mode(zoo, image, ids, door):
    """Dropout is off and batch statistics are still while looking, and the flags come back, each module's own."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = Regular(zoo).train()
    model.noise.eval()
    plain = zoo.build(zoo.TwoInput)
    plain.tower.body.weight.data /= (1 + model.tower.body[1].eps) ** 0.5
    plain.tower.body.bias.data /= (1 + model.tower.body[1].eps) ** 0.5
    zoo.check(door, model, plain, image, ids)
    assert model.training
    assert not model.noise.training


@looking
def test_in_the_middle_of_a_training_step(zoo, model, image, ids, door):
    """Between a forward and its backward: the gradients are those of the step without looking."""
    steps = []
    for looks in (False, True):
        model.zero_grad()
        loss = model(image, ids[:1]).embedding.square().sum()
        if looks:
            zoo.through(door, model, image, ids)
        loss.backward()
        steps.append([None if one.grad is None else one.grad.clone() for one in model.parameters()])
    for one, other in zip(*steps, strict=True):
        assert (one is None) == (other is None)
        assert one is None or torch.equal(one, other)


class TestCheckpointing:
    class Saving(nn.Module):
        """Recomputes what is inside it."""

        def __init__(self, inner, *, use_reentrant):
            super().__init__()
            self.inner, self.options = inner, {"use_reentrant": use_reentrant}

        def forward(self, *args):
            return checkpoint(self.inner, *args, **self.options)

    @pytest.mark.parametrize("part", ["tower", "words", "fusion"])
    def test_not_reentrant(self, zoo, model, image, ids, door, part):
        plain = zoo.build(zoo.TwoInput)
        setattr(model, part, self.Saving(getattr(model, part), use_reentrant=False))
        layer = "tower.inner.body" if part == "tower" else "tower.body"
        zoo.check(door, model, plain, image, ids, layer=layer)

    @pytest.mark.parametrize("part", ["tower", "fusion"])
    def test_reentrant(self, zoo, model, image, ids, door, part):
        setattr(model, part, self.Saving(getattr(model, part), use_reentrant=True))
        layer = "tower.inner.body" if part == "tower" else "tower.body"
        with zoo.leaves_alone(model), pytest.raises(GradientError, match="use_reentrant=False"):
            zoo.through(door, model, image, ids, layer=layer)


class TestTransformersCheckpointing:
    """``model.gradient_checkpointing_enable()``, with either kind; it acts in training alone."""

    LAYER = "vision_model.encoder.layers.1.layer_norm1"

    @pytest.fixture
    def clip(self, zoo):
        return zoo.clip(layers=3)

    @pytest.fixture
    def inputs(self, zoo):
        return {"pixel_values": zoo.pictures(2, (32, 32)), "input_ids": torch.tensor([[1, 5, 19], [2, 9, 19]])}

    @staticmethod
    def enable(clip, *, use_reentrant):
        clip.train()
        clip.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": use_reentrant})

    @pytest.mark.parametrize("use_reentrant", [True, False])
    def test_looking(self, zoo, clip, inputs, use_reentrant):
        expected = MMGrad(clip, self.LAYER, words=True)(**inputs)
        self.enable(clip, use_reentrant=use_reentrant)
        with zoo.leaves_alone(clip):
            found = MMGrad(clip, self.LAYER, words=True)(**inputs)
        assert torch.equal(found.maps, expected.maps)
        assert found.words == expected.words

    @pytest.mark.parametrize("frozen", [False, True])
    def test_training_not_reentrant(self, clip, inputs, frozen):
        """The gradients of a loss on the maps are those without checkpointing."""
        steps = []
        if frozen:
            clip.vision_model.requires_grad_(False)
        for saves in (False, True):
            clip.zero_grad()
            if saves:
                self.enable(clip, use_reentrant=False)
            mmgrad = MMGrad(clip, self.LAYER)
            with mmgrad.capture() as seen:
                output = clip(**inputs)
                score = functional.cosine_similarity(output.image_embeds, output.text_embeds)
                maps = mmgrad.attend(score, seen, create_graph=True, relu=False)
                (maps.square().sum() + score.sum()).backward()
            steps.append(
                {"maps": maps.detach()}
                | {name: one.grad.clone() for name, one in clip.named_parameters() if one.grad is not None}
            )
        assert steps[0].keys() == steps[1].keys()
        assert len(steps[0]) > 10
        for name, value in steps[0].items():
            torch.testing.assert_close(steps[1][name], value, rtol=1e-3, atol=1e-6)

    def test_training_reentrant(self, zoo, clip, inputs):
        self.enable(clip, use_reentrant=True)
        mmgrad = MMGrad(clip, self.LAYER)
        with contextlib.ExitStack() as stack:
            stack.enter_context(zoo.leaves_alone(clip))
            stack.enter_context(pytest.raises(GradientError, match="use_reentrant=False"))
            with mmgrad.capture():
                clip(**inputs)
