"""Mark the inputs of a model in the graph: features, where there are no images, and the embeddings of words."""

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mmgrad_explain.attention.running.structures import holds_strings, map_tensors, tensors_in


def mark_features(inputs: Any) -> tuple[Any, dict[int, Tensor]]:
    """Make features leaves of the graph, for a model without images: the floating tensors of the most dimensions.

    Args:
        inputs: (args, kwargs).

    Returns:
        The inputs with clones of the leaves, and the leaves by number.
    """
    most = max((t.ndim for t in tensors_in(inputs) if t.is_floating_point()), default=0)
    leaves: dict[int, Tensor] = {}

    def make_leaf(tensor: Tensor) -> Tensor:
        if not (tensor.is_floating_point() and tensor.ndim == most > 1):
            return tensor
        number = len(leaves)
        leaves[number] = tensor.detach().requires_grad_()
        return leaves[number].clone()

    return map_tensors(inputs, make_leaf), leaves


def mark_words(stack: contextlib.ExitStack, modules: Iterable[nn.Module], inputs: Any) -> list[Tensor]:
    """Make leaves of the graph of the embeddings of words, in every forward until the stack is closed.

    Args:
        stack: Removes the hooks.
        modules: Those of the model.
        inputs: (args, kwargs) of the forward.

    Returns:
        The leaves; filled while the model runs.
    """
    integers = [t for t in tensors_in(inputs) if not t.is_floating_point() and not t.is_complex()]
    words: list[Tensor] = []
    hook = make_word_hook(integers, words, has_strings=holds_strings(inputs))
    for module in modules:
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
            stack.callback(module.register_forward_hook(hook, with_kwargs=True).remove)
    return words


def make_word_hook(integers: list[Tensor], words: list[Tensor], *, has_strings: bool) -> Callable[..., Any]:
    """Make a hook that makes leaves of what an embedding returns for the caller's own integers, not for positions.

    Args:
        integers: The integer tensors among the inputs.
        words: The leaves; added to.
        has_strings: Whether the inputs hold strings, which become integers inside the model. All integers but positions
            and token types then count.
    """

    def hook(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor | None:
        ids = next(tensors_in((args, kwargs)))
        if not any(_are_same(ids, own) for own in integers) and not (has_strings and _look_like_words(ids)):
            return None
        words.append(output.detach().requires_grad_())
        return words[-1].clone()

    return hook


def _are_same(ids: Tensor, integers: Tensor) -> bool:
    if ids.untyped_storage().data_ptr() == integers.untyped_storage().data_ptr():
        return True
    return ids.numel() == integers.numel() and torch.equal(ids.flatten(), integers.flatten().to(ids))


def _look_like_words(ids: Tensor) -> bool:
    """Return whether integers neither count up, as positions do, nor are all equal, as token types are."""
    steps = ids.reshape(-1, ids.shape[-1])[0].diff() if ids.ndim else ids
    return not bool((steps == 1).all()) and bool(steps.count_nonzero())
