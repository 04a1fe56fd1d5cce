"""Attention is recorded however it is written, inside the graph; it can run with other probabilities; nothing stays."""

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional

from mmgrad_explain.attention.recording.attention_calls import AttentionRecorder

HEADS, WIDTH = 2, 8


class Attention(nn.Module):
    """Attention written in one of the usual ways."""

    def __init__(self, way):
        super().__init__()
        self.qkv, self.out, self.way = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH), way

    def parts(self, x):
        return [part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1)]

    def forward(self, x):
        q, k, v = self.parts(x)
        scale = q.shape[-1] ** -0.5
        if self.way == "fused":
            o = functional.scaled_dot_product_attention(q, k, v)
        elif self.way == "eager":
            weights = functional.softmax(torch.matmul(q, k.transpose(2, 3)) * scale, dim=-1, dtype=torch.float32)
            o = torch.matmul(functional.dropout(weights.to(q.dtype), 0.0), v)
        elif self.way == "timm":
            o = ((q * scale) @ k.transpose(-2, -1)).softmax(dim=-1) @ v
        else:  # samples and heads in one dimension
            q, k, v = (part.flatten(0, 1) for part in (q, k, v))
            o = torch.bmm((torch.bmm(q, k.mT) * scale).softmax(-1), v).unflatten(0, (-1, HEADS))
        return self.out(o.transpose(1, 2).flatten(2))


class Torchs(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.of, self.options = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True), options

    def parts(self, x):
        qkv = functional.linear(x, self.of.in_proj_weight, self.of.in_proj_bias)
        return [part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in qkv.chunk(3, -1)]

    def forward(self, x):
        return self.of(x, x, x, **self.options)[0]


WAYS = {way: (lambda way=way: Attention(way)) for way in ("fused", "eager", "timm", "bmm")}
WAYS |= {"torch": lambda: Torchs(need_weights=False), "torch with weights": Torchs}


@pytest.fixture(params=WAYS)
def attention(request, zoo):
    return zoo.build(WAYS[request.param]).eval()


@pytest.fixture
def x():
    return torch.randn(3, 5, WIDTH, generator=torch.Generator().manual_seed(1))


def probabilities_of(q, k):
    logits = torch.einsum("bhnd,bhmd->bhnm", q.double(), k.double()) / q.shape[-1] ** 0.5
    return logits.exp() / logits.exp().sum(-1, keepdim=True)


def test_it_is_what_the_model_computes(attention, x, zoo):
    x = x.requires_grad_()
    plain = attention(x)
    with zoo.leaves_alone(attention), AttentionRecorder({"a": attention}) as recorder:
        found = attention(x)
    torch.testing.assert_close(found, plain)
    (call,) = recorder.calls
    assert (call.block, call.call, call.index) == ("a", 0, 0)
    q, k, v = attention.parts(x)
    expected = probabilities_of(q, k)
    torch.testing.assert_close(call.probabilities.double(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(call.output.double(), expected @ v.double(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(call.values, v)
    torch.testing.assert_close(call.keys, k)
    torch.testing.assert_close(call.queries * (q.flatten()[0] / call.queries.flatten()[0]), q)  # some scale them first


def test_it_is_part_of_the_graph(attention, x):
    with AttentionRecorder({"a": attention}) as recorder:
        score = attention(x.requires_grad_()).square().sum()
    (call,) = recorder.calls
    of_probabilities, of_output = torch.autograd.grad(score, [call.probabilities, call.output], retain_graph=True)
    torch.testing.assert_close(of_probabilities, of_output @ call.values.mT, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("grad", [False, True])
def test_it_can_run_with_other_probabilities(attention, x, grad):
    def change(call):
        assert call.probabilities.shape == (3, HEADS, 5, 5)
        return torch.eye(5).expand(3, HEADS, 5, 5)

    with torch.set_grad_enabled(grad), AttentionRecorder({"a": attention}, change):
        found = attention(x)
    values = attention.parts(x)[2].transpose(1, 2).flatten(2)
    out = attention.of.out_proj if isinstance(attention, Torchs) else attention.out
    torch.testing.assert_close(found.detach(), out(values).detach())


def test_none_changes_nothing(attention, x):
    with AttentionRecorder({"a": attention}, lambda _: None):
        torch.testing.assert_close(attention(x), attention(x))


def test_after_stop_nothing_is_recorded_or_changed(attention, x):
    plain = attention(x)
    with AttentionRecorder({"a": attention}, lambda call: torch.zeros_like(call.probabilities)) as recorder:
        recorder.stop()
        torch.testing.assert_close(attention(x), plain)
    assert recorder.calls == []


def test_only_the_named_modules_and_this_thread(zoo, x):
    named, other = zoo.build(WAYS["fused"]), zoo.build(WAYS["fused"], seed=1)
    with AttentionRecorder({"named": named}) as recorder:
        other(x)
        assert recorder.calls == []
        thread = threading.Thread(target=named, args=(x,))
        thread.start()
        thread.join()
        assert recorder.calls == []
        named(x)
        named(x)
    assert [(call.block, call.call) for call in recorder.calls] == [("named", 0), ("named", 1)]


def test_masks_and_several_queries_a_key():
    q, k, v = (torch.randn(2, heads, 4, 3) for heads in (4, 2, 2))

    class Grouped(nn.Module):
        def forward(self, q, **options):
            return functional.scaled_dot_product_attention(q, k, v, enable_gqa=True, **options)

    module = Grouped()
    kept = torch.tensor([[True, True, False, True]]).expand(4, 4)
    bias = torch.randn(4, 4)
    for options in ({"is_causal": True}, {"attn_mask": kept}, {"attn_mask": bias}, {"scale": 0.3}):
        with AttentionRecorder({"g": module}) as recorder:
            found = module(q, **options)
        torch.testing.assert_close(found, module(q, **options))
        torch.testing.assert_close(recorder.calls[0].probabilities.sum(-1), torch.ones(2, 4, 4))


def test_after_an_error_torch_is_as_before(zoo, x):
    before, fast = functional.scaled_dot_product_attention, torch.backends.mha.get_fastpath_enabled()
    model = zoo.build(WAYS["torch"])
    with pytest.raises(ZeroDivisionError), AttentionRecorder({"a": model}, lambda _: 1 / 0):
        model(x)
    assert functional.scaled_dot_product_attention is before
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


def test_a_query_that_may_see_nothing_attends_to_nothing():
    q, kept = torch.randn(1, 2, 4, 3), torch.ones(1, 1, 4, 4, dtype=torch.bool)
    kept[..., 0, :] = False

    class Padded(nn.Module):
        def forward(self, q):
            return functional.scaled_dot_product_attention(q, q, q, attn_mask=kept)

    module = Padded()
    with AttentionRecorder({"p": module}) as recorder:
        found = module(q)
    torch.testing.assert_close(found, module(q))
    assert recorder.calls[0].probabilities[:, :, 0].abs().max() == 0


def test_the_modules_around_an_attention_are_known_with_their_calls(zoo, x):
    inner = zoo.build(WAYS["fused"])
    outer = nn.Sequential(inner, nn.Identity())
    with AttentionRecorder({"outer": outer, "inner": inner}) as recorder:
        inner(x)
        outer(x)
    assert recorder.around == [{"inner": 0}, {"outer": 0, "inner": 1}]
