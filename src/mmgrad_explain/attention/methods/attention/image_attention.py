"""Choose the attention of an image's tower, and put a value a token on the image's grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmgrad_explain.attention.attention_layers.sites import find_mixing_blocks
from mmgrad_explain.attention.gradient import differentiate, to_float
from mmgrad_explain.attention.layouts.layout import AnyLayout, Layout, fold_map, to_grid
from mmgrad_explain.attention.methods.base import MethodMaps
from mmgrad_explain.attention.places.record_layouts import grid_of_rows
from mmgrad_explain.errors import CaptureError, GradientError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from mmgrad_explain.attention.attention_layers.sites import AttentionSite
    from mmgrad_explain.attention.methods.run import Run
    from mmgrad_explain.attention.recording.attention_calls import AttentionCall
    from mmgrad_explain.attention.recording.records import Record
    from mmgrad_explain.notes import Note


@dataclass(frozen=True)
class ImageTower:
    """The attention of an image's tower.

    Attributes:
        blocks: The self-attention of its blocks among the image's own tokens, in the order in which they run; of each
            call of a block.
        pooler: The attention by which learned queries pool the tokens of its last block, of each call; empty where the
            tower is read in another way.
    """

    blocks: tuple[AttentionSite, ...]
    pooler: tuple[AttentionSite, ...]

    @property
    def names(self) -> list[str]:
        """The names of the blocks."""
        return list(dict.fromkeys(site.block for site in self.blocks))

    @property
    def last(self) -> str:
        """The name of the block whose tokens the rest of the model reads."""
        return self.names[-1]

    def last_blocks(self, count: int | None) -> list[str]:
        """Return the names of the last blocks, in the order in which they run; None for all, as many as there are."""
        return self.names if count is None else self.names[-count:]

    def make_result(self, run: Run, maps: list[Tensor], notes: tuple[Note, ...] = ()) -> MethodMaps:
        """Return maps of the tower's calls as the result of a method, under the name of its last block."""
        of_calls = run.image_of_calls
        return MethodMaps(
            {self.last: maps},
            {self.last: [*run.layouts[self.last]]},
            None if of_calls is None else {self.last: of_calls[self.last]},
            notes=notes,
        )


def find_image_tower(sites: Sequence[AttentionSite], method: str) -> ImageTower:
    """Find the attention of the image's tower that the score depends on.

    A tower is a run of blocks whose attention is among all tokens of one image: its patches, and those before them.
    Where there are several (stages of other sizes), it is the one whose tokens are read last.

    Args:
        sites: All attention of a model.
        method: Name of the method, for the message.

    Raises:
        InputError: the model has no such attention.
    """
    mixing = find_mixing_blocks(
        sites
    )  # a block that first mixes the image's tokens and then reads a text is no tower's
    own = [site for site in sites if site.is_self and site.tokens_of == site.block and site.block not in mixing]
    pooler = [
        site
        for site in sites
        if site.reached and site.keys_from_image and not site.keys_from_text and site.tokens_of is not None
        and not (site.queries_from_image or site.queries_from_text)
    ]  # fmt: skip
    read = {site.tokens_of for site in pooler}
    own = [site for site in own if site.reached or site.block in read]
    if not own:
        why = (
            "its attention is not among all patches of an image and nothing else (windows, text and image in one "
            "sequence)"
            if any(site.keys_from_image for site in sites)
            else "no attention that reads the image was seen (a convolutional network, or a kernel of another package)"
        )
        raise InputError(
            f"method {method!r} needs the attention of an image's tower, and this model has none: {why}. "
            "'layercam' and 'gradcam' need only a layer with a grid"
        )
    last = own[-1]
    return ImageTower(
        tuple(site for site in own if site.keys == last.keys),
        tuple(site for site in pooler if site.tokens_of == last.block),
    )


def find_call(calls: Sequence[AttentionCall], site: AttentionSite) -> AttentionCall:
    """Return the recorded attention of a site.

    Raises:
        CaptureError: it did not run in this forward.
    """
    for call in calls:
        if site.matches(call):
            return call
    raise CaptureError(
        f"the attention of {site.block!r} did not run in this forward, or without torch's functions: run the model as "
        "in the call in which it was found"
    )


def gradient_of_tokens(run: Run, record: Record) -> Tensor:
    """Return the score's gradient at the tokens of a block, without a graph.

    Raises:
        GradientError: the score does not depend on them.
    """
    (gradient,) = differentiate(run.score, [record.activation], retain_graph=True)
    if gradient is None:
        raise GradientError("the score does not depend on what the last block of the image's tower returns")
    return gradient.detach()


def reads_patches(run: Run, record: Record, layout: AnyLayout) -> bool:
    """Return whether the rest of the model reads patches of the last block, not a class token alone."""
    return bool(to_grid(gradient_of_tokens(run, record), layout).count_nonzero())


def check_blocks(blocks: int | None, *, none: bool = True) -> None:
    """Check an argument ``blocks``.

    Raises:
        TypeError: it is not a whole number.
        InputError: it is below 1.
    """
    if blocks is None and none:
        return
    if not isinstance(blocks, int) or isinstance(blocks, bool):
        raise TypeError(f"blocks must be a whole number{' or None' if none else ''}, not {blocks!r}")
    if blocks < 1:
        raise InputError(f"blocks must be at least 1, not {blocks}")


def tokens_to_map(values: Tensor, layout: AnyLayout, rows: Sequence[int] | None = None) -> Tensor:
    """Put one value a token on the image's grid; tokens that are no patches are dropped.

    Args:
        values: (B, N), in the order of the tokens.
        layout: How the tokens lie on the image.
        rows: The rows of the batch that belong to the image; None for all.

    Returns:
        (B, h, w), float32 (float64 stays).
    """
    tokens = to_float(values)[..., None]
    if isinstance(layout, Layout) and layout.kind == "nhwc" and layout.grid is not None:
        tokens = tokens.reshape(len(tokens), *layout.grid, 1)
    return fold_map(grid_of_rows(tokens, layout, rows)[:, 0], layout)
