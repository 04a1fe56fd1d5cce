"""Record what target layers return during a forward, so that a gradient can be taken with respect to it.

The hooks live only as long as a block. Each keeps the layer's output and passes on a clone of it, so that operations in
place after the layer do not change the record.
"""

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mmgrad_explain.attention.layouts.detection import detect_layout
from mmgrad_explain.attention.recording.attention_calls import AttentionCall, AttentionRecorder
from mmgrad_explain.attention.recording.layer_taps import LayerTap, enable_grad
from mmgrad_explain.attention.recording.records import Record
from mmgrad_explain.attention.running.autograd_graph import find_nearest_stops, node_of
from mmgrad_explain.attention.running.forward_modes import (
    is_repetition,
    math_attention,
    run_eagerly,
    run_repetitions_in,
)
from mmgrad_explain.attention.running.modules import ParentOf, every_module, list_parents, map_parents, split_part
from mmgrad_explain.attention.running.structures import image_size, tensors_in
from mmgrad_explain.errors import CaptureError, InputError


class Capture:
    """The outputs of target layers during one block.

    Made by :meth:`MultiModalGradAttention.capture`. It is a context manager that can be entered once. Its records can
    be read after the block and are freed with it. Calls of the model in other threads are not recorded.

    Attributes:
        root: The model, unwrapped.
        layers: Name to module.
        records: Layer name to one :class:`~mmgrad_explain.attention.recording.records.Record` a call, in the order of
            the calls.
        order: The names of the layers in the order in which their calls ended, one name a call.
        math_attention: Whether attention was computed so that it can be differentiated twice.
        arguments: The last arguments of the model, positional and by name; None where it was not called itself.
        replayed: Name to module of the modules whose whole outputs are kept: blocks, and convolutions of the image.
        outputs: Name of such a module to what it returned, one a call.
    """

    def __init__(
        self,
        root: nn.Module,
        layers: Mapping[str, nn.Module],
        *,
        force_grad: bool = False,
        math_attention: bool = False,
        packed: bool = False,
        record_clone: bool = False,
        split: bool = False,
        parents: ParentOf | None = None,
        attention: Mapping[str, nn.Module] | None = None,
        replayed: Mapping[str, nn.Module] | None = None,
    ) -> None:
        """Prepare to record; the model is not touched before the block is entered.

        Args:
            root: The unwrapped model.
            layers: Name to module, of the layers to record.
            force_grad: Turn gradients on at the layer, also inside a ``no_grad`` block of the model's own.
            math_attention: Have scaled-dot-product attention computed by plain matrix products, the one backend that
                can be differentiated twice.
            packed: Record outputs of two dimensions too, as models return that pack the patches of several images; a
                layout must place them.
            record_clone: Record the clone that is passed on instead of the layer's own output, so that gradients count
                only what comes after the layer. The layer may have used its own output inside.
            split: Record each grid of an output that holds several as a separate layer, such as ``features[2]``.
            parents: All modules of the model, each with its parent, if they have been listed already.
            attention: Name to module, of the modules inside which attention is recorded.
            replayed: Name to module, of the modules whose whole outputs are kept.
        """
        self.records: dict[str, list[Record]] = {name: [] for name in layers}
        self.order: list[str] = []
        self.math_attention = math_attention
        self.root = root
        self.layers = dict(layers)
        self.arguments: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        self.replayed = dict(replayed or {})
        self.outputs: dict[str, list[Any]] = {name: [] for name in self.replayed}
        self._attention = AttentionRecorder(attention) if attention else None
        self._parts = {name: split_part(name)[1] for name in layers}
        self._tap = LayerTap(dict(layers), dict(self._parts), force_grad, 2 if packed else 3, record_clone)
        self._split = split
        self._parents = parents
        self._thread = 0
        self._entered = False
        self._recording = False
        self._stack = contextlib.ExitStack()
        self._image_size: tuple[int, int] | None = None
        self._ran_in_other_threads: set[str] = set()
        self._unusable: dict[str, str] = {}

    def __enter__(self) -> Self:
        if self._entered:
            raise CaptureError("this Capture has recorded its block already: call capture() again for the next one")
        self._entered = self._recording = True
        self._thread = threading.get_ident()
        with contextlib.ExitStack() as stack:  # closed again if anything below fails
            stack.enter_context(run_eagerly())
            if self.math_attention:
                stack.enter_context(math_attention())
            stack.enter_context(run_repetitions_in(self._tap.repeat))
            for handle in self._register():
                stack.callback(handle.remove)
            if self._attention is not None:
                stack.enter_context(run_repetitions_in(self._attention.repeat, self._attention.remember))
                stack.enter_context(self._attention)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._recording = False
        self._stack.close()

    def stop(self) -> None:
        """Stop recording."""
        self._recording = False
        if self._attention is not None:
            self._attention.stop()

    @property
    def attention(self) -> list[AttentionCall]:
        """The attention that was recorded."""
        return [] if self._attention is None else self._attention.calls

    @property
    def activations(self) -> list[Tensor]:
        """Every recorded activation."""
        return [record.activation for calls in self.records.values() for record in calls]

    def set_image_size(self, size: tuple[int, int] | None) -> None:
        """Set (H, W) in pixels of the image that the layers work on, where no module around the layers gets it."""
        self._image_size = size

    def record_again(self, layers: Mapping[str, nn.Module]) -> "Capture":
        """Prepare to record some of the same layers in another forward, without a graph."""
        again = Capture(self.root, layers, parents=self._parents)
        again._parts = {name: self._parts[name] for name in layers}
        again._tap = replace(again._tap, parts=again._parts, min_dims=self._tap.min_dims)
        return again

    def choose_parts(self, score: Any, *others: Tensor) -> None:
        """Keep the grid that the score uses, where the output of a layer holds several grids.

        Args:
            score: Computed from the output of the forward.
            *others: Tensors whose graphs reach the layers, where the graph of the score begins after them.

        Raises:
            InputError: the score uses several; the message names them.
        """
        for name, calls in self.records.items():
            if not any(record.others for record in calls):
                continue
            nodes = {
                record.passed_on: path for call in calls for path, record in call.others.items() if record.passed_on
            }
            starts = [tensor for tensor in (score, *others) if isinstance(tensor, Tensor) and tensor.requires_grad]
            used = set().union(*(find_nearest_stops(node_of(tensor), nodes) for tensor in starts))
            paths = [path for path in calls[0].others if path in used]
            if len(paths) > 1:
                paths = [path for path in paths if self._is_grid(name, calls[0].others[path])] or paths
            if len(paths) > 1:
                shapes = [f"{name + path!r} {tuple(calls[0].others[path].activation.shape)}" for path in paths]
                raise InputError(
                    f"target_layers: layer {name!r} gives several grids that the score uses; name one: "
                    f"{' or '.join(shapes)}"
                )
            if paths:
                self._parts[name] = paths[0]
                self.records[name] = [call.others.get(paths[0], call) for call in calls]

    def _is_grid(self, name: str, record: Record) -> bool:
        layout = detect_layout(
            record.activation, module=self.layers[name], model=self.root, image_size=record.image_size
        )
        return layout is not None

    def calls(self, layer: str) -> list[Record]:
        """Return the records of a layer, one a call.

        Raises:
            CaptureError: the layer never ran, or returned nothing that a map could be made of.
        """
        if self.records[layer]:
            return self.records[layer]
        if layer in self._unusable:
            raise CaptureError(
                f"layer {layer!r} returned {self._unusable[layer]}: a map needs a floating tensor with at least 3 "
                "dimensions, so choose another layer"
            )
        if layer in self._ran_in_other_threads:
            raise CaptureError(
                f"layer {layer!r} ran only in another thread than the one that captures: run the model in the same "
                "thread"
            )
        raise CaptureError(
            f"layer {layer!r} never ran in this forward: the model does not call it for these inputs, calls a part of "
            "it directly, or ran outside the block; choose a layer that the forward calls"
        )

    def _register(self) -> list[RemovableHandle]:
        parents = map_parents(self.root) if self._parents is None else self._parents
        hooked = dict.fromkeys(module for layer in self.layers.values() for module in list_parents(parents, layer))
        hooked.update(dict.fromkeys(m for m in parents if isinstance(m, nn.Conv2d) and m.in_channels == 3))
        handles = [m.register_forward_pre_hook(self._before, with_kwargs=True) for m in hooked]
        # Before all other hooks, which may keep outputs for the model's own use (hidden states, for example).
        handles += [m.register_forward_hook(self._hook_for(n), prepend=True) for n, m in self.layers.items()]
        return handles + [m.register_forward_hook(self._keep_output(n)) for n, m in self.replayed.items()]

    def _keep_output(self, name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not self._recording or threading.get_ident() != self._thread or is_repetition():
                return
            self.outputs[name].append(output)
            if isinstance(module, nn.Conv2d) and any(tensor.requires_grad for tensor in tensors_in(inputs)):
                self.replayed.pop(name, None)  # it does not read the image itself, and may follow a changed block

        return hook

    def _hook_for(self, name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            return self._after(name, output)

        return hook

    def _before(self, module: nn.Module, args: Any, kwargs: Any = None) -> None:
        """Note the size of the image that the next layers work on: the last one that a module around them got.

        A forward of another thread may pass no ``kwargs`` if this hook is removed while that forward runs.
        """
        if self._recording and threading.get_ident() == self._thread:
            if module is self.root:
                self.arguments = args, kwargs
            size = image_size((args, kwargs))
            if size is not None and (self._image_size is None or module is self.root or _reads_pixels(module)):
                self._image_size = size
            enable_grad(None, force=self._tap.force_grad)

    def _after(self, name: str, output: Any) -> Any:
        if is_repetition():
            return None  # the tap has hooks of its own for repetitions of what was checkpointed in this block
        if threading.get_ident() != self._thread:
            self._ran_in_other_threads.add(name)
            return None
        tapped = self._tap.split(name, output)
        if tapped is None:
            self._unusable[name] = _describe_output(output)
            return None
        tensors, passed_on = tapped
        if self._recording:
            self._keep(name, {path: self._record(*pair, several=len(tensors) > 1) for path, pair in tensors.items()})
        return passed_on

    def _record(self, activation: Tensor, passed_on: Tensor, *, several: bool) -> Record:
        version = activation._version  # noqa: SLF001  (the documented counter of changes in place)
        node = passed_on.grad_fn if several else None
        return Record(activation, self._image_size, version, not torch.is_grad_enabled(), passed_on=node)

    def _keep(self, name: str, parts: Mapping[str, Record]) -> None:
        if self._split and len(parts) > 1:
            for path, record in parts.items():
                self.layers[name + path] = self.layers[name]
                self._parts[name + path] = path
                calls = self.records.setdefault(name + path, [])
                calls.append(replace(record, call=len(calls)))
                self.order.append(name + path)
            return
        calls = self.records[name]
        numbered = {path: replace(record, call=len(calls)) for path, record in parts.items()}
        first = next(iter(numbered.values()))
        calls.append(replace(first, others=numbered) if len(parts) > 1 else first)
        self.order.append(name)


def _reads_pixels(module: nn.Module) -> bool:
    """Return whether the first convolution inside takes 1 or 3 channels, as images have (attention heads may too)."""
    first = next((child for child in every_module(module) if isinstance(child, nn.Conv2d)), None)
    return first is not None and first.in_channels in {1, 3}


def _describe_output(output: Any) -> str:
    shapes = [f"{str(t.dtype).removeprefix('torch.')} {tuple(t.shape)}" for t in tensors_in(output)]
    return f"{type(output).__name__} with {', '.join(shapes) if shapes else 'no tensor'}"
