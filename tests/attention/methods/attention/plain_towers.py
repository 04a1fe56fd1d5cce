"""Vision towers written out in float64, and LeGrad and Grad-ECLIP on them; for the tests beside this file.

Each family gives its weights; the blocks, the pooling and the formulas are computed here, without the model's forward.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass
class Step:
    """What one block computes: attention (B, H, N, N), and the rest (B, N, D)."""

    attention: Tensor
    queries: Tensor
    keys: Tensor
    values: Tensor
    attended: Tensor
    tokens: Tensor


@dataclass
class Projections:
    """Queries, keys, values and output of one attention, each a function of tokens."""

    q: Callable
    k: Callable
    v: Callable
    out: Callable
    heads: int

    def __call__(self, asking, read):
        def split(x):
            return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        q, k, v = self.q(asking), self.k(read), self.v(read)
        logits = torch.einsum("bhqd,bhkd->bhqk", split(q), split(k)) / (q.shape[-1] // self.heads) ** 0.5
        attention = logits.exp() / logits.exp().sum(-1, keepdim=True)
        attended = torch.einsum("bhqk,bhkd->bqhd", attention, split(v)).flatten(2)
        return attention, q, k, v, attended


@dataclass
class Tower:
    """A vision tower: tokens of images, blocks as (norm, attention, norm, mlp), and how many tokens are no patches."""

    embed: Callable
    blocks: list
    prefix: int

    def run(self, images):
        tokens, steps = self.embed(images).detach().requires_grad_(), []
        for norm1, attend, norm2, mlp in self.blocks:
            normed = norm1(tokens)
            attention, q, k, v, attended = attend(normed, normed)
            tokens = tokens + attend.out(attended)
            tokens = tokens + mlp(norm2(tokens))
            steps.append(Step(attention, q, k, v, attended, tokens))
        return steps


def linear(weight, bias):
    return lambda x: functional.linear(x, weight, bias)


def from_packed(weight, bias, out, heads):
    """Attention whose queries, keys and values have one weight, as in torch, timm and BLIP."""
    parts = [linear(*pair) for pair in zip(weight.chunk(3), bias.chunk(3), strict=True)]
    return Projections(*parts, out, heads)


def from_torch(attention):
    """Attention with the weights of a torch.nn.MultiheadAttention."""
    if attention.in_proj_weight is None:
        weights = (attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight)
        parts = [linear(*pair) for pair in zip(weights, attention.in_proj_bias.chunk(3), strict=True)]
        return Projections(*parts, attention.out_proj, attention.num_heads)
    packed = attention.in_proj_weight, attention.in_proj_bias, attention.out_proj, attention.num_heads
    return from_packed(*packed)


def exactly(model):
    """A copy in float64."""
    return copy.deepcopy(model).double().eval().requires_grad_(False)


def of_transformers(vision, prefix):
    """CLIP's or SigLIP's vision tower, in float64."""
    first = getattr(vision, "pre_layrnorm", torch.nn.Identity())

    def attend(layer):
        one = layer.self_attn
        return Projections(one.q_proj, one.k_proj, one.v_proj, one.out_proj, one.num_heads)

    blocks = [(one.layer_norm1, attend(one), one.layer_norm2, one.mlp) for one in vision.encoder.layers]
    return Tower(lambda images: first(vision.embeddings(images)), blocks, prefix)


def of_blip(vision):
    def attend(one):
        return from_packed(one.qkv.weight, one.qkv.bias, one.projection, one.num_heads)

    layers = vision.encoder.layers
    blocks = [(one.layer_norm1, attend(one.self_attn), one.layer_norm2, one.mlp) for one in layers]
    return Tower(vision.embeddings, blocks, 1)


def of_open_clip(visual):
    blocks = [(one.ln_1, from_torch(one.attn), one.ln_2, one.mlp) for one in visual.transformer.resblocks]
    return Tower(visual._embeds, blocks, 1)


def of_timm(vit):
    def embed(images):
        return vit.norm_pre(vit._pos_embed(vit.patch_embed(images)))

    def attend(one):
        return from_packed(one.qkv.weight, one.qkv.bias, one.proj, one.num_heads)

    blocks = [(one.norm1, attend(one.attn), one.norm2, one.mlp) for one in vit.blocks]
    return Tower(embed, blocks, vit.num_prefix_tokens)


def of_torchvision(vit):
    def embed(images):
        tokens = vit._process_input(images)
        return torch.cat([vit.class_token.expand(len(tokens), -1, -1), tokens], 1) + vit.encoder.pos_embedding

    blocks = [(one.ln_1, from_torch(one.self_attention), one.ln_2, one.mlp) for one in vit.encoder.layers]
    return Tower(embed, blocks, 1)


def cosine(first, second):
    return functional.cosine_similarity(first, second, dim=-1)


def legrad(steps, score, last, prefix):
    """Sum over blocks of the mean over heads and query rows of ReLU(ds^l / dA^l); (B, N), arXiv 2404.03214."""
    total = 0
    for step in steps[-last:]:
        gradient = torch.autograd.grad(score(step.tokens).sum(), step.attention, retain_graph=True)[0]
        total = total + gradient.relu().sum((1, 2)) / (gradient.shape[1] * gradient.shape[2])
    return total[:, prefix:]


def legrad_of_pooler(steps, pool, score, last, prefix=0, queries=(0,)):
    """The same through an attention pooler, of which some queries count; ``pool(tokens)`` gives its attention."""
    total = 0
    for step in steps[-last:]:
        attention, pooled = pool(step.tokens)
        gradient = torch.autograd.grad(score(pooled).sum(), attention, retain_graph=True)[0]
        total = total + gradient[:, :, queries].relu().mean(1).sum(1)
    return total[:, prefix:]


def grad_eclip(steps, score, last, prefix):
    """Signed: sum over blocks and channels of g_c lambda_i v_ic, (B, N), arXiv 2502.18816."""
    total = 0
    for step in steps[-last:]:
        gradient = torch.autograd.grad(score.sum(), step.attended, retain_graph=True)[0][:, 0]
        total = total + _weighted_values(gradient, step.queries[:, 0], step.keys[:, prefix:], step.values[:, prefix:])
    return total


def _weighted_values(gradient, query, keys, values):
    likeness = cosine(query[:, None], keys)
    low, high = likeness.amin(1, keepdim=True), likeness.amax(1, keepdim=True)
    loosened = (likeness - low) / (high - low)
    return torch.einsum("bc,bi,bic->bi", gradient, loosened, values)


def grad_eclip_of_pooler(asking, read, attend, rest, prefix=0, queries=(0,)):
    """The same with an attention pooler's queries for the class token; ``rest(attended)`` gives the score."""
    _, q, k, v, attended = attend(asking, read)
    gradient = torch.autograd.grad(rest(attended).sum(), attended)[0]
    return sum(_weighted_values(gradient[:, one], q[:, one], k[:, prefix:], v[:, prefix:]) for one in queries)


def grid(values):
    """(B, N) of a square of patches as (B, h, w)."""
    side = round(values.shape[1] ** 0.5)
    return values.unflatten(1, (side, side)).detach()
