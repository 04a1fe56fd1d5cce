"""Find modules by name inside models as people have them: wrapped by DDP, compiled, sharded, or bare."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
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
    ", which runs its layers without Python, so that nothing inside can be seen: hand in the eager module that it was "
    "made of"
)
_FLAT = (
    ", whose layers are not called one by one: hand in the module that was exported, or torch.export.unflatten(program)"
)


def unwrap(model: nn.Module) -> nn.Module:
    """Give the module to run: what torch.compile and DistributedDataParallel wrap, however they are nested.

    Other wrappers, such as FSDP's, do work of their own in a forward and are kept.

    Raises:
        TypeError: ``model`` is not a module.
        InputError: ``model`` cannot be looked into: an ``nn.DataParallel``, whose replicas run in threads, or a
            scripted, traced or exported model, whose layers are not called one by one.
    """
    if type(model).__name__ == "ExportedProgram":
        raise InputError(f"model is an ExportedProgram{_FLAT}")
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, not {type(model).__name__}")
    model = _peeled(model)
    if isinstance(model, nn.DataParallel):
        raise InputError(
            "model is an nn.DataParallel, whose replicas run in threads of their own: hand in model.module, or use "
            "DistributedDataParallel (one process a GPU)"
        )
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError(f"model is a torch.jit.ScriptModule{_SCRIPTED}")
    if isinstance(model, torch.fx.GraphModule) and not _calls_layers(model):
        raise InputError(f"model is a graph that calls no layers, as torch.export makes it{_FLAT}")
    return model


def _peeled(module: nn.Module) -> nn.Module:
    *_, bare = _layers_of_wrapping(module)
    return bare


def _layers_of_wrapping(module: nn.Module) -> Iterator[nn.Module]:
    """Yield a module and what torch.compile and DistributedDataParallel wrap in it, the bare one last."""
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

    It gathers a part's weights only around a call of that part, and frees them with the first gradient.

    Args:
        root: The model.
        what: What cannot be done with it, to begin the message.
    """
    for module in every_module(root):
        if any(base.__name__ in _SHARDED for base in type(module).__mro__):
            raise InputError(
                f"{what}: the model is sharded (FSDP), and its weights are there only for one forward and one backward "
                "pass of the whole: call mmgrad(...) on every process to look, and train with DistributedDataParallel"
            )


def refuse_first_static_step(model: nn.Module) -> None:
    """Raise InputError where a gradient of maps would be the first that a static-graph DistributedDataParallel sees.

    It decides in the first backward pass when to average gradients, and would never do so after one that reaches no
    parameter.

    Args:
        model: The model as it was handed in.
    """
    for module in _layers_of_wrapping(model):
        if getattr(module, "static_graph", False) and not getattr(module, _STATIC_GRAPH_SEEN, True):
            raise InputError(
                "capture: a DistributedDataParallel with static_graph=True learns its graph in its first backward "
                "pass, which cannot be that of a map: take one training step without maps first, or leave "
                "static_graph=False"
            )


def _calls_layers(model: torch.fx.GraphModule) -> bool:
    """Say whether a traced graph calls modules; a leading underscore marks what the exporter adds."""
    return any(node.op == "call_module" and not str(node.target).startswith("_") for node in model.graph.nodes)


def plain_name(name: str) -> str:
    """Drop what wrappers add to a dotted name: ``trunk._orig_mod.layer4`` becomes ``trunk.layer4``."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPER_PARTS)


def plain_modules(root: nn.Module) -> dict[str, nn.Module]:
    """List the modules below ``root`` by dotted name, without what wrappers add to names (the innermost one counts).

    Scripted and traced parts are left out: hooks cannot be put on them.
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
        wanted: A module, a dotted name, or a sequence of them. A name may end in the part of the layer's output that
            is meant, where that holds several: ``"fpn[2]"``, ``"fpn['p3']"``.

    Returns:
        Dotted name, with the part where there is one, to module, in the order given.

    Raises:
        TypeError: something in ``wanted`` is neither a module nor a name.
        InputError: no such layer, nothing wanted, or a layer whose hooks never run.
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
        _refuse_unseen(root, split_part(name)[0], module)
    return found


def split_part(name: str) -> tuple[str, str]:
    """Split ``fpn['p3']`` into the layer ``fpn`` and the part ``[p3]`` of what it gives; without one it is empty."""
    layer, part = _PART.fullmatch(name).groups()  # type: ignore[union-attr]  # it matches everything
    return layer, re.sub(r"""\[(['"])(.*?)\1\]""", r"[\2]", part)


def _find_layer(root: nn.Module, wanted: nn.Module | str) -> tuple[str, nn.Module]:
    if isinstance(wanted, str):
        return _find_by_name(root, wanted)
    if not isinstance(wanted, nn.Module):
        raise TypeError(f"target_layers must hold modules or dotted names, not {type(wanted).__name__}")
    bare = _peeled(wanted)
    for name, module in root.named_modules():
        if module is bare:
            return plain_name(name), module
    raise InputError(f"target_layers: this {type(bare).__name__} is not a part of the model {type(root).__name__}")


def _find_by_name(root: nn.Module, wanted: str) -> tuple[str, nn.Module]:
    layer, part = split_part(wanted)
    name, module = _find_whole(root, layer)
    return name + part, module


def _find_whole(root: nn.Module, wanted: str) -> tuple[str, nn.Module]:
    names = plain_modules(root)
    spellings = (wanted, plain_name(wanted), wanted.removeprefix("module."), f"module.{wanted}")
    for name in (*spellings, *(prefix + wanted for prefix in _only_children(root))):
        if name in names:
            return name, names[name]
    try:  # a second name of a shared module is not in named_modules()
        return wanted, _peeled(root.get_submodule(wanted)) if wanted else root
    except AttributeError:
        pass
    near = difflib.get_close_matches(wanted, list(names), n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise InputError(f"target_layers: {type(root).__name__} has no layer {wanted!r}{hint}") from None


def _only_children(root: nn.Module) -> Iterator[str]:
    """Yield the prefixes of names inside what is wrapped: ``base_model.`` and ``base_model.model.`` in a LoRA model."""
    prefix, module = "", root
    while len(inside := dict(module.named_children())) == 1:
        ((name, module),) = inside.items()
        if name not in _WRAPPER_PARTS:
            prefix = f"{prefix}{name}."
            yield prefix


def _refuse_unseen(root: nn.Module, name: str, module: nn.Module) -> None:
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
    """Yield ``root`` and all modules inside, as ``root.modules()`` does, but in a fraction of its time.

    ``modules()`` makes a dotted name for each of them; in a model of some hundred parts that takes longer than a GPU
    needs for a picture.
    """
    seen: set[nn.Module] = set()
    waiting = [root]
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            yield module
            waiting += [child for child in reversed(module._modules.values()) if child is not None]  # noqa: SLF001


Family = Mapping[nn.Module, nn.Module | None]
"""Every module of a model to the one that it lies in; the model itself lies in none."""


def family(root: nn.Module) -> Family:
    """Look a model through once: all modules, each with the outermost one that holds it."""
    around: dict[nn.Module, nn.Module | None] = {root: None}
    waiting = [root]
    for parent in waiting:
        for child in parent._modules.values():  # noqa: SLF001
            if child is not None and child not in around:
                around[child] = parent
                waiting.append(child)
    return around


def lineage(inside: Family, module: nn.Module) -> list[nn.Module]:
    """List ``module`` and the modules it lies in, the innermost first, the model last."""
    if module not in inside:
        return [module, next(iter(inside))]
    found: list[nn.Module] = []
    one: nn.Module | None = module
    while one is not None:
        found.append(one)
        one = inside[one]
    return found


def previous_block(root: nn.Module, name: str) -> str | None:
    """Name the block before the layer ``name``: ``blocks.10`` for ``blocks.11`` and for what follows the last block.

    Returns:
        A dotted name, or None where no numbered block comes before.
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
