"""What the attention of a block adds to each token, with other probabilities: its values, mixed and projected."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmgrad_explain.attention.recording.attention_calls import AttentionCall, AttentionRecorder
from mmgrad_explain.attention.running.structures import tensors_in
from mmgrad_explain.errors import CaptureError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmgrad_explain.attention.attention_layers.sites import AttentionSite
    from mmgrad_explain.attention.methods.run import Run


def attention_branch(run: Run, site: AttentionSite, attend: Callable[[AttentionCall], Tensor]) -> Tensor:
    """Run the model again with other probabilities in one attention, and return what this attention gives, (B, N, D).

    That is the output of the innermost module around it, with its output projection, and what is done to it alone
    after that (a layer scale, a dropout), but not the residual.

    Args:
        run: The forward.
        site: The attention.
        attend: Takes the attention as it runs and returns other probabilities (B, H, Nq, Nk).

    Raises:
        CaptureError: the attention was not seen again, or gives no tokens (B, N, D).
    """
    block = run.root.get_submodule(site.block)
    watched = {name or ".": module for name, module in block.named_modules()}
    follower = _Follower(site, attend)
    with contextlib.ExitStack() as stack:
        for handle in follower.register(block, watched):
            stack.callback(handle.remove)
        stack.enter_context(AttentionRecorder(watched, change=follower.change))
        run.rerun(run.inputs_of_call())
    if follower.branch is None or follower.branch.ndim != 3 or follower.branch.shape[1] != site.queries:
        shape = None if follower.branch is None else tuple(follower.branch.shape)
        raise CaptureError(
            f"the attention of {site.block!r} gives {shape}, not tokens (B, N, D): take a method that reads a layer, "
            "such as 'layercam'"
        )
    return follower.branch


class _Follower:
    """Follows the output of one attention through the modules that change it alone.

    Attributes:
        branch: The output, as far as it was followed.
    """

    def __init__(self, site: AttentionSite, attend: Callable[[AttentionCall], Tensor]) -> None:
        self.branch: Tensor | None = None
        self._site = site
        self._attend = attend
        self._calls = -1  # of the block
        self._attentions = 0  # in this call of the block
        self._around: str | None = None  # the innermost module around the attention, until it ends
        self._part = ""  # the part of the block that it lies in

    def change(self, call: AttentionCall) -> Tensor | None:
        """Return other probabilities where this is the attention."""
        number = self._attentions
        self._attentions += 1
        if (self._calls, number) != (self._site.call, self._site.index):
            return None
        self._around = call.block
        self._part = call.block.partition(".")[0]
        return self._attend(call)

    def register(self, block: nn.Module, watched: dict[str, nn.Module]) -> list[Any]:
        """Register hooks at the block and at all modules inside it."""
        handles = [block.register_forward_pre_hook(self._begin)]
        return handles + [
            module.register_forward_hook(self._hook_for(name), with_kwargs=True) for name, module in watched.items()
        ]

    def _begin(self, *_: object) -> None:
        self._calls += 1
        self._attentions = 0

    def _hook_for(self, name: str) -> Any:
        def hook(_module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            made = next(tensors_in(output), None)
            if name == self._around:
                self._around = None
                self.branch = made
            elif self.branch is not None and made is not None and made.shape[:2] == self.branch.shape[:2]:
                inputs = list(tensors_in((args, kwargs)))
                alone = len(inputs) == 1 and inputs[0] is self.branch
                if alone and (name.partition(".")[0] == self._part or _scales_channels(self.branch, made)):
                    self.branch = made

        return hook


def _scales_channels(before: Tensor, after: Tensor) -> bool:
    """Return whether each channel was multiplied by one number, the same for all tokens."""
    if before.shape != after.shape:
        return False
    top = before.abs().amax((0, 1), keepdim=True)
    scale = after.abs().amax((0, 1), keepdim=True) / top.clamp(min=torch.finfo(top.dtype).tiny)
    sign = (before * after).sum((0, 1), keepdim=True).sign()
    return torch.allclose(after, sign * scale * before, rtol=1e-2, atol=1e-5)
