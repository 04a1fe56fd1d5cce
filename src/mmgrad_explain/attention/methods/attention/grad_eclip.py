"""Grad-ECLIP: what the class token takes from each patch, channel by channel, for the score.

Source: Zhao et al., Grad-ECLIP: Gradient-based Visual and Textual Explanations for CLIP, arXiv 2502.18816 (ICML 2024).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgrad_explain.attention.gradient import to_float
from mmgrad_explain.attention.layouts.layout import Layout, to_grid
from mmgrad_explain.attention.methods.attention.image_attention import (
    check_blocks,
    find_call,
    find_image_tower,
    gradient_of_tokens,
    tokens_to_map,
)
from mmgrad_explain.attention.methods.base import MethodMaps, Needs
from mmgrad_explain.errors import CaptureError, GradientError, InputError
from mmgrad_explain.notes import Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmgrad_explain.attention.attention_layers.sites import AttentionSite
    from mmgrad_explain.attention.layouts.layout import AnyLayout
    from mmgrad_explain.attention.methods.run import Run
    from mmgrad_explain.attention.recording.attention_calls import AttentionCall
    from mmgrad_explain.attention.recording.records import Record

NAME = "grad-eclip"


@dataclass(frozen=True)
class GradEclip:
    """Sum over channels of gradient, loosened attention and value: ``sum_c g_c lambda_i v_ic``, before the ReLU.

    ``g = ds/do`` is the score's gradient at the class token's attention output ``o``, all heads side by side, before
    their projection; ``v_i`` is the value of patch i, and ``lambda_i`` the cosine of the class token's query with the
    key of patch i, scaled so that it goes from 0 to 1 over the patches. Several blocks add up before the ReLU.

    Where learned queries pool the patches (SigLIP, CoCa), they stand for the class token, as the pooling query of
    CLIP's ResNets does in the paper; where the score reads several, they add up. A tower that has neither is refused:
    what its patches give to the score does not pass one attention.

    Attributes:
        blocks: How many of the last blocks add up, at most.
    """

    blocks: int = 1
    differentiable = True

    def __post_init__(self) -> None:
        check_blocks(self.blocks, none=False)

    @property
    def name(self) -> str:
        """Its name in results, with the number of blocks where that is not the default."""
        return NAME if self.blocks == 1 else f"{NAME}, {self.blocks} blocks"

    @property
    def needs(self) -> Needs:
        """The attention of the blocks, or of the pooler."""
        return Needs(attention=self._select)

    def _select(self, sites: Sequence[AttentionSite]) -> Sequence[AttentionSite]:
        tower = find_image_tower(sites, NAME)
        if tower.pooler:
            if self.blocks > 1:
                raise InputError(
                    f"blocks: {NAME!r} asks the attention that pools the tokens of this model, which is one: blocks=1"
                )
            return tower.pooler
        names = tower.last_blocks(self.blocks)
        return [site for site in tower.blocks if site.block in names]

    def maps(self, run: Run) -> MethodMaps:
        """Make the signed maps, one for each call of the tower.

        Raises:
            InputError: the score reads no class token.
            CaptureError: a block did not run, or its queries, keys or values were not seen.
            GradientError: the score does not depend on the attention.
        """
        tower = find_image_tower(run.sites, NAME)
        wanted = self._select(run.sites)
        maps: list[Tensor] = []
        notes: list[Note] = []
        for record, layout in zip(run.seen.calls(tower.last), run.layouts[tower.last], strict=True):
            calls = [find_call(run.attention, site) for site in wanted if site.call == record.call]
            class_tokens = [] if tower.pooler else _find_class_tokens(run, record, layout, notes)
            gradients = run.gradients_of([ensure_seen(call).output for call in calls])
            values: Any = 0
            for call, gradient in zip(calls, gradients, strict=True):
                if gradient is None:
                    raise GradientError(f"{NAME}: the score does not depend on the attention of {call.block!r}")
                asking = _list_read(gradient.detach().transpose(1, 2)) if tower.pooler else class_tokens
                for token in asking:
                    values = values + _weigh_values(call, gradient, token, layout)
            maps.append(tokens_to_map(values, layout, record.rows))
        return tower.make_result(run, maps, tuple(notes))


def _find_class_tokens(run: Run, record: Record, layout: AnyLayout, notes: list[Note]) -> list[int]:
    """Find the tokens before the patches that the rest of the model reads; note where it reads patches as well."""
    gradient = gradient_of_tokens(run, record)
    before = layout.prefix or 0 if isinstance(layout, Layout) and layout.kind == "tokens" else 0
    read = _list_read(gradient[:, :before])
    if not read:
        raise InputError(
            f"method {NAME!r} needs a class token or learned queries that pool the patches, and the rest of this model "
            "reads neither: take 'legrad', 'layercam' or 'gradcam'"
        )
    if bool(to_grid(gradient, layout).count_nonzero()) and not notes:
        notes.append(
            Note(
                "part-of-score",
                f"{NAME} shows what reaches the score by the class token; the model reads the patches themselves too",
            )
        )
    return read


def _list_read(gradient: Tensor) -> list[int]:
    """List the tokens, along the second dimension, where a gradient is not zero for all samples."""
    if not gradient.shape[1]:
        return []
    return [int(token) for token in gradient.abs().transpose(0, 1).flatten(1).amax(1).nonzero()]


def loosen_attention(query: Tensor, keys: Tensor, among: Tensor | None = None) -> Tensor:
    """Compute how alike keys are to a query, from 0 to 1.

    Args:
        query: (B, D).
        keys: (B, N, D).
        among: (B, N) bool, the keys that the scale goes over; None for all.

    Returns:
        (B, N): the cosine, scaled so that the least alike of ``among`` is 0 and the most alike 1; other keys get 0.
    """
    alike = torch.nn.functional.cosine_similarity(query[:, None], keys, dim=-1)
    if among is None:
        among = torch.ones_like(alike, dtype=torch.bool)
    low = alike.masked_fill(~among, float("inf")).amin(1, keepdim=True)
    high = alike.masked_fill(~among, float("-inf")).amax(1, keepdim=True)
    scaled = (alike - low) / (high - low).clamp(min=torch.finfo(alike.dtype).eps)
    return scaled.masked_fill(~among, 0.0)


def _weigh_values(call: AttentionCall, gradient: Tensor, token: int, layout: AnyLayout) -> Tensor:
    """Compute ``sum_c g_c lambda_i v_ic`` of one query, (B, N)."""
    with torch.autocast(gradient.device.type, enabled=False):
        queries, keys, values = (join_heads(part) for part in (call.queries, call.keys, call.values))
        loosened = loosen_attention(queries[:, token], keys, _find_patches(keys, layout))
        return torch.einsum("bc,bi,bic->bi", join_heads(gradient)[:, token], loosened, values)


def _find_patches(keys: Tensor, layout: AnyLayout) -> Tensor | None:
    """Return which keys are patches, (B, N) bool; None where the layout does not tell."""
    if not isinstance(layout, Layout) or layout.grid is None or layout.prefix is None:
        return None
    patches = torch.zeros(keys.shape[:2], dtype=torch.bool, device=keys.device)
    patches[:, layout.prefix : layout.prefix + layout.grid[0] * layout.grid[1]] = True
    return patches


def join_heads(part: Any) -> Tensor:
    """Put the channels of all heads side by side, (B, H, N, d) to (B, N, H d), in float32 (float64 stays)."""
    return to_float(part).transpose(1, 2).flatten(2)


def ensure_seen(call: AttentionCall) -> Any:
    """Return a call whose parts were all seen.

    Raises:
        CaptureError: they were not.
    """
    if any(part is None for part in (call.output, call.queries, call.keys, call.values)):
        raise CaptureError(
            f"the queries, keys and values of {call.block!r} were not seen, because it attends in an unusual way: "
            "'legrad' needs the probabilities alone"
        )
    return call
