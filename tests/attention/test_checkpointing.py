"""A training with activation checkpointing: the backward pass repeats the forward as it ran in the block."""

import contextlib
import copy
import gc
import threading
import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils import checkpoint as torchs
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from mmgrad_explain import MMGrad
from mmgrad_explain.errors import GradientError

INSIDES = torchs._CheckpointFrame, torchs._recomputation_hook


class Encoder(nn.Module):
    """Patches through layers of torch's own, whose attention is a fused kernel."""

    def __init__(self, saving=None):
        super().__init__()
        self.embed = nn.Conv2d(3, 16, 8, 8)
        layers = (nn.TransformerEncoderLayer(16, 2, 16, dropout=0.0, batch_first=True) for _ in range(3))
        self.layers = nn.ModuleList(layers)
        self.head = nn.Linear(16, 4)
        self.saving = saving

    def through(self, tokens):
        for layer in self.layers:
            tokens = (
                checkpoint(layer, tokens, use_reentrant=False) if self.saving in {"each", "nested"} else layer(tokens)
            )
        return tokens

    def forward(self, x):
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        if self.saving == "sequential":
            tokens = checkpoint_sequential(list(self.layers), 2, tokens, use_reentrant=False)
        elif self.saving in {"nested", "whole"}:
            tokens = checkpoint(self.through, tokens, use_reentrant=False)
        else:
            tokens = self.through(tokens)
        return self.head(tokens.mean(1))


def loss_of(output, maps=None):
    return output.square().sum() + (0 if maps is None else maps.square().sum())


def without_attend(mmgrad, forward):
    with mmgrad.capture():
        output = forward()
    loss_of(output).backward()


def attend_inside(mmgrad, forward):
    with mmgrad.capture() as seen:
        output = forward()
        maps = mmgrad.attend(output[:, 0], seen, create_graph=True, relu=False)
    loss_of(output, maps).backward()


def attend_after(mmgrad, forward):
    with mmgrad.capture() as seen:
        output = forward()
    loss_of(output, mmgrad.attend(output[:, 0], seen, create_graph=True, relu=False)).backward()


def all_inside(mmgrad, forward):
    with mmgrad.capture() as seen:
        output = forward()
        loss_of(output, mmgrad.attend(output[:, 0], seen, create_graph=True, relu=False)).backward()


def twice(mmgrad, forward):
    with mmgrad.capture() as seen:
        output = forward()
    loss = loss_of(output, mmgrad.attend(output[:, 0], seen, create_graph=True, relu=False))
    loss.backward(retain_graph=True)
    loss.backward()


def after_an_exception(mmgrad, forward):
    with contextlib.suppress(KeyError), mmgrad.capture():
        output = forward()
        raise KeyError
    loss_of(output).backward()


def fused_attention_left_alone(mmgrad, forward):
    with mmgrad.capture(math_attention=False) as seen:
        output = forward()
    mmgrad.attend(output[:, 0], seen)
    loss_of(output).backward()


def an_earlier_forward_inside(mmgrad, forward):
    before = forward()
    with mmgrad.capture():
        inside = forward()
        loss_of(before).backward()
    loss_of(inside).backward()


EVERY_WAY = [
    without_attend, attend_inside, attend_after, all_inside, twice, after_an_exception, fused_attention_left_alone,
    an_earlier_forward_inside,
]  # fmt: skip


def gradients(model, layer, way, run):
    model.zero_grad()
    hooks = [len(one._forward_hooks) + len(one._forward_pre_hooks) for one in model.modules()]
    way(MMGrad(model, layer), lambda: run(model))
    assert (torchs._CheckpointFrame, torchs._recomputation_hook) == INSIDES, "nothing is left in torch"
    assert [len(one._forward_hooks) + len(one._forward_pre_hooks) for one in model.modules()] == hooks
    return {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


def check(plain, saving, layer, way, run):
    expected, found = gradients(plain, layer, way, run), gradients(saving, layer, way, run)
    assert found.keys() == expected.keys()
    assert len(found) > 1
    for name, one in expected.items():
        torch.testing.assert_close(found[name], one, rtol=1e-4, atol=1e-6 + 1e-5 * float(one.abs().max()))


@pytest.mark.parametrize("frozen", [False, True], ids=["", "frozen"])
@pytest.mark.parametrize("saving", ["each", "sequential", "whole", "nested"])
@pytest.mark.parametrize("way", EVERY_WAY)
def test_gradients_are_those_without_checkpointing(zoo, way, saving, frozen):
    plain, other = zoo.build(Encoder), zoo.build(lambda: Encoder(saving))
    for model in (plain, other):
        model.train()
        model.embed.requires_grad_(not frozen)
        model.layers[:2].requires_grad_(not frozen)
    x = zoo.pictures(2, (32, 32))
    check(plain, other, "layers.1", way, lambda model: model(x))


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable. is deprecated")
@pytest.mark.parametrize("way", [without_attend, attend_after, an_earlier_forward_inside])
@pytest.mark.parametrize("kind", ["timm", "open_clip", "transformers"])
def test_real_models(zoo, kind, way):
    x, ids = zoo.pictures(2, (32, 32)), torch.tensor([[1, 5, 19, 0], [2, 9, 19, 0]])
    if kind == "timm":
        timm = pytest.importorskip("timm")
        options = {"img_size": 32, "patch_size": 16, "embed_dim": 16, "num_heads": 2, "depth": 2, "num_classes": 3}
        plain = zoo.build(lambda: timm.create_model("vit_tiny_patch16_224", **options))
        layer, run = "blocks.0.norm2", lambda model: model(x)
    elif kind == "open_clip":
        open_clip = pytest.importorskip("open_clip")
        vision = {"image_size": 32, "patch_size": 16, "width": 16, "layers": 2, "head_width": 8}
        text = {"context_length": 4, "vocab_size": 20, "width": 16, "heads": 2, "layers": 1}
        plain = zoo.build(lambda: open_clip.model.CLIP(embed_dim=8, vision_cfg=vision, text_cfg=text))
        layer, run = "visual.transformer.resblocks.0.ln_2", lambda model: model(x, ids)[0] + model(x, ids)[1]
    else:
        plain = zoo.clip()
        layer = "vision_model.encoder.layers.0.layer_norm2"

        def run(model):
            output = model(pixel_values=x, input_ids=ids)
            return output.image_embeds + output.text_embeds

    saving = copy.deepcopy(plain).train()
    if kind == "transformers":
        saving.gradient_checkpointing_enable({"use_reentrant": False})
    else:
        saving.set_grad_checkpointing(True)
    check(plain.train(), saving, layer, way, run)


def test_under_autocast(zoo):
    plain, saving = zoo.build(Encoder).train(), zoo.build(lambda: Encoder("each")).train()
    x = zoo.pictures(2, (32, 32))

    def run(model):
        with torch.autocast("cpu", torch.bfloat16):
            return model(x).float()

    check(plain, saving, "layers.1", attend_after, run)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_parts(zoo):
    """They run eagerly inside the block, and so they do when they are repeated."""
    plain, saving = zoo.build(Encoder).train(), zoo.build(lambda: Encoder("each")).train()
    x = zoo.pictures(2, (32, 32))
    for layer in saving.layers:
        layer.compile(backend="aot_eager")
    saving(x).sum().backward()
    check(plain, saving, "layers.1", attend_after, lambda model: model(x))


def test_another_threads_forward_is_repeated_as_it_was(zoo):
    """The layer is frozen and no hook changes it there; attention is the process's, so that the kernel is the same."""
    model = zoo.build(lambda: Encoder("each")).train()
    model.embed.requires_grad_(False)
    model.layers[:2].requires_grad_(False)
    x, outputs = zoo.pictures(2, (32, 32)), []
    with MMGrad(model, "layers.1").capture():
        thread = threading.Thread(target=lambda: outputs.append(model(x)))
        thread.start()
        thread.join()
    outputs[0].sum().backward()
    expected = zoo.build(Encoder).train()
    expected(x).sum().backward()
    torch.testing.assert_close(model.head.weight.grad, expected.head.weight.grad)


def test_the_graph_keeps_no_record(zoo):
    """Else the two would keep each other, where the garbage collector cannot see it."""
    model = zoo.build(lambda: Encoder("each")).train()
    with MMGrad(model, "layers.1").capture() as seen:
        model(zoo.pictures(2, (32, 32)))
    kept = weakref.ref(seen.records["layers.1"][0].activation)
    del seen
    gc.collect()
    assert kept() is None


def test_a_change_before_the_repetition_raises(zoo):
    class Dropping(Encoder):
        def through(self, tokens):
            return functional.dropout(super().through(tokens), 0.5, self.training)

    model = zoo.build(lambda: Dropping("whole")).train()
    mmgrad = MMGrad(model, "layers.1")
    with mmgrad.capture() as seen:
        output = model(zoo.pictures(2, (32, 32)))
    model.eval()
    with pytest.raises(GradientError, match="met other operations than before: leave the model, its training flag"):
        mmgrad.attend(output[:, 0], seen)
    model.train()
    assert mmgrad.attend(output[:, 0], seen).shape == (2, 4, 4), "the way out"
