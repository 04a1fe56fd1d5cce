"""Compute blocks once for a batch of equal images, where a method needs nothing of them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmgrad_explain.attention.running.modules import replaced_forwards
from mmgrad_explain.attention.running.structures import map_tensors, tensors_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mmgrad_explain.attention.methods.base import Method
    from mmgrad_explain.attention.settings import Plan


def find_shared_blocks(plan: Plan, method: Method) -> list[str]:
    """Find the blocks of the image's tower before the first attention that a method reads.

    Args:
        plan: What the method has recorded.
        method: One that runs the model again, or reads layers or whole towers, shares none.
    """
    needs = method.needs
    if needs.layers or needs.reruns or needs.attention is None or not plan.attention:
        return []
    first = next((at for at, site in enumerate(plan.sites) if site.block in plan.attention), 0)
    later = {site.block for site in plan.sites[first:]} | {*plan.layers, *plan.blocks}
    of_image = [
        site.block
        for site in plan.sites[:first]
        if site.is_self and site.of_image_alone and site.tokens_of == site.block and site.block not in later
    ]
    return list(dict.fromkeys(of_image))


@contextlib.contextmanager
def sharing(modules: Sequence[nn.Module], count: int) -> Iterator[None]:
    """Let modules compute only the first of equal rows inside the block; batches of other rows are computed whole.

    Args:
        modules: Modules that treat each sample by itself.
        count: How many rows a batch has.
    """
    with replaced_forwards({module: _share(module.forward, count) for module in modules}):
        yield


def _share(forward: Callable[..., Any], count: int) -> Callable[..., Any]:
    def take_one(tensor: Tensor) -> Tensor:
        return tensor[:1] if tensor.ndim and len(tensor) == count else tensor

    def repeat(tensor: Tensor) -> Tensor:
        return tensor.expand(count, *tensor.shape[1:]) if tensor.ndim and len(tensor) == 1 else tensor

    def shared(*args: Any, **kwargs: Any) -> Any:
        batches = [tensor for tensor in tensors_in((args, kwargs)) if tensor.ndim and len(tensor) == count]
        if not batches or not all(torch.equal(tensor, tensor[:1].expand_as(tensor)) for tensor in batches):
            return forward(*args, **kwargs)
        args, kwargs = map_tensors((args, kwargs), take_one)
        return map_tensors(forward(*args, **kwargs), repeat)

    return shared
