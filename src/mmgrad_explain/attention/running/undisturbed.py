"""Run a model with gradients on, and restore the model and the random number generators afterwards."""

import contextlib
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mmgrad_explain.attention.running.modules import ParentOf, map_parents
from mmgrad_explain.attention.running.structures import map_tensors, tensors_in
from mmgrad_explain.errors import GradientError, InputError

# What a call changes for its duration (requires_grad, training flags) belongs to the model, not to the thread.
_LOCK = threading.RLock()


@contextlib.contextmanager
def undisturbed(model: nn.Module, inputs: Any) -> Iterator[ParentOf]:
    """Prepare ``model`` to be explained inside the block, and restore everything after it.

    Inside the block parameters need no gradient, every module is in evaluation mode, gradients are on even if the
    caller has switched them off, and random numbers are drawn from a copy of the generators. One block runs at a time
    in a process, because these settings belong to the model.

    Args:
        model: An unwrapped model.
        inputs: The arguments of the call; only the devices of their tensors are read.

    Yields:
        All modules of the model, each with its parent.

    Raises:
        InputError: the model has no weights.
        GradientError: the model's parameters were made under ``torch.inference_mode``.
    """
    with _LOCK, contextlib.ExitStack() as stack:
        modules = map_parents(model)  # listed once, because it takes long for a model of many modules
        owned = [
            (module, name, parameter)
            for module in modules
            for name, parameter in module._parameters.items()  # noqa: SLF001
            if parameter is not None
        ]
        parameters = [parameter for _, _, parameter in owned]
        _check_weights(model, modules, parameters)
        stack.enter_context(torch.inference_mode(mode=False))  # which turns gradients on under no_grad too
        stack.enter_context(same_randomness(parameters, inputs))
        stack.enter_context(_freeze(owned))
        stack.enter_context(evaluating(modules))
        stack.enter_context(_disable_cache())
        yield modules


@contextlib.contextmanager
def same_randomness(parameters: Sequence[nn.Parameter], inputs: Any) -> Iterator[None]:
    """Draw random numbers from a copy of the generators inside the block: the next block draws the same.

    Args:
        parameters: The generators of their devices are copied.
        inputs: Nested in any way; the generators of their tensors' devices are copied too.
    """
    with contextlib.ExitStack() as stack:
        for kind, devices in (_accelerators(parameters, inputs) or {"cuda": []}).items():
            stack.enter_context(torch.random.fork_rng(devices, device_type=kind))  # which forks the CPU's generator too
        yield


def _check_weights(model: nn.Module, modules: Iterable[nn.Module], parameters: Sequence[nn.Parameter]) -> None:
    if any(map(Tensor.is_inference, parameters)):
        raise GradientError(
            "the model's parameters were made under torch.inference_mode(), so that no gradient can pass them: build "
            "or load the model outside that block"
        )
    if not any(map(attrgetter("is_meta"), parameters)):
        return
    if not any(hasattr(module, "_hf_hook") for module in modules):
        empty = next(name for name, parameter in model.named_parameters() if parameter.is_meta)
        raise InputError(
            f"model: {empty!r} is on the meta device and has no values: load the weights first, for example with "
            "model.to_empty(device=...) and model.load_state_dict(...)"
        )


@contextlib.contextmanager
def _freeze(owned: Sequence[tuple[nn.Module, str, nn.Parameter]]) -> Iterator[None]:
    trainable = [entry for entry in owned if entry[2].requires_grad]
    try:
        for _, _, parameter in trainable:
            parameter.requires_grad = False
        yield
    finally:
        for module, name, parameter in trainable:
            parameter.requires_grad = True
            now = module._parameters[name] if name in module._parameters else None  # noqa: SLF001, SIM401  (no get)
            if now is not parameter and now is not None:  # offloaded weights are new objects after a forward
                now.requires_grad = True


@contextlib.contextmanager
def evaluating(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Put modules into evaluation mode inside the block.

    The flags are set one by one: an overridden train() may do more (merge weights, for example), and some parts of a
    model may be in evaluation mode while others train.
    """
    training = [module for module in modules if module.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True


@contextlib.contextmanager
def _disable_cache() -> Iterator[None]:
    """Do not put the weights of this forward, which have no graph, into the caller's ``parametrize.cached()``."""
    enabled = parametrize._cache_enabled  # noqa: SLF001  (there is no public switch)
    parametrize._cache_enabled = 0  # noqa: SLF001
    try:
        yield
    finally:
        parametrize._cache_enabled = enabled  # noqa: SLF001


def _accelerators(parameters: Sequence[nn.Parameter], inputs: Any) -> dict[str, list[int]]:
    devices = set(map(attrgetter("device"), (*parameters, *tensors_in(inputs))))
    found = defaultdict(list)
    for device in devices:
        if device.type not in {"cpu", "meta"}:
            found[device.type].append(device.index or 0)
    return {kind: sorted(set(indices)) for kind, indices in found.items()}


def detach_inputs(inputs: Any) -> Any:
    """Detach the tensors of a call from the caller's graph, and clone inference tensors.

    Args:
        inputs: Arguments of the call, nested in any way.
    """

    def detach(tensor: Tensor) -> Tensor:
        if tensor.is_inference():
            return tensor.clone()
        return tensor.detach() if tensor.requires_grad else tensor

    return map_tensors(inputs, detach)
