"""Which layers a map can be made at, found by one forward and one gradient with every module watched.

Three more forwards, each with a place marked on the picture, say whose cells lie where they seem to.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from mmgrad_explain.attention.capture import Capture
from mmgrad_explain.attention.gradient import differentiate, own_layout
from mmgrad_explain.attention.guard import own_inputs, same_randomness, undisturbed
from mmgrad_explain.attention.guessed_score import default_score, naming_the_guess
from mmgrad_explain.attention.layout import infer_layout
from mmgrad_explain.attention.modules import plain_modules, unwrap
from mmgrad_explain.attention.places import in_place, refuse_packed
from mmgrad_explain.attention.scores import Score, check_score, ensure_score
from mmgrad_explain.attention.structures import holds_strings, is_picture, map_tensors, tensors_in
from mmgrad_explain.errors import GradientError, InputError
from mmgrad_explain.layouts import AnyLayout, Layout, placed, to_grid


@dataclass(frozen=True)
class Candidate:
    """A layer whose output looks like a grid over the picture.

    Attributes:
        name: Dotted name inside the model.
        type: Class name of the module.
        grid: (h, w), cells.
        channels: K.
        layout: How the output lies on the picture: what the model's own ``layout_for`` says, or what was inferred.
        calls: How often the forward called the layer.
        gradient_reaches: The score's gradient is not zero everywhere on the grid.
        mixes_text: Text has been mixed into the output; None where no text input could be told.
        chosen: The layer that ``target_layers=None`` takes: the model's own ``target_layer`` where it names one.
    """

    name: str
    type: str
    grid: tuple[int, int]
    channels: int
    layout: AnyLayout
    calls: int
    gradient_reaches: bool
    mixes_text: bool | None
    chosen: bool = False


def candidate_layers(
    model: nn.Module, *args: Any, score: str | Callable[[Any], Any] | None = None, **kwargs: Any
) -> list[Candidate]:
    """List the layers a map can be made at, in the order in which they run.

    The model runs four times and comes back as it was. The probe keeps every module's output, so it needs the memory
    of a training step. A layer is listed only if a place that is marked on the picture is found again there. Give a
    real picture: where noise is marked, it is noise as before, and layers that see large parts of it may be missed.

    Args:
        model: Any model.
        *args: What the model takes.
        score: As for :class:`~mmgrad_explain.attention.mmgrad.MultiModalGradAttention`.
        **kwargs: What the model takes by name.

    Returns:
        The candidates; the one that ``target_layers=None`` takes is marked.

    Raises:
        InputError: the score cannot be told from the output, or the pictures come packed in a way that cannot be told.
        GradientError: the score depends on none of the layers.
    """
    root = unwrap(model)
    with undisturbed(root, (args, kwargs)):
        own_args, own_kwargs = own_inputs((args, kwargs))
        return probe(root, own_args, own_kwargs, score)


def resolve_score(
    root: nn.Module, score: str | Callable[[Any], Any] | None, output: Any, sources: Sequence[Tensor] = ()
) -> Score:
    """Choose the score: the one asked for, the model's own ``default_score``, or what the output suggests.

    Args:
        root: The model.
        score: The one asked for.
        output: What the model gave.
        sources: Tensors that stand for the picture, on which a suggested score must hang.
    """
    own = getattr(root, "default_score", None)
    wanted = score if score is not None or not (isinstance(own, str) or callable(own)) else own
    return default_score(output, sources) if wanted is None else ensure_score(wanted)


def probe(
    root: nn.Module, args: Sequence[Any], kwargs: dict[str, Any], score: str | Callable[[Any], Any] | None
) -> list[Candidate]:
    """Do the work of :func:`candidate_layers` on a model that is undisturbed already."""
    inputs = (tuple(args), kwargs)
    if not hasattr(root, "layout_for"):
        refuse_packed(inputs)
    pictures: list[Tensor] = []
    words: list[Tensor] = []
    given = list(tensors_in(inputs))
    numbers = [t for t in given if not t.is_floating_point() and not t.is_complex()]
    seen_whole = any(map(is_picture, given))
    most = max((t.ndim for t in given if t.is_floating_point()), default=0)

    def follow(tensor: Tensor) -> Tensor:
        is_one = is_picture(tensor) if seen_whole else tensor.ndim == most > 1
        if not (is_one and tensor.is_floating_point()):
            return tensor
        pictures.append(tensor.detach().requires_grad_())
        return pictures[-1].clone()

    args, kwargs = map_tensors(inputs, follow)
    own = getattr(root, "target_layer", None)
    modules = {name: module for name, module in plain_modules(root).items() if name == own or not _is_no_place(module)}
    with contextlib.ExitStack() as stack:
        for module in modules.values():
            if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
                handle = module.register_forward_hook(
                    _follow_words(numbers, words, strings=holds_strings(inputs)), with_kwargs=True
                )
                stack.callback(handle.remove)
        with Capture(root, modules, force_grad=True, onward=True, packed=hasattr(root, "layout_for")) as seen:
            with same_randomness(list(root.parameters()), inputs):
                output = root(*args, **kwargs)
            seen.stop()
            scorer = resolve_score(root, score, output, pictures)
            with naming_the_guess(scorer):
                values = check_score(scorer(output))
                found = _judge(modules, seen, values, _reach(seen, pictures, words))
    inferred = {one.name: one.layout for one in found if own_layout(seen, one.name) is None}
    kept = in_place(root, seen, inferred, inputs) if inferred else set()
    found = [one for one in found if one.name in kept or one.name not in inferred or one.name == own]
    best = next((candidate for candidate in found if candidate.name == own), None) or _best(found)
    return [replace(candidate, chosen=candidate is best) for candidate in found]


def _is_no_place(module: nn.Module) -> bool:
    """Say whether a module is none to take a map at.

    It hands on what it gets, in evaluation mode at least, so that its input is a candidate already; or it pads, which
    shifts the grid.
    """
    name = type(module).__name__
    return isinstance(module, nn.Identity) or name.startswith(("Dropout", "DropPath")) or name.endswith("Pad2d")


def _follow_words(numbers: list[Tensor], words: list[Tensor], *, strings: bool) -> Callable[..., Any]:
    """Make a hook that marks what an embedding gives for the caller's own integers; positions are not the caller's.

    Where the caller gave strings, which become integers inside, all integers but positions and token types count.
    """

    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor | None:
        ids = next(tensors_in((args, kwargs)))
        if not any(_same(ids, number) for number in numbers) and not (strings and _varies(ids)):
            return None
        words.append(output.detach().requires_grad_())
        return words[-1].clone()

    return hook


def _same(ids: Tensor, number: Tensor) -> bool:
    if ids.untyped_storage().data_ptr() == number.untyped_storage().data_ptr():
        return True
    return ids.numel() == number.numel() and torch.equal(ids.flatten(), number.flatten().to(ids))


def _varies(ids: Tensor) -> bool:
    """Say whether integers are neither counted one by one, as positions are, nor all alike, as token types are."""
    steps = ids.reshape(-1, ids.shape[-1])[0].diff() if ids.ndim else ids
    return not bool((steps == 1).all()) and bool(steps.count_nonzero())


def _judge(
    modules: dict[str, nn.Module],
    seen: Capture,
    values: Tensor,
    reached: dict[int, tuple[bool, bool | None]],
) -> list[Candidate]:
    names = list(dict.fromkeys(seen.order))
    activations = [record.activation for name in names for record in seen.records[name]]
    if not values.requires_grad or not activations:
        raise GradientError(
            "the score depends on no layer with at least three dimensions: name target_layers, or check that the score "
            "is computed from the model's output without .detach() or torch.no_grad()"
        )
    gradients = iter(differentiate(values, activations))
    of_layer = {name: [next(gradients) for _ in seen.records[name]] for name in names}
    follow_pictures = any(from_picture for from_picture, _ in reached.values())
    found = []
    for name in names:
        record = seen.records[name][0]
        from_picture, from_words = reached[id(record.activation)]
        layout = _grid_layout(seen, name)
        if layout is None or (follow_pictures and not from_picture):
            continue
        grid = to_grid(record.activation.detach(), layout)
        if grid.shape[0] != len(values) or grid.shape[2] * grid.shape[3] == 1:
            continue
        height, width = placed(grid[:, 0], layout).shape[1:]
        found.append(
            Candidate(
                name=name,
                type=type(modules[name]).__name__,
                grid=(height, width),
                channels=grid.shape[1],
                layout=layout,
                calls=len(seen.records[name]),
                gradient_reaches=any(_touches(gradient, layout) for gradient in of_layer[name]),
                mixes_text=from_words,
            )
        )
    return found


def _grid_layout(seen: Capture, name: str) -> AnyLayout | None:
    record = seen.records[name][0]
    try:
        layout = own_layout(seen, name)
        if layout is None or isinstance(layout, Layout):
            layout = infer_layout(
                record.activation, module=seen.layers[name], model=seen.root, image_size=record.image_size, given=layout
            )
        to_grid(record.activation.detach(), layout)
    except InputError:
        return None
    return layout


def _touches(gradient: Tensor | None, layout: AnyLayout) -> bool:
    if gradient is None:
        return False
    try:
        return bool(to_grid(gradient, layout).count_nonzero())
    except InputError:  # a call on a picture of another size
        return False


def _best(candidates: Sequence[Candidate]) -> Candidate | None:
    """Choose the last candidate that the gradient reaches: before text comes in, on a grid worth looking at.

    Queries, keys and values inside an attention come after its input and before its result; they are taken only where
    nothing else is left.
    """
    left = [candidate for candidate in candidates if candidate.gradient_reaches]
    preferences: list[Callable[[Candidate], bool]] = [
        lambda candidate: candidate.mixes_text is not True,
        lambda candidate: min(candidate.grid) >= 4,
        lambda candidate: not any(_is_inside_attention(part) for part in candidate.name.lower().split(".")),
    ]
    for preferred in preferences:
        left = [candidate for candidate in left if preferred(candidate)] or left
    return left[-1] if left else None


def _is_inside_attention(part: str) -> bool:
    return (
        "attn" in part or "attention" in part or part in {"q_proj", "k_proj", "v_proj", "qkv", "query", "key", "value"}
    )


def _reach(seen: Capture, pictures: Sequence[Tensor], words: Sequence[Tensor]) -> dict[int, tuple[bool, bool | None]]:
    """Say of each recorded activation, by its id, whether it hangs on a picture and on words.

    The autograd graph is walked once. Without any words, whether something hangs on them is None.
    """
    memo: dict[Any, tuple[bool, bool]] = {}
    picture_ids, word_ids = {id(tensor) for tensor in pictures}, {id(tensor) for tensor in words}
    result: dict[int, tuple[bool, bool | None]] = {}
    for activation in (record.activation for calls in seen.records.values() for record in calls):
        node = activation.grad_fn
        if node is not None:
            for each in _children_first(node, memo):
                leaf = id(getattr(each, "variable", None))
                below = [memo[child] for child, _ in each.next_functions if child is not None]
                memo[each] = (
                    leaf in picture_ids or any(picture for picture, _ in below),
                    leaf in word_ids or any(word for _, word in below),
                )
        from_picture, from_words = memo[node] if node is not None else (False, False)
        result[id(activation)] = (from_picture, from_words if words else None)
    return result


def _children_first(start: Any, done: dict[Any, tuple[bool, bool]]) -> Iterator[Any]:
    stack = [(start, False)]
    entered = set()
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif node not in done and node not in entered:
            entered.add(node)
            stack.append((node, True))
            stack.extend((child, False) for child, _ in node.next_functions if child is not None)
