"""What an attention adds to each token, with other probabilities, in modules that are written in different ways."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from mmgrad_explain.attention.attention_layers.sites import AttentionSite
from mmgrad_explain.attention.methods.attention.branch_tokens import attention_branch
from mmgrad_explain.errors import CaptureError

WIDTH = 8


class Split(nn.Module):
    """Attention whose output projection is another module, as in BERT."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.inner = Inner()

    def forward(self, x):
        return self.out(self.inner(self.qkv(x)))

    def values(self, x):
        return self.out(self.qkv(x)[..., 2 * WIDTH :])


class Inner(nn.Module):
    def forward(self, qkv):
        q, k, v = (part.unflatten(-1, (2, -1)).transpose(1, 2) for part in qkv.chunk(3, -1))
        return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class Torchs(nn.Module):
    """torch's own attention."""

    def __init__(self):
        super().__init__()
        self.of = nn.MultiheadAttention(WIDTH, 2, batch_first=True)

    def forward(self, x):
        return self.of(x, x, x, need_weights=False)[0]

    def values(self, x):
        weight, bias = self.of.in_proj_weight[2 * WIDTH :], self.of.in_proj_bias[2 * WIDTH :]
        return self.of.out_proj(functional.linear(x, weight, bias))


class Block(nn.Module):
    """A block of a transformer; after its attention it may scale channels, and it may have no residual."""

    def __init__(self, attention, *, scaled, residual):
        super().__init__()
        self.norm1, self.attention, self.norm2 = nn.LayerNorm(WIDTH), attention, nn.LayerNorm(WIDTH)
        self.scale = Scale() if scaled else nn.Identity()
        self.mlp = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU())
        self.residual = residual

    def forward(self, x):
        made = self.scale(self.attention(self.norm1(x)))
        x = x + made if self.residual else made
        return x + self.mlp(self.norm2(x))


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.by = nn.Parameter(torch.randn(WIDTH))

    def forward(self, x):
        return x * self.by


class Tower(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.blocks = nn.ModuleList([block])

    def forward(self, x):
        return self.blocks[0](x).mean((1, 2))


def branch_of(model, x, block="blocks.0"):
    count = x.shape[1]
    site = AttentionSite(block, 0, 0, 2, count, count, True, False, True, False, True, block)

    def rerun(inputs):
        with torch.no_grad():
            return model(*inputs[0])

    run = SimpleNamespace(root=model, inputs_of_call=lambda: ((x,), {}), rerun=rerun)
    return attention_branch(run, site, lambda call: torch.eye(count).expand(call.probabilities.shape))


@pytest.mark.parametrize("attention", [Split, Torchs])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_each_token_gives_its_own_value(zoo, attention, scaled, residual):
    model = zoo.build(lambda: Tower(Block(attention(), scaled=scaled, residual=residual))).eval()
    block, x = model.blocks[0], torch.randn(2, 5, WIDTH)
    with zoo.leaves_alone(model):
        found = branch_of(model, x)
    torch.testing.assert_close(found, block.scale(block.attention.values(block.norm1(x))).detach())


def test_torchs_fast_path_is_on_again(zoo):
    model = zoo.build(lambda: Tower(Block(Torchs(), scaled=False, residual=True))).eval()
    branch_of(model, torch.randn(2, 5, WIDTH))
    assert torch.backends.mha.get_fastpath_enabled()


def test_attention_that_is_not_seen_is_refused(zoo):
    class Hidden(nn.Module):
        def forward(self, x):
            return x.cumsum(1)

    model = zoo.build(lambda: Tower(Block(Hidden(), scaled=False, residual=True)))
    with pytest.raises(CaptureError, match=r"blocks\.0.*layercam"):
        branch_of(model, torch.randn(2, 5, WIDTH))
