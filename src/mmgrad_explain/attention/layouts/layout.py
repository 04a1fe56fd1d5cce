"""How a layer's output lies on the picture: a grid, tokens of a grid, or cells that have to be put in place."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from mmgrad_explain.errors import InputError

Kind = Literal["nchw", "nhwc", "tokens"]


@dataclass(frozen=True)
class Layout:
    """How a layer's output lies on the picture.

    Attributes:
        kind: ``"nchw"`` (B, K, h, w), ``"nhwc"`` (B, h, w, K) or ``"tokens"`` (B, N, K), patches row by row.
        grid: (h, w) of the patches; only for tokens. None has it found.
        prefix: How many tokens stand before the patches (class, distillation, registers, text); only for tokens. None
            has it found. Tokens after the patches are left out.
    """

    kind: Kind
    grid: tuple[int, int] | None = None
    prefix: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in {"nchw", "nhwc", "tokens"}:
            raise InputError(f"layout: kind must be 'nchw', 'nhwc' or 'tokens', not {self.kind!r}")
        if self.grid is not None and (len(self.grid) != 2 or min(self.grid) < 1):
            raise InputError(f"layout: grid must be (h, w), both at least 1, not {self.grid!r}")
        if self.prefix is not None and self.prefix < 0:
            raise InputError(f"layout: prefix must not be negative, got {self.prefix}")


@dataclass(frozen=True)
class Cells:
    """How a layer's output lies on the picture where its cells stand in no grid: shuffled, packed, in tiles, merged.

    The map is made on the cells as they stand, and then put in place.

    Attributes:
        read: The layer's output, or a gradient of its shape, to (B, K, 1, N) cells; linear, keeping gradients.
        fold: A map of the cells, (B, 1, N), to one of the picture, (B, h, w); linear in the map.
        name: What the result calls it.
    """

    read: Callable[[Tensor], Tensor]
    fold: Callable[[Tensor], Tensor]
    name: str = "cells"


LayoutLike = str | Layout | Cells | Callable[[Tensor], Tensor]
AnyLayout = Layout | Cells | Callable[[Tensor], Tensor]


def ensure_layout(layout: LayoutLike | None) -> AnyLayout | None:
    """Check a layout as people write it.

    Args:
        layout: ``"nchw"``, ``"nhwc"``, ``"tokens"``, a :class:`Layout`, :class:`Cells`, a callable that makes
            (B, K, h, w) of the layer's output (it must be linear and keep gradients: permutes, slices, reshapes), or
            None.

    Raises:
        TypeError: none of these.
        InputError: no layout of that name.
    """
    if isinstance(layout, str):
        if layout not in {"nchw", "nhwc", "tokens"}:
            raise InputError(f"layout: there is no {layout!r}; known: nchw, nhwc, tokens, a Layout or any callable")
        return Layout(layout)  # type: ignore[arg-type]  # checked above
    if layout is None or isinstance(layout, (Layout, Cells)) or callable(layout):
        return layout
    raise TypeError(f"layout must be a name, a Layout, Cells or a callable, not {type(layout).__name__}")


def describe_layout(layout: AnyLayout) -> str:
    """Say a layout in one line, such as ``tokens 14 x 14 after 1``."""
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
        made = layout.read(x) if isinstance(layout, Cells) else layout(x)
        if not isinstance(made, Tensor) or made.ndim != 4:
            got = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
            raise InputError(f"layout: the callable must give (B, K, h, w), not {got}, of {tuple(x.shape)}")
        return made
    if x.ndim != (3 if layout.kind == "tokens" else 4):
        raise InputError(f"layout: {layout.kind!r} does not fit an output of shape {tuple(x.shape)}")
    if layout.kind == "nchw":
        return x
    if layout.kind == "nhwc":
        return x.permute(0, 3, 1, 2)
    if layout.grid is None or layout.prefix is None:
        raise InputError("layout: tokens need both grid and prefix; infer_layout finds them")
    (height, width), first = layout.grid, layout.prefix
    if first + height * width > x.shape[1]:
        raise InputError(
            f"layout: {first} prefix tokens and a grid of {height} x {width} are more than the {x.shape[1]} tokens of "
            f"an output of shape {tuple(x.shape)}"
        )
    return x[:, first : first + height * width].transpose(1, 2).reshape(x.shape[0], x.shape[2], height, width)


def placed(maps: Tensor, layout: AnyLayout) -> Tensor:
    """Put a map of a layer's cells, (B, h, w) as :func:`to_grid` gives them, in place: of :class:`Cells` they move."""
    return layout.fold(maps) if isinstance(layout, Cells) else maps
