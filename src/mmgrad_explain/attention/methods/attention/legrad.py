"""LeGrad: how strongly the score of a block's own tokens reacts to where the block attends.

Source: Bousselham et al., LeGrad: An Explainability Method for Vision Transformers via Feature Formation Sensitivity,
arXiv 2404.03214, section 3.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmgrad_explain.attention.methods.attention.image_attention import (
    ImageTower,
    check_blocks,
    find_call,
    find_image_tower,
    reads_patches,
    tokens_to_map,
)
from mmgrad_explain.attention.methods.base import MethodMaps, Needs
from mmgrad_explain.attention.recording.attention_calls import AttentionRecorder
from mmgrad_explain.attention.running.modules import find_modules
from mmgrad_explain.attention.running.structures import tensors_in
from mmgrad_explain.errors import GradientError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor

    from mmgrad_explain.attention.attention_layers.sites import AttentionSite
    from mmgrad_explain.attention.layouts.layout import AnyLayout
    from mmgrad_explain.attention.methods.run import Run
    from mmgrad_explain.attention.recording.records import Record

NAME = "legrad"


@dataclass(frozen=True)
class LeGrad:
    """Sum over the last blocks of ``mean over heads and queries of ReLU(ds^l / dA^l)``.

    ``A^l`` are the attention probabilities of block l, and ``s^l`` is the score of the tokens that block l returns: the
    model's own head reads them in the place of the last block's. What the head is decides how:

    - It reads the class token: the mean over all tokens stands for it, as in the paper.
    - Learned queries pool the tokens (SigLIP, CoCa): the gradient is taken at the probabilities of the pooler
      instead, as in the paper; its queries add up.
    - It reads the patches (their mean, or a text or an answer that attends to them): it reads those of block l.

    Attributes:
        blocks: How many of the last blocks are summed, at most; None for all. The authors' code takes the last two.
    """

    blocks: int | None = 2
    differentiable = True

    def __post_init__(self) -> None:
        check_blocks(self.blocks)

    @property
    def name(self) -> str:
        """Its name in results, with the number of blocks where that is not the default."""
        if self.blocks == LeGrad.blocks:
            return NAME
        return f"{NAME}, {'all' if self.blocks is None else self.blocks} block{'s' * (self.blocks != 1)}"

    @property
    def needs(self) -> Needs:
        """The attention of the blocks, or of the pooler, and the model's head."""
        return Needs(attention=self._select, replay=True)

    def _select(self, sites: Sequence[AttentionSite]) -> Sequence[AttentionSite]:
        tower = find_image_tower(sites, NAME)
        names = tower.last_blocks(self.blocks)
        return tower.pooler or [site for site in tower.blocks if site.block in names]

    def maps(self, run: Run) -> MethodMaps:
        """Make the maps, one for each call of the tower.

        Raises:
            CaptureError: a block did not run.
            GradientError: the score of a block's tokens does not depend on its attention.
        """
        tower = find_image_tower(run.sites, NAME)
        blocks = tower.last_blocks(self.blocks)
        layouts = run.layouts[tower.last]
        maps = [
            tokens_to_map(_add_up(run, tower, blocks, record, layout), layout, record.rows)
            for record, layout in zip(run.seen.calls(tower.last), layouts, strict=True)
        ]
        return tower.make_result(run, maps)


def _add_up(run: Run, tower: ImageTower, blocks: Sequence[str], record: Record, layout: AnyLayout) -> Tensor:
    """Sum over blocks of how the score of their tokens reacts, a value a token, (B, N)."""
    as_they_are = bool(tower.pooler) or reads_patches(run, record, layout)
    values: Any = 0
    for block in blocks:
        sites = tower.pooler or [site for site in tower.blocks if site.block == block]
        sites = [site for site in sites if site.call == record.call]
        score, calls = run.score, run.attention
        if block != tower.last or not as_they_are:
            tokens = next(tensors_in(run.seen.outputs[block][record.call]))
            with _watch(run, tower) as again:
                score = run.replay({(tower.last, record.call): tokens if as_they_are else _spread_mean(tokens)})
            calls = again.calls if again else calls
        gradients = run.gradients_of([find_call(calls, site).probabilities for site in sites], score)
        for gradient in gradients:
            if gradient is None:
                raise GradientError(
                    f"legrad: the score of the tokens of block {block!r} does not depend on its attention: what "
                    "follows the block detaches it; take fewer blocks=, or 'gradcam' at a layer"
                )
            rows = gradient.relu().mean(1)
            values = values + (rows.sum(1) if tower.pooler else rows.mean(1))
    return values  # type: ignore[no-any-return]


def _watch(run: Run, tower: ImageTower) -> AbstractContextManager[AttentionRecorder | None]:
    """Record the pooler in a replay, if there is one."""
    names = list(dict.fromkeys(site.block for site in tower.pooler))
    return AttentionRecorder(find_modules(run.root, names)) if names else contextlib.nullcontext()


def _spread_mean(tokens: Tensor) -> Tensor:
    """Put the mean over all tokens in the place of each, (B, N, D)."""
    return tokens.mean(1, keepdim=True).expand_as(tokens)
