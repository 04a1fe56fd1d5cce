"""Run somebody's model with gradients on and leave no trace on it, nor on the random number generators."""

import contextlib
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmgrad_explain.attention.structures import map_tensors, tensors_in
from mmgrad_explain.errors import GradientError

# What is switched for the time of a call (requires_grad, training flags) belongs to the model, not to the thread.
_LOCK = threading.RLock()


@contextlib.contextmanager
def undisturbed(model: nn.Module, inputs: Any) -> Iterator[None]:
    """Make ``model`` ready to be explained inside the block, and put everything back after it.

    Inside: parameters need no gradient, every module is in evaluation mode, gradients are on whatever the caller had
    switched off, and random numbers are drawn from a copy of the generators. One block runs at a time in a process,
    because the switches are the model's.

    Args:
        model: An unwrapped model.
        inputs: What it will be called with; only the devices of its tensors are read.

    Raises:
        GradientError: the model's parameters were made under ``torch.inference_mode``.
    """
    with _LOCK, contextlib.ExitStack() as stack:
        parameters = list(model.parameters())  # looked up once: in a model of many parts that takes a while
        if any(parameter.is_inference() for parameter in parameters):
            raise GradientError(
                "the model's parameters were made under torch.inference_mode(), so that no gradient can pass them: "
                "build or load the model outside that block"
            )
        stack.enter_context(torch.inference_mode(mode=False))  # which turns gradients on under no_grad too
        stack.enter_context(same_randomness(parameters, inputs))
        stack.enter_context(_frozen(parameters))
        stack.enter_context(_evaluating(model))
        yield


@contextlib.contextmanager
def same_randomness(parameters: Sequence[nn.Parameter], inputs: Any) -> Iterator[None]:
    """Draw random numbers from a copy of the generators inside the block: the next block draws the same.

    Args:
        parameters: Their devices count.
        inputs: So do those of the tensors in here.
    """
    with contextlib.ExitStack() as stack:
        for kind, devices in _accelerators(parameters, inputs).items():
            stack.enter_context(torch.random.fork_rng(devices, device_type=kind))
        stack.enter_context(torch.random.fork_rng([]))
        yield


@contextlib.contextmanager
def _frozen(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    try:
        for parameter in trainable:
            parameter.requires_grad = False
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad = True


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    # The flags are set one by one: an overridden train() may do more than that (merge weights, say), and a model may
    # have some parts in evaluation mode while others train.
    training = [module for module in model.modules() if module.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True


def _accelerators(parameters: Sequence[nn.Parameter], inputs: Any) -> dict[str, list[int]]:
    devices = {parameter.device for parameter in parameters} | {tensor.device for tensor in tensors_in(inputs)}
    found = defaultdict(list)
    for device in devices:
        if device.type not in {"cpu", "meta"}:
            found[device.type].append(device.index or 0)
    return {kind: sorted(set(indices)) for kind, indices in found.items()}


def own_inputs(inputs: Any) -> Any:
    """Cut the caller's tensors loose: inference tensors are cloned, those inside the caller's graph detached.

    Args:
        inputs: Arguments of a call, nested as they come.
    """

    def cut(tensor: Tensor) -> Tensor:
        if tensor.is_inference():
            return tensor.clone()
        return tensor.detach() if tensor.requires_grad else tensor

    return map_tensors(inputs, cut)
