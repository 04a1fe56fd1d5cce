"""Record what target layers give during a forward, in a form that a gradient can be taken of.

The hooks live only as long as a block. Each keeps the layer's output and hands on a clone of it, so that operations in
place after the layer leave the record alone.
"""

import contextlib
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mmgrad_explain.attention.autograd_graph import last_ones, node_of
from mmgrad_explain.attention.forward_modes import eager, math_attention, repeated_in
from mmgrad_explain.attention.layouts.detection import infer_layout
from mmgrad_explain.attention.modules import Family, every_module, family, lineage, split_part
from mmgrad_explain.attention.structures import image_size, map_tensors, parts_in, tensors_in
from mmgrad_explain.errors import CaptureError, GradientError, InputError

_REENTRANT = (
    "reentrant activation checkpointing hides what happens inside from gradients: pass use_reentrant=False to "
    "torch.utils.checkpoint, or switch checkpointing off"
)


@dataclass(frozen=True)
class Record:
    """What one call of one layer gave.

    Attributes:
        activation: The layer's output tensor, part of the graph that the score is computed on.
        image_size: (H, W) in pixels of the picture that this call worked on; None where none was seen.
        version: The activation's version counter when it was recorded; a later change in place raises it.
        severed: Gradients were off when the layer ran, so that nothing after it is connected to the activation.
        rows: The rows of the batch that are this record's; None for all.
        picture: Which of several input pictures its cells lie on; None where there are not several.
        pictures: All of the input pictures that it hangs on.
        call: How often the layer had run before.
        others: All that the call gave, by part (``"[2]"``), where it gave several grids and no part was asked for.
        handed_on: The node of the graph that hands this part on, where it gave several.
    """

    activation: Tensor
    image_size: tuple[int, int] | None
    version: int
    severed: bool
    rows: tuple[int, ...] | None = None
    picture: int | None = None
    pictures: tuple[int, ...] = ()
    call: int = 0
    others: "Mapping[str, Record]" = field(default_factory=dict, repr=False)
    handed_on: Any = field(default=None, repr=False)


@dataclass(frozen=True)
class _Tap:
    """What becomes of a layer's output, in a forward and wherever checkpointing repeats it.

    It knows no record: the graph keeps it, and would be kept by it in turn.

    Attributes:
        layers: Name to module.
        parts: Name to the part of the layer's output that is meant; empty for all of it.
        force_grad: Turn gradients on at the layer.
        least: How many dimensions an output has at least.
        onward: Record what is handed on instead of what the layer gave.
    """

    layers: Mapping[str, nn.Module]
    parts: Mapping[str, str]
    force_grad: bool
    least: int
    onward: bool

    def split(self, name: str, output: Any) -> tuple[dict[str, tuple[Tensor, Tensor]], Any] | None:
        """Give the tensors to record by their place in the output, each with its copy, and the output to hand on.

        None where there is nothing usable.
        """
        parts = {p: t for p, t in parts_in(output).items() if t.is_floating_point() and t.ndim >= self.least}
        if not parts:
            return None
        _ensure_grad(name, force=self.force_grad)
        if self.parts[name]:
            parts = {"": _the_part(name, self.parts[name], parts, output)}
        made = {path: self._copy(tensor) for path, tensor in parts.items()}
        onward = {id(parts[path]): copy for path, (_, copy) in made.items()}
        return made, map_tensors(output, lambda tensor: onward.get(id(tensor), tensor))

    def _copy(self, tensor: Tensor) -> tuple[Tensor, Tensor]:
        activation = tensor if tensor.requires_grad else tensor.detach().requires_grad_()
        if self.onward and activation is tensor:
            activation = tensor.clone()
        return activation, activation.clone()

    @contextlib.contextmanager
    def repeat(self) -> Iterator[None]:
        """Do to the layers' outputs inside the block what was done to them before, and record nothing."""
        with contextlib.ExitStack() as stack:
            for name, layer in self.layers.items():
                stack.callback(layer.register_forward_hook(self._hook_for(name), prepend=True).remove)
            yield

    def _hook_for(self, name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            if not _is_repetition():  # another thread's forward
                return None
            tapped = self.split(name, output)
            return None if tapped is None else tapped[1]

        return hook


class Capture:
    """The outputs of target layers during one block.

    Made by :meth:`MultiModalGradAttention.capture`. It is a context manager that can be entered once; what it recorded
    stays readable afterwards and is freed with it. Calls of the model in other threads are left alone.

    Attributes:
        root: The model, unwrapped.
        layers: Name to module.
        records: Layer name to one :class:`Record` a call, in the order of the calls.
        order: The names of the layers in the order in which their calls ended, once for each call.
        math_attention: Whether attention was computed so that it can be differentiated twice.
        arguments: What the model was called with last, positional and by name; None where it was not called itself.
    """

    def __init__(
        self,
        root: nn.Module,
        layers: Mapping[str, nn.Module],
        *,
        force_grad: bool = False,
        math_attention: bool = False,
        packed: bool = False,
        onward: bool = False,
        split: bool = False,
        inside: Family | None = None,
    ) -> None:
        """Prepare to record; nothing is touched before the block is entered.

        Args:
            root: The unwrapped model.
            layers: Name to module, of the layers to record.
            force_grad: Turn gradients on at the layer, also inside a ``no_grad`` block of the model's own.
            math_attention: Have scaled-dot-product attention computed by plain matrix products, the one backend that
                can be differentiated twice.
            packed: Take outputs of two dimensions as well, as of models that pack the patches of several pictures;
                there must be a layout that says where they lie.
            onward: Record what is handed on instead of what the layer gave, so that gradients count only what comes
                after the layer. A layer may give what it has used inside, too.
            split: Record each grid of an output that holds several as a layer of its own, such as ``features[2]``.
            inside: All modules of the model, where they have been looked up already.
        """
        self.records: dict[str, list[Record]] = {name: [] for name in layers}
        self.order: list[str] = []
        self.math_attention = math_attention
        self.root = root
        self.layers = dict(layers)
        self.arguments: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        self._parts = {name: split_part(name)[1] for name in layers}
        self._tap = _Tap(dict(layers), dict(self._parts), force_grad, 2 if packed else 3, onward)
        self._split = split
        self._inside = inside
        self._thread = 0
        self._entered = False
        self._recording = False
        self._stack = contextlib.ExitStack()
        self._image_size: tuple[int, int] | None = None
        self._elsewhere: set[str] = set()
        self._unusable: dict[str, str] = {}

    def __enter__(self) -> Self:
        if self._entered:
            raise CaptureError("this Capture has recorded its block already: call capture() again for the next one")
        self._entered = self._recording = True
        self._thread = threading.get_ident()
        with contextlib.ExitStack() as stack:  # closed again should anything below fail
            stack.enter_context(eager())
            if self.math_attention:
                stack.enter_context(math_attention())
            stack.enter_context(repeated_in(self._tap.repeat))
            for handle in self._register():
                stack.callback(handle.remove)
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

    @property
    def activations(self) -> list[Tensor]:
        """Every recorded activation."""
        return [record.activation for calls in self.records.values() for record in calls]

    def working_on(self, size: tuple[int, int] | None) -> None:
        """Say which picture, (H, W) in pixels, is worked on, where it is not handed to a module around the layers."""
        self._image_size = size

    def alike(self, layers: Mapping[str, nn.Module]) -> "Capture":
        """Prepare to record some of the same layers in another forward, without a graph."""
        again = Capture(self.root, layers, inside=self._inside)
        again._parts = {name: self._parts[name] for name in layers}
        again._tap = replace(again._tap, parts=again._parts, least=self._tap.least)
        return again

    def choose_parts(self, score: Any, *others: Tensor) -> None:
        """Where a layer's output holds several grids, keep the grid that the score uses.

        Args:
            score: What was computed of the forward.
            *others: Tensors in front of it, where its graph begins after the layers.

        Raises:
            InputError: the score uses several; the message names them.
        """
        for name, calls in self.records.items():
            if not any(record.others for record in calls):
                continue
            nodes = {
                record.handed_on: path for call in calls for path, record in call.others.items() if record.handed_on
            }
            begins = [one for one in (score, *others) if isinstance(one, Tensor) and one.requires_grad]
            used = set().union(*(last_ones(node_of(one), nodes) for one in begins))
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
        try:
            infer_layout(record.activation, module=self.layers[name], model=self.root, image_size=record.image_size)
        except InputError:
            return False
        return True

    def calls(self, layer: str) -> list[Record]:
        """Give the records of a layer, one a call.

        Raises:
            CaptureError: the layer never ran, or gave nothing that a map could be made of.
        """
        if self.records[layer]:
            return self.records[layer]
        if layer in self._unusable:
            raise CaptureError(
                f"layer {layer!r} returned {self._unusable[layer]}: a map needs a floating tensor with at least 3 "
                "dimensions, so choose another layer"
            )
        if layer in self._elsewhere:
            raise CaptureError(
                f"layer {layer!r} ran only in another thread than the one that captures: run the model in the same "
                "thread"
            )
        raise CaptureError(
            f"layer {layer!r} never ran in this forward: the model does not call it for these inputs, calls a part of "
            "it directly, or ran outside the block; choose a layer that the forward calls"
        )

    def _register(self) -> list[RemovableHandle]:
        inside = family(self.root) if self._inside is None else self._inside
        watched = dict.fromkeys(module for layer in self.layers.values() for module in lineage(inside, layer))
        watched.update(dict.fromkeys(one for one in inside if isinstance(one, nn.Conv2d) and one.in_channels == 3))
        handles = [m.register_forward_pre_hook(self._before, with_kwargs=True) for m in watched]
        # Before all other hooks, which may keep what they see for the model's own use (hidden states, say).
        return handles + [m.register_forward_hook(self._hook_for(n), prepend=True) for n, m in self.layers.items()]

    def _hook_for(self, name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            return self._after(name, output)

        return hook

    def _before(self, module: nn.Module, args: Any, kwargs: Any = None) -> None:
        """Note the picture that the next layers work on: the latest handed to a module around them or to a stem.

        Another thread's forward may come without ``kwargs``, where this hook is taken away while it runs.
        """
        if self._recording and threading.get_ident() == self._thread:
            if module is self.root:
                self.arguments = args, kwargs
            size = image_size((args, kwargs))
            if size is not None and (self._image_size is None or module is self.root or _looks_at_pixels(module)):
                self._image_size = size
            _ensure_grad(None, force=self._tap.force_grad)

    def _after(self, name: str, output: Any) -> Any:
        if _is_repetition():
            return None  # what was checkpointed in this block meets hooks of its own, what was before it none
        if threading.get_ident() != self._thread:
            self._elsewhere.add(name)
            return None
        tapped = self._tap.split(name, output)
        if tapped is None:
            self._unusable[name] = _describe(output)
            return None
        made, handed_on = tapped
        if self._recording:
            self._keep(name, {path: self._record(*pair, several=len(made) > 1) for path, pair in made.items()})
        return handed_on

    def _record(self, activation: Tensor, handed_on: Tensor, *, several: bool) -> Record:
        version = activation._version  # noqa: SLF001  (the documented counter of changes in place)
        node = handed_on.grad_fn if several else None
        return Record(activation, self._image_size, version, not torch.is_grad_enabled(), handed_on=node)

    def _keep(self, name: str, made: Mapping[str, Record]) -> None:
        if self._split and len(made) > 1:
            for path, record in made.items():
                self.layers[name + path] = self.layers[name]
                self._parts[name + path] = path
                calls = self.records.setdefault(name + path, [])
                calls.append(replace(record, call=len(calls)))
                self.order.append(name + path)
            return
        calls = self.records[name]
        numbered = {path: replace(record, call=len(calls)) for path, record in made.items()}
        first = next(iter(numbered.values()))
        calls.append(replace(first, others=numbered) if len(made) > 1 else first)
        self.order.append(name)


def _is_repetition() -> bool:
    """Say whether this thread runs a backward pass: what checkpointing itself asks."""
    return torch._C._current_graph_task_id() != -1  # noqa: SLF001


def _ensure_grad(name: str | None, *, force: bool) -> None:
    where = f"layer {name!r} runs" if name else "the target layer runs"
    if torch.is_inference_mode_enabled():
        if name is None:
            return  # the block may end before the layer
        raise GradientError(
            f"{where} inside a torch.inference_mode() block of the model's own, which cannot be undone from "
            "outside: use torch.no_grad() there"
        )
    if torch.is_grad_enabled():
        return
    if _inside_reentrant_checkpoint():
        raise GradientError(f"{where} inside a checkpoint; {_REENTRANT}")
    if force:
        torch.set_grad_enabled(True)  # until the model's own no_grad block ends and puts back what was before it


def _the_part(name: str, path: str, parts: Mapping[str, Tensor], output: Any) -> Tensor:
    if path in parts:
        return parts[path]
    if not isinstance(output, Mapping) and path.startswith("[-"):  # counted from the end
        counted = path[1:].partition("]")[0]
        positive = f"[{len(output) + int(counted)}]" if counted[1:].isdigit() and hasattr(output, "__len__") else path
        if (found := positive + path[path.index("]") + 1 :]) in parts:
            return parts[found]
    there = f"it has {', '.join(parts)}" if "" not in parts else "it gives one tensor; name the layer alone"
    raise CaptureError(f"layer {name.removesuffix(path)!r} has no part {path}: {there}")


def _looks_at_pixels(module: nn.Module) -> bool:
    """Say whether the first convolution inside takes 1 or 3 channels; attention heads may be as many."""
    first = next((inside for inside in every_module(module) if isinstance(inside, nn.Conv2d)), None)
    return first is not None and first.in_channels in {1, 3}


def _inside_reentrant_checkpoint() -> bool:
    frame = sys._getframe()  # noqa: SLF001  (there is no other way to tell)
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name == "forward" and frame.f_globals.get("__name__") == "torch.utils.checkpoint":
            return True
    return False


def _describe(output: Any) -> str:
    shapes = [f"{str(t.dtype).removeprefix('torch.')} {tuple(t.shape)}" for t in tensors_in(output)]
    return f"{type(output).__name__} with {', '.join(shapes) if shapes else 'no tensor'}"
