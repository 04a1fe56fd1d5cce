"""What a method of composed image retrieval reads of a two-tower model: patches, and the tokens of the text.

One model is like another here: the patches are the output of the tower's target layer, the tokens that of
the layer that one text shows to give them.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmgrad_explain._system.devices import device_of
from mmgrad_explain.attention.layouts.layout import to_grid
from mmgrad_explain.composers.dual_encoder import DualEncoder
from mmgrad_explain.composers.fusion.modules import Sizes
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mmgrad_explain.composers.base import Composer

_SOME_TEXT = "a photo of it"


def two_towers(composer: Composer) -> DualEncoder:
    """The composer, if a method can sit on it.

    Raises:
        InputError: If not.
    """
    if not isinstance(composer, DualEncoder):
        raise InputError(
            f"{composer.name} ({type(composer).__name__}) has no two towers that a method could sit on: take a model "
            "that embeds pictures and texts apart, such as openai/clip-vit-base-patch32"
        )
    return composer


def explained_layer(tower: DualEncoder, reads: frozenset[str]) -> str | None:
    """The layer of the tower that maps are taken at; None where it has to be looked for.

    It is the tower's own. BLIP's matching reads all patches there, while the embedding reads the class token alone, so
    that a method without patches is explained where that token reads them a last time.

    Raises:
        InputError: If the method reads patches and the tower does not name where they are.
    """
    if tower.target_layer is None and "grid" in reads:
        raise InputError(f"{tower.name} names no target layer, whose patches this method would read")
    blip: Any = getattr(tower, "model", None)
    if hasattr(blip, "vision_proj") and "grid" not in reads:
        return f"model.vision_model.encoder.layers.{len(blip.vision_model.encoder.layers) - 1}.layer_norm1"
    return tower.target_layer


def token_layer(tower: DualEncoder, reads: frozenset[str]) -> str | None:
    """The last module of the tower that gives the text's tokens; for a prompt the one that looks them up.

    Args:
        tower: The tower; one text is encoded to see.
        reads: What the method reads.

    Returns:
        Its dotted name in the tower, or None where the method reads no tokens.

    Raises:
        InputError: If there is none.
    """
    if not reads & {"prompt", "words"}:
        return None
    ids, mask = (one.to(device_of(tower)) for one in tower.processor.encode_texts([_SOME_TEXT]))
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
        what = "looks tokens up" if "prompt" in reads else "gives the text's tokens"
        raise InputError(f"{tower.name}: no layer of its text tower {what}, which this method needs")
    return found[-1]


def measure(tower: DualEncoder, reads: frozenset[str]) -> Sizes:
    """What the tower gives, found by running it once on a blank picture and a text."""
    from PIL import Image

    inputs = tower.preprocess([Image.new("RGB", (64, 64))], [_SOME_TEXT]).tensors
    pixels, ids, mask = (inputs[one].to(device_of(tower)) for one in ("pixel_values", "input_ids", "attention_mask"))
    grid_width = word_width = 0
    with torch.no_grad():
        if "grid" in reads:
            with watching(tower, explained_layer(tower, reads)) as seen:
                tower.encode_image(pixels)
            grid_width = laid_out(tower, seen[0], pixels).shape[1]
        layer = token_layer(tower, reads)
        with watching(tower, layer) as seen:
            pooled = tower.encode_text(ids, mask)[0]
        if layer is not None:
            word_width = seen[0].shape[2]
    return Sizes(pooled.shape[1], grid_width, word_width)


def laid_out(tower: DualEncoder, patches: Tensor, pixel_values: Tensor) -> Tensor:
    """What the tower's target layer gives of pictures ``(B, 3, H, W)``, on its grid, ``(B, C, h, w)``.

    A tower that knows the layer's layout is asked, see :func:`on_grid` for others.
    """
    known: Any = getattr(tower, "layout_for", None)
    layout = None if known is None else known(tower.target_layer, pixel_values=pixel_values)
    if layout is not None:
        return to_grid(patches, layout)
    return on_grid(patches, (pixel_values.shape[2], pixel_values.shape[3]))


def on_grid(patches: Tensor, picture: tuple[int, int]) -> Tensor:
    """A vision tower's patches where they lie on the picture.

    Args:
        patches: ``(B, C, h, w)``, ``(B, h, w, C)``, or tokens ``(B, N, C)`` row by row; tokens that are too many for
            the largest grid of the picture's shape stand in front (class token, registers).
        picture: Height and width, pixels.

    Returns:
        ``(B, C, h, w)``.

    Raises:
        InputError: If tokens lie on no such grid.
    """
    tall, wide = picture
    if patches.ndim == 4:
        first, last = (abs(h / w - tall / wide) for h, w in (patches.shape[2:], patches.shape[1:3]))
        return patches if first <= last else patches.permute(0, 3, 1, 2)
    count = patches.shape[1]
    grids = [
        (h, h * wide // tall) for h in range(1, count + 1) if h * wide % tall == 0 and h * h * wide <= count * tall
    ]
    if not grids:
        raise InputError(
            f"{count} patches lie on no grid of a picture of {tall} x {wide} pixels: bring pictures to a square, or "
            "use a method that reads no patches"
        )
    height, width = grids[-1]
    return patches[:, count - height * width :].transpose(1, 2).reshape(len(patches), -1, height, width)


def tokens_in(output: Any) -> Tensor | None:
    """The first floating tensor of three dimensions or more in what a module gives."""
    if isinstance(output, Tensor):
        return output if output.is_floating_point() and output.ndim >= 3 else None
    parts = output.values() if isinstance(output, dict) else output if isinstance(output, tuple | list) else ()
    return next((tokens for part in parts if (tokens := tokens_in(part)) is not None), None)


@contextmanager
def watching(tower: nn.Module, layer: str | None) -> Iterator[list[Tensor]]:
    """Collects the tokens that a layer gives in the block, in this thread; none without a layer."""
    seen: list[Tensor] = []
    own = threading.get_ident()

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        tokens = tokens_in(output)
        if tokens is not None and threading.get_ident() == own:
            seen.append(tokens)

    with ExitStack() as stack:
        if layer is not None:
            stack.callback(tower.get_submodule(layer).register_forward_hook(hook).remove)
        yield seen


@contextmanager
def changing(tower: nn.Module, layer: str, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Changes what a layer gives in the block, in this thread."""
    own = threading.get_ident()

    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        return change(output) if threading.get_ident() == own else output

    handle = tower.get_submodule(layer).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def save_tower(tower: DualEncoder, folder: Path) -> None:
    """Write a tower as its own library has it.

    Raises:
        InputError: If the tower does not say how.
    """
    own: Any = tower
    if not hasattr(own, "save_pretrained"):
        raise InputError(f"{type(own).__name__} cannot be saved: it has no save_pretrained")
    own.save_pretrained(folder)
