"""Read the inputs of a method of composed image retrieval from a two-tower model: patches, and tokens of the text.

The patches are the output of the tower's target layer; the layer of the tokens is found by encoding one text.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmgrad_explain._system.devices import device_of
from mmgrad_explain.attention.layouts.layout import to_grid
from mmgrad_explain.attention.model_hints import ask_layout_for
from mmgrad_explain.composers.dual_encoder import DualEncoder
from mmgrad_explain.composers.fusion.methods import Sizes
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mmgrad_explain.composers.base import Composer

_SOME_TEXT = "a photo of it"


def two_towers(composer: Composer) -> DualEncoder:
    """Check that a composer has two towers for a method, and return it.

    Raises:
        InputError: If it has not.
    """
    if not isinstance(composer, DualEncoder):
        raise InputError(
            f"{composer.name} ({type(composer).__name__}) has no two towers for a method: take a model that "
            "embeds images and texts separately, such as openai/clip-vit-base-patch32"
        )
    return composer


def explained_layer(tower: DualEncoder, reads: frozenset[str]) -> str | None:
    """Find the layer of the tower that maps are taken at; None if it is searched at every explanation.

    It is the tower's target layer for a method that reads the patches, else the layer of the embedding: BLIP's class
    token reads the patches for the last time before its target layer.

    Raises:
        InputError: If the method reads patches and the tower does not name where they are.
    """
    if tower.target_layer is None and "grid" in reads:
        raise InputError(f"{tower.name} names no target layer to read this method's patches from")
    return tower.target_layer if "grid" in reads else tower.embedding_layer


def token_layer(tower: DualEncoder, reads: frozenset[str]) -> str | None:
    """Find the last module of the tower that gives the text's tokens; for a prompt, the token embedding.

    Args:
        tower: The tower; it encodes one text.
        reads: What the method reads.

    Returns:
        Its dotted name in the tower, or None if the method reads no tokens.

    Raises:
        InputError: If there is none.
    """
    if not reads & {"prompt", "words"}:
        return None
    ids, mask = (tensor.to(device_of(tower)) for tensor in tower.processor.encode_texts([_SOME_TEXT]))
    found: list[str] = []

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if "prompt" in reads:
                fits = isinstance(module, nn.Embedding) and torch.equal(inputs[0], ids)
            else:
                tokens = tokens_in(output)
                fits = tokens is not None and tokens.shape[:2] == ids.shape
            if fits:
                found.append(name)

        return hook

    with ExitStack() as stack, torch.no_grad():
        for name, module in tower.named_modules():
            if name:
                stack.callback(module.register_forward_hook(note(name)).remove)
        tower.encode_text(ids, mask)
    if not found:
        what = "looks up tokens" if "prompt" in reads else "gives the text's tokens"
        raise InputError(f"{tower.name}: no layer of its text tower {what}, which this method needs")
    return found[-1]


def measure_sizes(tower: DualEncoder, reads: frozenset[str]) -> Sizes:
    """Measure the tower's outputs by running it once on a blank image and a text."""
    from PIL import Image

    inputs = tower.preprocess([Image.new("RGB", (64, 64))], [_SOME_TEXT]).tensors
    pixels, ids, mask = (inputs[name].to(device_of(tower)) for name in ("pixel_values", "input_ids", "attention_mask"))
    grid_width = word_width = 0
    with torch.no_grad():
        if "grid" in reads:
            with record_tokens(tower, explained_layer(tower, reads)) as outputs:
                tower.encode_image(pixels)
            grid_width = patch_grid(tower, outputs[0], pixels).shape[1]
        layer = token_layer(tower, reads)
        with record_tokens(tower, layer) as outputs:
            pooled = tower.encode_text(ids, mask)[0]
        if layer is not None:
            word_width = outputs[0].shape[2]
    return Sizes(pooled.shape[1], grid_width, word_width)


def patch_grid(tower: DualEncoder, patches: Tensor, pixel_values: Tensor) -> Tensor:
    """Put the output of the tower's target layer on its grid, ``(B, C, h, w)``.

    The layout comes from the tower's own ``layout_for``, or else from :func:`on_grid`.

    Args:
        tower: The tower.
        patches: The output.
        pixel_values: Images, ``(B, 3, H, W)``.
    """
    find_layout = ask_layout_for(tower)
    layout = None if find_layout is None else find_layout(tower.target_layer, pixel_values=pixel_values)
    if layout is not None:
        return to_grid(patches, layout)
    return on_grid(patches, (pixel_values.shape[2], pixel_values.shape[3]))


def on_grid(patches: Tensor, image: tuple[int, int]) -> Tensor:
    """Put a vision tower's patches on a grid of the image's shape.

    Args:
        patches: ``(B, C, h, w)``, ``(B, h, w, C)``, or tokens ``(B, N, C)`` row by row. Tokens beyond the largest grid
            of the image's shape come before the patches (class token, registers).
        image: Height and width, pixels.

    Returns:
        ``(B, C, h, w)``.

    Raises:
        InputError: If the tokens fit no such grid.
    """
    tall, wide = image
    if patches.ndim == 4:
        first, last = (abs(h / w - tall / wide) for h, w in (patches.shape[2:], patches.shape[1:3]))
        return patches if first <= last else patches.permute(0, 3, 1, 2)
    count = patches.shape[1]
    grids = [
        (h, h * wide // tall) for h in range(1, count + 1) if h * wide % tall == 0 and h * h * wide <= count * tall
    ]
    if not grids:
        raise InputError(
            f"{count} patches fit no grid of an image of {tall} x {wide} pixels: make images square, or use a method "
            "that reads no patches"
        )
    height, width = grids[-1]
    return patches[:, count - height * width :].transpose(1, 2).reshape(len(patches), -1, height, width)


def tokens_in(output: Any) -> Tensor | None:
    """Find the first floating-point tensor of three dimensions or more in a module's output."""
    if isinstance(output, Tensor):
        return output if output.is_floating_point() and output.ndim >= 3 else None
    parts = output.values() if isinstance(output, dict) else output if isinstance(output, tuple | list) else ()
    return next((tokens for part in parts if (tokens := tokens_in(part)) is not None), None)


@contextmanager
def record_tokens(tower: nn.Module, layer: str | None) -> Iterator[list[Tensor]]:
    """Collect the tokens that a layer gives inside the block, in this thread; none without a layer."""
    outputs: list[Tensor] = []
    own = threading.get_ident()

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        tokens = tokens_in(output)
        if tokens is not None and threading.get_ident() == own:
            outputs.append(tokens)

    with ExitStack() as stack:
        if layer is not None:
            stack.callback(tower.get_submodule(layer).register_forward_hook(hook).remove)
        yield outputs


@contextmanager
def replace_output(tower: nn.Module, layer: str, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Change a layer's output inside the block, in this thread."""
    own = threading.get_ident()

    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        return change(output) if threading.get_ident() == own else output

    handle = tower.get_submodule(layer).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def save_tower(tower: DualEncoder, folder: Path) -> None:
    """Write a tower in the format of its library.

    Raises:
        InputError: If the tower has no ``save_pretrained``.
    """
    own: Any = tower
    if not hasattr(own, "save_pretrained"):
        raise InputError(f"{type(own).__name__} cannot be saved: it has no save_pretrained")
    own.save_pretrained(folder)
