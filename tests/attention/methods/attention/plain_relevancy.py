"""Relevancy written down without this package: attention by plain matrix products, in float64, one sample at a time."""

import copy
import math

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class PlainAttention(TorchFunctionMode):
    """Compute every attention inside the block by matrix products and keep its probabilities (B, H, N, M) in order."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function is functional.scaled_dot_product_attention:
            return self.attend(*args, **kwargs)
        if function is functional.multi_head_attention_forward:
            torchs, functional.scaled_dot_product_attention = functional.scaled_dot_product_attention, self.attend
            try:
                return function(*args, **{**kwargs, "need_weights": False})
            finally:
                functional.scaled_dot_product_attention = torchs
        if getattr(function, "__name__", "") != "softmax":
            return function(*args, **kwargs)
        kwargs.pop("dtype", None)  # float32, where transformers' own eager attention runs
        result = function(*args, **kwargs)
        if result.ndim == 4:
            self.kept.append(result)
        return result

    def attend(self, q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
        if enable_gqa:
            k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
        logits = q @ k.transpose(-2, -1) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
        if is_causal:
            logits = logits.masked_fill(torch.ones(logits.shape[-2:]).triu(1).bool(), -math.inf)
        if attn_mask is not None:
            hidden = attn_mask.dtype == torch.bool
            logits = logits.masked_fill(~attn_mask, -math.inf) if hidden else logits + attn_mask
        padding = (logits == -math.inf).all(-1, keepdim=True)
        self.kept.append(torch.softmax(logits.masked_fill(padding, 0), -1).masked_fill(padding, 0))
        return self.kept[-1] @ v


def watch(model, score, call):
    """The probabilities of every attention of a float64 copy, and the score's gradient with respect to each."""
    model = copy.deepcopy(model).double().eval()
    with PlainAttention() as seen:
        output = call(model)
    taken = torch.autograd.grad(score(output).sum(), seen.kept, allow_unused=True)
    return [(a.detach(), None if g is None else g) for a, g in zip(seen.kept, taken, strict=True)]


def bar(attention, gradient):
    """Equation 5 for one sample, head by head."""
    heads = [(a * g).clamp(min=0) for a, g in zip(attention, gradient, strict=True)]
    return sum(heads) / len(heads)


def relevancy(seen, sample):
    """Equation 6 along a stream of blocks, (N, N)."""
    total = torch.eye(seen[0][0].shape[-1], dtype=torch.float64)
    for attention, gradient in seen:
        total = total + bar(attention[sample], gradient[sample]) @ total
    return total


def normalised(total):
    """Equations 8 and 9; a row without relevancy keeps the identity."""
    identity = torch.eye(len(total), dtype=torch.float64)
    rest = total - identity
    sums = rest.sum(1, keepdim=True)
    return rest / torch.where(sums > 0, sums, torch.ones_like(sums)) + identity


def rollout(seen, sample):
    """Equations of arXiv 2005.00928, section 3: rows of mean attention plus identity divided by their sums."""
    total = torch.eye(seen[0][0].shape[-1], dtype=torch.float64)
    for attention, _ in seen:
        mixed = attention[sample].mean(0) + torch.eye(len(total))
        total = (mixed / mixed.sum(1, keepdim=True)) @ total
    return total
