"""Find the layer of a timm model to explain: the last one with a grid over the image that has a gradient.

timm's models give their last features as ``(B, K, h, w)`` by ``forward_intermediates``, whatever their layers' outputs
look like (channels last, tokens behind class and register tokens). The module that outputs exactly these numbers
shows the layout. Of all layers with that grid, the last one that the embedding's gradient reaches is taken. If a class
token stands for the image, that is the input of the last attention: behind it only the class token has a gradient, and
Grad-CAM (arXiv 1610.02391) needs one at the patches.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from mmgrad_explain.attention.layouts.layout import Layout, to_grid
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_INSIDE = ("att", "token_mixer", "mixer")
"""Parts of names of modules in which tokens may have another order, or be queries and keys instead of features."""


@dataclass(frozen=True)
class GridLayer:
    """A layer of a vision tower with a grid over the image.

    Attributes:
        name: Dotted name inside the tower.
        kind: ``"nchw"``, ``"nhwc"`` or ``"tokens"``, row by row.
        grid: (h, w), cells.
        tokens: Number of all tokens; 0 unless the kind is tokens.
        prefix: Number of tokens before the patches.
    """

    name: str
    kind: Literal["nchw", "nhwc", "tokens"]
    grid: tuple[int, int]
    tokens: int = 0
    prefix: int = 0

    @property
    def layout(self) -> Layout:
        """The layout of the layer's output."""
        return Layout("tokens", self.grid, self.prefix) if self.kind == "tokens" else Layout(self.kind)

    def read(self, output: Tensor) -> Tensor | None:
        """Reshape the layer's output to ``(B, K, h, w)``; None if it has another shape."""
        if output.ndim != (3 if self.kind == "tokens" else 4):
            return None
        if self.kind == "tokens" and output.shape[1] != self.tokens:
            return None
        grid = to_grid(output, self.layout)
        return grid if tuple(grid.shape[2:]) == self.grid else None


def find_grid_layer(tower: nn.Module, input_size: tuple[int, int], trunk: str = "") -> tuple[GridLayer, int]:
    """Find the layer of a vision tower to explain.

    Runs two forward passes of one random image and one gradient. The tower keeps its mode.

    Args:
        tower: Gives ``(B, D)`` of ``(B, 3, H, W)``; in eval mode.
        input_size: (H, W), pixels.
        trunk: Dotted name of the timm model inside the tower; empty if it is the tower itself.

    Returns:
        The layer, by its name inside the tower, and D.

    Raises:
        InputError: The model does not give its last features on a grid, or the embedding's gradient reaches no such
            layer.
    """
    model = tower.get_submodule(trunk) if trunk else tower
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(1, 3, *input_size, generator=generator).to(next(tower.parameters()))
    readings = _readings_of_last_features(model, pixels)
    with torch.enable_grad(), _watched(model) as outputs:
        embedding: Any = tower(pixels)
    if not isinstance(embedding, Tensor) or embedding.ndim != 2:
        raise InputError(f"{_title(model)} gives no single embedding for an image: a pooling is needed")
    ran = [one for one in readings if one.name in outputs and one.read(outputs[one.name]) is not None]
    if not ran:
        raise InputError(f"{_title(model)}: none of its layers outputs its last features on their grid")
    weights = torch.randn(embedding.shape[1:], generator=generator).to(embedding)
    score = (embedding * weights).sum()
    on_grid = [
        replace(one, name=name)
        for name, output in reversed(outputs.items())
        for one in [next((one for one in ran if one.read(output) is not None), None)]
        if one is not None
    ]
    on_grid.sort(key=lambda one: any(part in one.name for part in _INSIDE))
    for one in on_grid:  # one gradient each; mostly the first layer is taken
        (gradient,) = torch.autograd.grad(score, outputs[one.name], retain_graph=True, allow_unused=True)
        grid = None if gradient is None else one.read(gradient)
        if grid is not None and bool(grid.count_nonzero()):
            found = _inside_sequence(model, one.name, outputs)
            return replace(one, name=f"{trunk}.{found}" if trunk else found), embedding.shape[1]
    raise InputError(f"{_title(model)}: its embedding depends on no layer with a grid over the image")


def _readings_of_last_features(model: Any, pixels: Tensor) -> list[GridLayer]:
    """Find the modules that output the model's last features, and their layouts; the last one first."""
    if not hasattr(model, "forward_intermediates"):
        raise InputError(f"{_title(model)} does not give its features on a grid over the image (forward_intermediates)")
    found = []
    for normed in (True, False):
        options = {"indices": 1, "norm": normed, "output_fmt": "NCHW", "intermediates_only": True}
        try:
            with torch.no_grad(), _watched(model) as outputs:
                features = model.forward_intermediates(pixels, **options)[-1]
        except (AssertionError, RuntimeError, TypeError, ValueError):  # some have no norm
            continue
        grid = (int(features.shape[2]), int(features.shape[3]))
        for name, output in reversed(outputs.items()):
            for layer in _readings(name, grid, output):
                values = layer.read(output)
                if values is not None and values.shape == features.shape and torch.equal(values, features):
                    found.append(layer)
    return found


def _inside_sequence(model: nn.Module, name: str, outputs: Mapping[str, Tensor]) -> str:
    """Replace a sequence of modules by its last member: with checkpointing, timm does not call the sequence."""
    while isinstance(module := model.get_submodule(name), nn.Sequential) and f"{name}.{len(module) - 1}" in outputs:
        name = f"{name}.{len(module) - 1}"
    return name


def _readings(name: str, grid: tuple[int, int], output: Tensor) -> Iterator[GridLayer]:
    if output.ndim == 4:
        yield GridLayer(name, "nchw", grid)
        yield GridLayer(name, "nhwc", grid)
    elif output.ndim == 3:
        tokens = output.shape[1]
        for prefix in range(max(0, tokens - grid[0] * grid[1] + 1)):
            yield GridLayer(name, "tokens", grid, tokens, prefix)


@contextlib.contextmanager
def _watched(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Record the modules' outputs inside the block, by name, in the order in which they end; the last call counts."""
    outputs: dict[str, Tensor] = {}

    def watch(name: str, module: nn.Module) -> Any:
        def hook(_module: nn.Module, inputs: Any, output: Any) -> Any:
            if any(output is one for one in inputs) and not getattr(module, "inplace", False):
                return None  # a pooling that is switched off returns its input
            parts = output if isinstance(output, tuple) else (output,)
            first = next((part for part in parts if isinstance(part, Tensor) and part.is_floating_point()), None)
            if first is None:
                return None
            if torch.is_grad_enabled() and not first.requires_grad:
                first.requires_grad_()
            outputs.pop(name, None)
            outputs[name] = first
            return first.clone() if first is output else None  # so that in-place operations do not change the record

        return module.register_forward_hook(hook)

    handles = [watch(name, module) for name, module in model.named_modules() if name and not _does_nothing(module)]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _does_nothing(module: nn.Module) -> bool:
    return isinstance(module, nn.Identity) or type(module).__name__.startswith(("Dropout", "DropPath"))


def _title(model: nn.Module) -> str:
    cfg: Mapping[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    return f"timm's {cfg.get('architecture') or type(model).__name__}"
