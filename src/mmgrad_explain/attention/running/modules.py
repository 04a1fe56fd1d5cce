"""Find modules by name inside models that may be wrapped by DDP, compiled or sharded."""

import contextlib
import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from mmgrad_explain.errors import InputError

# Names that wrappers (torch.compile, FSDP, checkpoint_wrapper) put between a module and its parent.
_WRAPPER_PARTS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}

_PART = re.compile(r"(.*?)((?:\[[^\[\]]*\])*)", re.DOTALL)

_SHARDED = {"FullyShardedDataParallel", "FSDPModule"}  # by name: importing them takes a while
_STATIC_GRAPH_SEEN = "_static_graph_delay_allreduce_enqueued"
_SCRIPTED = (
    ", which runs its layers without Python, so that hooks inside never run: pass the eager module that it was made "
    "from"
)
_FLAT = (
    ", whose layers are not called one by one: pass the module that was exported, or torch.export.unflatten(program)"
)


def unwrap(model: nn.Module) -> nn.Module:
    """Return the module inside the wrappers of torch.compile and DistributedDataParallel, however they are nested.

    Other wrappers, such as FSDP's, do work in the forward and are kept.

    Raises:
        TypeError: ``model`` is not a module.
        InputError: the layers of ``model`` cannot be hooked: it is an ``nn.DataParallel``, whose replicas run in
            threads, or a scripted, traced or exported model, whose layers are not called one by one.
    """
    if type(model).__name__ == "ExportedProgram":
        raise InputError(f"model is an ExportedProgram{_FLAT}")
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, not {type(model).__name__}")
    model = _strip_wrappers(model)
    if isinstance(model, nn.DataParallel):
        raise InputError(
            "model is an nn.DataParallel, whose replicas run in threads of their own: pass model.module, or use "
            "DistributedDataParallel (one process a GPU)"
        )
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError(f"model is a torch.jit.ScriptModule{_SCRIPTED}")
    if isinstance(model, torch.fx.GraphModule) and not _calls_layers(model):
        raise InputError(f"model is a graph that calls no layers, as torch.export makes it{_FLAT}")
    return model


def _strip_wrappers(module: nn.Module) -> nn.Module:
    *_, bare = _iterate_wrapped(module)
    return bare


def _iterate_wrapped(module: nn.Module) -> Iterator[nn.Module]:
    """Yield a module and the modules inside its wrappers, the innermost last."""
    while True:
        yield module
        inner: Any = getattr(module, "_orig_mod", None)
        if inner is None and isinstance(module, nn.parallel.DistributedDataParallel):
            inner = module.module
        if not isinstance(inner, nn.Module):
            return
        module = inner


def refuse_sharded(root: nn.Module, what: str) -> None:
    """Raise InputError where FSDP (``FullyShardedDataParallel`` or ``fully_shard``) has sharded any part of a model.

    FSDP gathers the weights of a part only around a call of that part, and frees them with the first gradient.

    Args:
        root: The model.
        what: What cannot be done with a sharded model; the message begins with it.
    """
    if is_sharded(root):
        raise InputError(
            f"{what}: the model is sharded (FSDP), and its weights are there only for one forward and one backward "
            "pass of the whole: call mmgrad(...) on every process to look, and train with DistributedDataParallel"
        )


def is_sharded(root: nn.Module) -> bool:
    """Return whether FSDP (``FullyShardedDataParallel`` or ``fully_shard``) has sharded any part of a model."""
    return any(base.__name__ in _SHARDED for module in every_module(root) for base in type(module).__mro__)


def refuse_first_static_step(model: nn.Module) -> None:
    """Raise InputError where a gradient of maps would be the first that a static-graph DistributedDataParallel sees.

    The wrapper decides in its first backward pass when to average gradients. If that pass reaches no parameter, it
    never averages them.

    Args:
        model: The model as it was passed.
    """
    for module in _iterate_wrapped(model):
        if getattr(module, "static_graph", False) and not getattr(module, _STATIC_GRAPH_SEEN, True):
            raise InputError(
                "capture: a DistributedDataParallel with static_graph=True learns its graph in its first backward "
                "pass, which cannot be that of a map: take one training step without maps first, or leave "
                "static_graph=False"
            )


def _calls_layers(model: torch.fx.GraphModule) -> bool:
    """Return whether a traced graph calls modules; names that the exporter adds begin with an underscore."""
    return any(node.op == "call_module" and not str(node.target).startswith("_") for node in model.graph.nodes)


def plain_name(name: str) -> str:
    """Drop what wrappers add to a dotted name: ``trunk._orig_mod.layer4`` becomes ``trunk.layer4``."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPER_PARTS)


def plain_modules(root: nn.Module) -> dict[str, nn.Module]:
    """List the modules below ``root`` by dotted name, without what wrappers add to names.

    Of several modules with the same name the innermost counts.
    Scripted and traced parts are left out, because they take no hooks.
    """
    return {
        plain_name(name): module
        for name, module in root.named_modules()
        if plain_name(name) and not isinstance(module, torch.jit.ScriptModule)
    }


def find_layers(root: nn.Module, wanted: "nn.Module | str | Sequence[nn.Module | str]") -> dict[str, nn.Module]:
    """Find target layers inside a model.

    Args:
        root: An unwrapped model.
        wanted: A module, a dotted name, or a sequence of them. A name may end in a part of the layer's output, where
            that holds several: ``"fpn[2]"``, ``"fpn['p3']"``.

    Returns:
        Dotted name, with the part if there is one, to module, in the order of ``wanted``.

    Raises:
        TypeError: something in ``wanted`` is neither a module nor a name.
        InputError: there is no such layer, ``wanted`` is empty, or the hooks of a layer never run.
    """
    if isinstance(wanted, (str, nn.Module)) and not isinstance(wanted, (nn.ModuleList, nn.ModuleDict)):
        wanted = [wanted]
    elif isinstance(wanted, (nn.ModuleList, nn.ModuleDict)):
        raise InputError(
            f"target_layers is a {type(wanted).__name__}, which is never called itself: name one of its members"
        )
    elif not isinstance(wanted, Sequence):
        raise TypeError(f"target_layers must be a module, a dotted name or a list of them, not {type(wanted).__name__}")
    if not wanted:
        raise InputError("target_layers is empty: name at least one layer, or leave it None to have one found")
    found = dict(_find_layer(root, item) for item in wanted)
    for name, module in found.items():
        _refuse_layer_without_hooks(root, split_part(name)[0], module)
    return found


def find_modules(root: nn.Module, names: Sequence[str]) -> dict[str, nn.Module]:
    """Find modules by the names of :func:`plain_modules`, in the order of ``names``."""
    modules = plain_modules(root)
    return {name: modules[name] for name in names}


def split_part(name: str) -> tuple[str, str]:
    """Split ``fpn['p3']`` into the layer ``fpn`` and the part ``[p3]`` of its output; without a part that is empty."""
    layer, part = _PART.fullmatch(name).groups()  # type: ignore[union-attr]  # it matches everything
    return layer, re.sub(r"""\[(['"])(.*?)\1\]""", r"[\2]", part)


def _find_layer(root: nn.Module, wanted: nn.Module | str) -> tuple[str, nn.Module]:
    if isinstance(wanted, str):
        return _find_by_name(root, wanted)
    if not isinstance(wanted, nn.Module):
        raise TypeError(f"target_layers must hold modules or dotted names, not {type(wanted).__name__}")
    bare = _strip_wrappers(wanted)
    for name, module in root.named_modules():
        if module is bare:
            return plain_name(name), module
    raise InputError(f"target_layers: this {type(bare).__name__} is not a part of the model {type(root).__name__}")


def _find_by_name(root: nn.Module, wanted: str) -> tuple[str, nn.Module]:
    layer, part = split_part(wanted)
    name, module = _find_module(root, layer)
    return name + part, module


def _find_module(root: nn.Module, wanted: str) -> tuple[str, nn.Module]:
    names = plain_modules(root)
    spellings = (wanted, plain_name(wanted), wanted.removeprefix("module."), f"module.{wanted}")
    for name in (*spellings, *(prefix + wanted for prefix in _only_children(root))):
        if name in names:
            return name, names[name]
    try:  # a second name of a shared module is not in named_modules()
        return wanted, _strip_wrappers(root.get_submodule(wanted)) if wanted else root
    except AttributeError:
        pass
    near = difflib.get_close_matches(wanted, list(names), n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise InputError(f"target_layers: {type(root).__name__} has no layer {wanted!r}{hint}") from None


def _only_children(root: nn.Module) -> Iterator[str]:
    """Yield the name prefixes inside wrappers with one child: ``base_model.`` and so on in a LoRA model."""
    prefix, module = "", root
    while len(inside := dict(module.named_children())) == 1:
        ((name, module),) = inside.items()
        if name not in _WRAPPER_PARTS:
            prefix = f"{prefix}{name}."
            yield prefix


def _refuse_layer_without_hooks(root: nn.Module, name: str, module: nn.Module) -> None:
    if isinstance(module, torch.jit.ScriptModule):
        raise InputError(f"target_layers: {name!r} is, or lies in, a torch.jit.ScriptModule{_SCRIPTED}")
    for owner in every_module(root):
        if isinstance(owner, nn.MultiheadAttention) and owner.out_proj is module:
            attention = name.rpartition(".")[0]
            raise InputError(
                f"target_layers: {name!r} is the out_proj of an nn.MultiheadAttention, which reads its weights and "
                f"never calls it: take the attention itself ({attention!r}) or the layer around it"
            )


def every_module(root: nn.Module) -> Iterator[nn.Module]:
    """Yield ``root`` and all modules inside, as ``root.modules()`` does, but faster.

    ``modules()`` makes a dotted name for each module; in a model of some hundred modules that takes longer than a GPU
    needs for an image.
    """
    seen: set[nn.Module] = set()
    waiting = [root]
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            yield module
            waiting += [child for child in reversed(module._modules.values()) if child is not None]  # noqa: SLF001


ParentOf = Mapping[nn.Module, nn.Module | None]
"""Every module of a model to its parent; the model itself has none."""


def map_parents(root: nn.Module) -> ParentOf:
    """List all modules of a model, each with its outermost parent."""
    parents: dict[nn.Module, nn.Module | None] = {root: None}
    waiting = [root]
    for parent in waiting:
        for child in parent._modules.values():  # noqa: SLF001
            if child is not None and child not in parents:
                parents[child] = parent
                waiting.append(child)
    return parents


def list_parents(parents: ParentOf, module: nn.Module) -> list[nn.Module]:
    """List ``module``, its parent, the parent of that, and so on, the model last."""
    if module not in parents:
        return [module, next(iter(parents))]
    found: list[nn.Module] = []
    current: nn.Module | None = module
    while current is not None:
        found.append(current)
        current = parents[current]
    return found


def find_previous_block(root: nn.Module, name: str) -> str | None:
    """Find the block before the layer ``name``: ``blocks.10`` for ``blocks.11`` and for what follows the last block.

    Returns:
        Its dotted name, or None where no numbered block comes before.
    """
    parts = name.split(".")
    for depth in range(len(parts), 0, -1):
        part, parent = parts[depth - 1], ".".join(parts[: depth - 1])
        if part.isdigit():
            before = f"{parent}.{int(part) - 1}" if parent else str(int(part) - 1)
            return before if before in plain_modules(root) else None
        numbered = None
        for sibling in _child_names(root, parent):
            if sibling == part:
                break
            inside = f"{parent}.{sibling}" if parent else sibling
            count = sum(child.isdigit() for child in _child_names(root, inside))
            numbered = f"{inside}.{count - 2}" if count > 1 else numbered
        if numbered:
            return numbered
    return None


def _child_names(root: nn.Module, parent: str) -> Iterator[str]:
    depth = parent.count(".") + 1 if parent else 0
    for name in plain_modules(root):
        if name.count(".") == depth and (not parent or name.startswith(f"{parent}.")):
            yield name.rpartition(".")[2]


@contextlib.contextmanager
def replaced_forwards(forwards: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Replace the forwards of modules inside the block. Hooks still run; afterwards each module has its own forward.

    Args:
        forwards: Module to what is called in place of its ``forward``.
    """
    before = {module: module.__dict__.get("forward") for module in forwards}
    try:
        for module, forward in forwards.items():
            module.__dict__["forward"] = forward
        yield
    finally:
        for module, own in before.items():
            if own is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = own
