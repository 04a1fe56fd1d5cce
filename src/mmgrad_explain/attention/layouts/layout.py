"""How a layer's output lies on the image: as a grid, as tokens of a grid, or as cells in another order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from mmgrad_explain.errors import InputError

LayoutKind = Literal["nchw", "nhwc", "tokens"]
KINDS: tuple[str, ...] = get_args(LayoutKind)


@dataclass(frozen=True)
class Layout:
    """How a layer's output lies on the image.

    Attributes:
        kind: ``"nchw"`` (B, K, h, w), ``"nhwc"`` (B, h, w, K) or ``"tokens"`` (B, N, K), patches row by row.
        grid: (h, w) of the patches, only for tokens. None: it is detected.
        prefix: How many tokens stand before the patches (class, distillation, registers, text), only for tokens. None:
            it is detected. Tokens after the patches are ignored.
    """

    kind: LayoutKind
    grid: tuple[int, int] | None = None
    prefix: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"layout: kind must be 'nchw', 'nhwc' or 'tokens', not {self.kind!r}")
        if self.grid is not None and (len(self.grid) != 2 or min(self.grid) < 1):
            raise InputError(f"layout: grid must be (h, w), both at least 1, not {self.grid!r}")
        if self.prefix is not None and self.prefix < 0:
            raise InputError(f"layout: prefix must not be negative, got {self.prefix}")


@dataclass(frozen=True)
class Cells:
    """How a layer's output lies on the image where its cells form no grid: shuffled, packed, in tiles, merged.

    The map is made on the cells in their order, and then rearranged.

    Attributes:
        read: Takes the layer's output, or a gradient of its shape, and returns its cells (B, K, 1, N); linear and
            differentiable.
        fold: Takes a map of the cells (B, 1, N) and returns one of the image (B, h, w); linear in the map.
        name: The name of the layout in the result.
    """

    read: Callable[[Tensor], Tensor]
    fold: Callable[[Tensor], Tensor]
    name: str = "cells"


LayoutLike = str | Layout | Cells | Callable[[Tensor], Tensor]
"""What an argument ``layout`` can be: a name, a layout, cells, or a function that gives (B, K, h, w)."""
AnyLayout = Layout | Cells | Callable[[Tensor], Tensor]
"""A layout without the names."""


def ensure_layout(layout: LayoutLike | None) -> AnyLayout | None:
    """Check a layout argument.

    Args:
        layout: ``"nchw"``, ``"nhwc"``, ``"tokens"``, a :class:`Layout`, :class:`Cells`, a callable that takes
            the layer's output and returns (B, K, h, w) (it must be linear and differentiable: permutes, slices,
            reshapes), or None.

    Raises:
        TypeError: ``layout`` is none of these.
        InputError: there is no layout of that name.
    """
    if isinstance(layout, str):
        if layout not in KINDS:
            raise InputError(f"layout: there is no {layout!r}; known: {', '.join(KINDS)}, a Layout or any callable")
        return Layout(layout)  # type: ignore[arg-type]  # checked above
    if layout is None or isinstance(layout, (Layout, Cells)) or callable(layout):
        return layout
    raise TypeError(f"layout must be a name, a Layout, Cells or a callable, not {type(layout).__name__}")


def describe_layout(layout: AnyLayout) -> str:
    """Describe a layout in one line, such as ``tokens 14 x 14 after 1``."""
    if isinstance(layout, Cells):
        return layout.name
    if not isinstance(layout, Layout):
        return str(getattr(layout, "__name__", type(layout).__name__))
    if layout.grid is None:
        return layout.kind
    return f"{layout.kind} {layout.grid[0]} x {layout.grid[1]} after {layout.prefix}"


def to_grid(x: Tensor, layout: AnyLayout) -> Tensor:
    """Rearrange a layer's output, or a gradient of the same shape, to (B, K, h, w).

    Args:
        x: The output.
        layout: A complete :class:`Layout` (for tokens, with grid and prefix), :class:`Cells`, or a callable.

    Raises:
        InputError: the layout does not fit the tensor.
    """
    if not isinstance(layout, Layout):
        grid = layout.read(x) if isinstance(layout, Cells) else layout(x)
        if not isinstance(grid, Tensor) or grid.ndim != 4:
            found = tuple(grid.shape) if isinstance(grid, Tensor) else type(grid).__name__
            raise InputError(f"layout: the callable must give (B, K, h, w), not {found}, of {tuple(x.shape)}")
        return grid
    if misfit := _find_misfit(x, layout):
        raise InputError(misfit)
    if layout.kind == "nchw":
        return x
    if layout.kind == "nhwc" or layout.grid is None or layout.prefix is None:  # complete tokens have both
        return x.permute(0, 3, 1, 2)
    (height, width), first = layout.grid, layout.prefix
    return x[:, first : first + height * width].transpose(1, 2).reshape(x.shape[0], x.shape[2], height, width)


def to_grid_if_it_fits(x: Tensor, layout: AnyLayout) -> Tensor | None:
    """Rearrange a layer's output as :func:`to_grid`; None where the layout does not fit it."""
    if isinstance(layout, Layout):
        return None if _find_misfit(x, layout) else to_grid(x, layout)
    try:
        return to_grid(x, layout)
    except InputError:  # somebody else's callable has no other way to say that it does not fit
        return None


def _find_misfit(x: Tensor, layout: Layout) -> str:
    """Describe why a layout does not fit a tensor; empty if it fits."""
    if x.ndim != (3 if layout.kind == "tokens" else 4):
        return f"layout: {layout.kind!r} does not fit an output of shape {tuple(x.shape)}"
    if layout.kind != "tokens":
        return ""
    if layout.grid is None or layout.prefix is None:
        return "layout: tokens need both grid and prefix; infer_layout finds them"
    (height, width), first = layout.grid, layout.prefix
    if first + height * width > x.shape[1]:
        return (
            f"layout: {first} prefix tokens and a grid of {height} x {width} are more than the {x.shape[1]} tokens of "
            f"an output of shape {tuple(x.shape)}"
        )
    return ""


def fold_map(maps: Tensor, layout: AnyLayout) -> Tensor:
    """Rearrange a map of a layer's cells, (B, h, w) in the order of :func:`to_grid`; only :class:`Cells` change."""
    return layout.fold(maps) if isinstance(layout, Cells) else maps
