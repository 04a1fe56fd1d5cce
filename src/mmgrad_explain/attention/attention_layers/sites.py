"""Find the attention of a model once: where it runs, what its queries and keys depend on, and whose tokens they are.

One forward with every attention recorded, beside the search for layers (:mod:`~.layers.probe`), which tells the blocks
whose tokens lie on the image. Nothing is decided by names of modules or classes.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmgrad_explain.attention.attention_layers.flow import AttentionFlow, find_attention_flow
from mmgrad_explain.attention.gradient import differentiate
from mmgrad_explain.attention.layers.marked_inputs import mark_features, mark_words
from mmgrad_explain.attention.layers.probe import probe_layers
from mmgrad_explain.attention.layouts.layout import AnyLayout, Layout, to_grid_if_it_fits
from mmgrad_explain.attention.recording.attention_calls import AttentionCall, AttentionRecorder
from mmgrad_explain.attention.running.autograd_graph import find_leaves_below
from mmgrad_explain.attention.running.input_images import InputImage, change_images, find_input_images, make_leaves
from mmgrad_explain.attention.running.modules import plain_modules
from mmgrad_explain.attention.running.structures import tensors_in
from mmgrad_explain.attention.running.undisturbed import same_randomness
from mmgrad_explain.attention.scores.checks import ensure_per_sample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mmgrad_explain.attention.layers.candidate import Candidate

_IMAGE, _TEXT = 1, 2
_NOISE = 1e-4  # of the largest change; less is rounding


@dataclass(frozen=True)
class AttentionSite:
    """One attention of a model.

    Attributes:
        block: Dotted name of the block that it runs in: the module around one self-attention, numbered where there is
            one, such as ``encoder.layers.3``; for other attention the module itself where no block is around it.
        call: Which call of the block.
        index: Which attention in this call of the block.
        heads: H.
        queries: Nq, of the call in which it was found.
        keys: Nk, likewise.
        queries_from_image: Whether the queries depend on an image.
        queries_from_text: Whether they depend on the text.
        keys_from_image: Whether keys or values depend on an image.
        keys_from_text: Whether they depend on the text.
        reached: Whether the score depends on the probabilities.
        tokens_of: Name of the block whose output tokens are the keys' tokens and lie on the image; None where no block
            was found whose tokens do.
        passed: Whether tokens can be followed past it, as relevancy does: whole sequences, an output that was
            seen, and a residual connection around the attention.
    """

    block: str
    call: int
    index: int
    heads: int
    queries: int
    keys: int
    queries_from_image: bool
    queries_from_text: bool
    keys_from_image: bool
    keys_from_text: bool
    reached: bool
    tokens_of: str | None = None
    passed: bool = True

    @property
    def of_image_alone(self) -> bool:
        """Whether queries and keys are tokens of an image into which no text was mixed."""
        return self.queries_from_image and self.keys_from_image and not (self.queries_from_text or self.keys_from_text)

    @property
    def reads_no_image(self) -> bool:
        """Whether neither queries nor keys depend on an image."""
        return not (self.queries_from_image or self.keys_from_image)

    @property
    def is_self(self) -> bool:
        """Whether the queries and keys are the same tokens, by their number and by what they depend on."""
        sources = self.queries_from_image == self.keys_from_image and self.queries_from_text == self.keys_from_text
        return sources and self.queries == self.keys

    def matches(self, call: AttentionCall) -> bool:
        """Return whether a recorded attention is this one."""
        return (call.block, call.call, call.index) == (self.block, self.call, self.index)


def find_mixing_blocks(sites: Sequence[AttentionSite]) -> set[str]:
    """Return the names of blocks that mix image and text, or that read an image's tokens anew."""
    return {
        site.block
        for site in sites
        if not (site.reads_no_image or (site.of_image_alone and site.tokens_of == site.block))
    }


def find_attention_sites(
    root: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], score: str | Callable[[Any], Any] | None
) -> tuple[AttentionSite, ...]:
    """Find the attention of a model that is undisturbed already, in the order in which it runs.

    The model runs once, and five times more where it has attention.

    Args:
        root: The unwrapped model.
        args: The model's arguments.
        kwargs: The model's keyword arguments.
        score: The caller's score; None if there is none.

    Raises:
        InputError: as :func:`~mmgrad_explain.attention.layers.candidates.candidate_layers`.
        GradientError: likewise.
    """
    inputs = (args, kwargs)
    images = find_input_images(root, inputs)
    (marked_args, marked_kwargs), leaves = make_leaves(inputs, images) if images else mark_features(inputs)
    modules = plain_modules(root)
    shapes: dict[str, tuple[int, ...]] = {}
    with contextlib.ExitStack() as stack:
        for name, module in modules.items():
            stack.callback(module.register_forward_hook(_make_shape_hook(name, shapes)).remove)
        words = mark_words(stack, modules.values(), inputs)
        stack.enter_context(same_randomness(list(root.parameters()), inputs))
        recorder = stack.enter_context(AttentionRecorder(modules))
        output = root(*marked_args, **marked_kwargs)
    kept = [pair for pair in zip(recorder.calls, recorder.around, strict=True) if pair[0].probabilities.requires_grad]
    calls, around = [call for call, _ in kept], [modules for _, modules in kept]  # without those under torch.no_grad
    if not calls:
        return ()
    search = probe_layers(root, args, kwargs, score)
    measured = ensure_per_sample(search.scorer(output))
    reached = differentiate(measured, [call.probabilities for call in calls], retain_graph=True)
    marks = {id(leaf): _IMAGE for leaf in leaves.values()} | {id(word): _TEXT for word in words}
    sites = [
        _describe(call, found is not None, marks)
        for call, found in zip(_name_blocks(calls, around), reached, strict=True)
    ]
    flow = find_attention_flow(calls, measured)
    sites = [
        replace(site, passed=_is_passed(call, keys.stream, flow, len(measured)))
        for site, call, keys in zip(sites, calls, flow.keys, strict=True)
    ]
    changed = _find_changed_tokens(root, inputs, images, modules, calls, flow) if images else {}
    known = {
        (site.block, site.call): changed.get(keys.stream)
        for site, keys, of_image in zip(sites, flow.keys, _begin_with_image(sites, flow), strict=True)
        if site.is_self and of_image
    }
    return _find_tokens(sites, search.candidates, shapes, known)


def _is_passed(call: AttentionCall, stream: int, flow: AttentionFlow, samples: int) -> bool:
    is_whole = len(call.probabilities) % samples == 0
    return call.output is not None and is_whole and stream not in flow.unskipped


def _find_changed_tokens(
    root: nn.Module,
    inputs: Any,
    images: Sequence[InputImage],
    modules: Mapping[str, nn.Module],
    calls: Sequence[AttentionCall],
    flow: AttentionFlow,
) -> dict[int, Tensor]:
    """Find the tokens of each stream that were an image's before any attention: those that change with the images.

    Returns:
        Stream to (B, N), True for tokens that change; streams whose keys were not seen are left out.
    """
    args, kwargs = change_images(inputs, {image.index: _invert for image in images})
    with same_randomness(list(root.parameters()), inputs), AttentionRecorder(modules) as recorder:
        root(*args, **kwargs)
    if len(recorder.calls) != len(calls):
        return {}
    found: dict[int, Tensor] = {}
    for before, after, keys in zip(calls, recorder.calls, flow.keys, strict=True):
        if keys.stream in found or keys.rows is not None or before.keys is None or after.keys is None:
            continue
        if before.keys.shape == after.keys.shape:
            change = (after.keys.detach() - before.keys.detach()).float().abs().amax((1, 3))
            found[keys.stream] = change > _NOISE * change.amax()
    return found


def _invert(image: Tensor) -> Tensor:
    """Change every pixel of an image, within its range of values."""
    return image.amax() + image.amin() - image + (image.amax() == image.amin()).to(image.dtype)


def _begin_with_image(sites: Sequence[AttentionSite], flow: AttentionFlow) -> list[bool]:
    """Tell for each attention whether its keys' tokens depended on an image before any attention mixed them.

    Words that have read an image depend on it too, but lie nowhere on it.
    """
    first: dict[int, bool] = {}
    for site, keys in zip(sites, flow.keys, strict=True):
        first.setdefault(keys.stream, site.keys_from_image)
    return [first[keys.stream] for keys in flow.keys]


def _make_shape_hook(name: str, shapes: dict[str, tuple[int, ...]]) -> Any:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        shapes.setdefault(name, tuple(next((tensor.shape for tensor in tensors_in(output)), ())))

    return hook


def _describe(call: AttentionCall, reached: bool, marks: dict[int, int]) -> AttentionSite:  # noqa: FBT001
    parts = [call.probabilities if call.queries is None else call.queries]
    parts += [call.probabilities if part is None else part for part in (call.keys, call.values)]
    of_queries, of_keys, of_values = find_leaves_below(parts, marks)
    of_keys |= of_values
    _, heads, queries, keys = call.probabilities.shape
    return AttentionSite(
        call.block, call.call, call.index, heads, queries, keys,
        bool(of_queries & _IMAGE), bool(of_queries & _TEXT), bool(of_keys & _IMAGE), bool(of_keys & _TEXT), reached,
    )  # fmt: skip


def _name_blocks(calls: Sequence[AttentionCall], modules_around: Sequence[dict[str, int]]) -> list[AttentionCall]:
    """Name each attention by its block instead of the innermost module that it ran in."""
    inside: dict[str, set[str]] = {}
    for call in calls:
        if call.probabilities.shape[2] == call.probabilities.shape[3]:
            for around in _list_around(call.block):
                inside.setdefault(around, set()).add(call.block)
    found = []
    counts: dict[tuple[str, int], int] = {}
    for call, running in zip(calls, modules_around, strict=True):
        block = _choose_block(call.block, inside)
        number = running.get(block, call.call)
        index = counts.get((block, number), 0)
        counts[block, number] = index + 1
        found.append(replace(call, block=block, call=number, index=index))
    return found


def _choose_block(name: str, inside: Mapping[str, set[str]]) -> str:
    """Choose the block of an attention among the modules around it.

    It is the outermost numbered module with no other self-attention inside. Where none is numbered, it is the outermost
    module with one self-attention inside a module with several, and else the module around the attention.

    Args:
        name: Of the module in which the attention ran.
        inside: Name of a module to the modules inside it in which self-attention ran.
    """
    around = _list_around(name)
    for outer in around:
        if outer.rpartition(".")[2].isdigit() and len(inside.get(outer, ())) <= 1:
            return outer
    if name not in inside:
        return name
    for parent, outer in zip(["", *around], around, strict=False):
        if len(inside[outer]) == 1 and (not parent or len(inside[parent]) > 1):
            return outer if parent or len(around) == 1 else around[-2]
    return name


def _list_around(name: str) -> list[str]:
    """List a module and those around it by name, the outermost first: ``layers``, ``layers.1``, ``layers.1.attn``."""
    parts = name.split(".")
    return [".".join(parts[: depth + 1]) for depth in range(len(parts))]


def _find_tokens(
    sites: Sequence[AttentionSite],
    candidates: Sequence[Candidate],
    shapes: Mapping[str, tuple[int, ...]],
    known: Mapping[tuple[str, int], Tensor | None],
) -> tuple[AttentionSite, ...]:
    """Find for each attention the block whose output tokens are its keys' tokens.

    Args:
        sites: All attention.
        candidates: The layers whose outputs look like a grid.
        shapes: What each module returned at its first call.
        known: The calls of blocks whose tokens depended on an image before any attention, each with the tokens that
            did, (B, N); None where these could not be told.
    """
    layouts = {candidate.name: candidate.layout for candidate in candidates}
    found: list[AttentionSite] = []
    for site in sites:
        layout, shape = layouts.get(site.block), shapes.get(site.block, ())
        call = site.block, site.call
        is_own = site.is_self and call in known and layout is not None
        is_like_the_first = site.keys in shape[:2]
        on_image = _lies_on_image(layout, site.keys, shape, known[call]) if is_own and is_like_the_first else is_own
        if on_image and (is_like_the_first or any(one.tokens_of == one.block == site.block for one in found)):
            found.append(replace(site, tokens_of=site.block))  # the same block may see images of several sizes
            continue
        same = [
            other
            for other in found
            if other.tokens_of and other.is_self and other.keys == site.keys
            and other.keys_from_text == site.keys_from_text
        ]  # fmt: skip
        same = [other for other in same if other.call == site.call] or same  # of several images, its own
        reads_image = site.keys_from_image and not (site.is_self and call not in known)
        found.append(replace(site, tokens_of=same[-1].tokens_of if same and reads_image else None))
    return tuple(found)


def _lies_on_image(layout: AnyLayout | None, count: int, shape: tuple[int, ...], changed: Tensor | None) -> bool:
    """Return whether the cells of a layout are tokens that were an image's before any attention."""
    if layout is None or (isinstance(layout, Layout) and layout.kind != "tokens"):
        return False
    first = shape[0] == count and shape[1] != count  # the sequence is the first dimension
    batch = shape[1] if first else shape[0]
    numbers = torch.arange(count, dtype=torch.float64).expand(batch, count)[..., None]
    cells = to_grid_if_it_fits(numbers.transpose(0, 1) if first else numbers, layout)
    if cells is None:
        return False
    if changed is None or len(changed) != len(cells):
        return True
    return bool(changed.cpu().gather(1, cells.flatten(1).long()).all())
