"""Dense readouts of a vision transformer: the score that every place of the image has by itself; no gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from mmgrad_explain._system.choices import check_choice
from mmgrad_explain.attention.gradient import to_float
from mmgrad_explain.attention.layouts.layout import AnyLayout, Layout, fold_map, to_grid
from mmgrad_explain.attention.methods.attention.branch_tokens import attention_branch
from mmgrad_explain.attention.methods.attention.steady_modules import find_steady_modules, repeat_outputs
from mmgrad_explain.attention.methods.base import MethodMaps, Needs
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmgrad_explain.attention.attention_layers.sites import AttentionSite
    from mmgrad_explain.attention.methods.run import Run
    from mmgrad_explain.attention.recording.attention_calls import AttentionCall

READOUTS = ("maskclip", "naclip")
"""The dense readouts, by the names of their papers."""

# How many numbers the tokens of one replay may hold.
_NUMBERS = 2**25


@dataclass(frozen=True)
class Dense:
    """The score of each place by itself: where image and text have a tower each, its cosine with the text.

    The last self-attention of the image's tower is changed so that a place keeps what is its own; the block's residual
    and MLP are left out. Each token then goes through the rest of the model (norm, pooling, projection) by itself, as
    if all tokens were like it: a class token, a mean over tokens and attention pooling then all give that token's own
    value. With ``"maskclip"`` each token attends to itself alone, so that its value is read out (Zhou et al.,
    arXiv 2112.01071, section 3.2); where the tower ends in attention pooling, that is the last attention, and its
    values are read out. With ``"naclip"`` tokens attend by the similarity of keys with keys, plus a Gaussian around
    their own place (Hajimiri et al., arXiv 2404.08181, section 3).

    Attributes:
        readout: ``"naclip"`` or ``"maskclip"``.
        std: Standard deviation of NACLIP's Gaussian, in patches.
        centre: Subtract the mean over the image, so that positive means nearer to the text than the image as a whole.
        name: In results.
    """

    readout: Literal["naclip", "maskclip"] = "naclip"
    std: float = 5.0
    centre: bool = True
    name: str = "dense"
    differentiable = False

    def __post_init__(self) -> None:
        check_choice("readout", self.readout, READOUTS)
        if not self.std > 0:
            raise InputError(f"std is a distance in patches, above 0, not {self.std}")

    @property
    def needs(self) -> Needs:
        """The last self-attention of the image's tower, and the model's head on its tokens."""
        return Needs(attention=self._select, replay=True, reruns=True, gradient=False)

    def _select(self, sites: Sequence[AttentionSite]) -> Sequence[AttentionSite]:
        mixed = [
            site
            for site in sites
            if site.reached
            and (site.queries_from_image or site.keys_from_image)
            and (site.queries_from_text or site.keys_from_text)
        ]
        if mixed:
            raise InputError(
                f"method {self.name!r} compares every place of the image with the text, but this model mixes both in "
                f"the attention of {mixed[0].block!r}: take 'layercam' or 'gradcam'"
            )
        own = [site for site in sites if site.is_self and site.of_image_alone and site.tokens_of == site.block]
        if not own:
            raise InputError(
                f"method {self.name!r} reads the tokens of a vision transformer, and none was found whose tokens lie "
                "on the image: take 'layercam'"
            )
        return [site for site in own if site.block == own[-1].block]

    def maps(self, run: Run) -> MethodMaps:
        """Make a signed map of every image: scores less their mean over the image, or with ``centre=False`` scores."""
        block = run.attention[-1].block
        sites = [site for site in run.sites if site.block == block]
        pooled = any(
            site.reached and site.keys_from_image and not site.is_self and site.tokens_of == block for site in run.sites
        )
        maps, layouts = [], run.layouts[block]
        with torch.no_grad():
            for record, layout in zip(run.seen.records[block], layouts, strict=True):
                if record.rows is not None or record.activation.ndim != 3:
                    raise InputError(
                        f"method {self.name!r}: block {block!r} sees several images in one batch, or no tokens "
                        "(B, N, D): explain one image at a time, or take 'layercam'"
                    )
                site = next(site for site in sites if site.call == record.call)
                tokens = record.activation if pooled and self.readout == "maskclip" else None
                if tokens is None:
                    tokens = attention_branch(run, site, partial(self._attend, layout=layout))
                prefix = layout.prefix if isinstance(layout, Layout) and layout.prefix else 0
                scores = self._score_tokens(
                    run, (block, record.call), tokens.detach().to(record.activation.dtype), max(2, prefix + 1)
                )
                maps.append(fold_map(to_grid(scores[..., None], layout)[:, 0], layout))
        if self.centre:
            maps = [signed - signed.mean((1, 2), keepdim=True) for signed in maps]
        return MethodMaps({block: maps}, {block: [*layouts]}, run.image_of_calls)

    def _attend(self, call: AttentionCall, layout: AnyLayout) -> Tensor:
        """Return other probabilities for an attention."""
        count = call.probabilities.shape[-1]
        if self.readout == "maskclip":
            return torch.eye(count, device=call.probabilities.device).expand(call.probabilities.shape)
        if call.keys is None or not isinstance(layout, Layout) or layout.grid is None or layout.prefix is None:
            raise InputError(
                f"method {self.name!r} with readout='naclip' needs keys, and tokens that are a grid of patches: take "
                "'maskclip'"
            )
        keys = to_float(call.keys)
        near = keys @ keys.transpose(-2, -1) / math.sqrt(keys.shape[-1])
        near = near + self._window(count, layout.grid, layout.prefix, keys)
        masked = call.probabilities.amax(-2, keepdim=True) == 0  # keys that no query may see: padding
        return near.masked_fill(masked, -math.inf).softmax(-1)

    def _window(self, count: int, grid: tuple[int, int], first: int, like: Tensor) -> Tensor:
        """Return ``exp(-d^2 / (2 std^2))`` of the distance d between two patches, 0 for other tokens: (N, N)."""
        height, width = grid
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        places = torch.stack([rows.flatten(), columns.flatten()], 1).to(like)
        near = torch.exp(-(places[:, None] - places[None]).square().sum(-1) / (2 * self.std**2))
        window = like.new_zeros(count, count)
        window[first : first + height * width, first : first + height * width] = near
        return window

    def _score_tokens(self, run: Run, place: tuple[str, int], tokens: Tensor, few: int) -> Tensor:
        """Return the score (B, N) of every token, as if all tokens of the image were like it.

        What follows gives the same for ``few`` tokens as for N where all are alike, unless it adds them up or counts
        them; that is tried out. What does not depend on them is not computed again.
        """
        batch, count, _ = tokens.shape
        few = min(few, count)
        rows = tokens.transpose(0, 1)
        close = max(1e-3, 8 * torch.finfo(tokens.dtype).eps)
        # Not a token of any image: what does not change with it depends on none.
        other = 1 - rows[:1].roll(1, -1)
        steady: dict[nn.Module, list[Any]] = {}

        def score(rows: Tensor, alike: int) -> Tensor:
            """Score tokens (T, B, D), each repeated to as many that are alike."""
            whole = rows.flatten(0, 1)[:, None].expand(-1, alike, -1)
            others = repeat_outputs(steady, len(rows), batch)
            found = run.replay({place: whole}, times=len(rows), hold=True, others=others)
            return found.float().view(len(rows), batch)

        single: list[Tensor] = []

        def score_whole(row: Tensor) -> None:
            single.append(score(row, count))

        steady = find_steady_modules(run.root, [partial(score_whole, row) for row in (rows[:1], other)], batch)
        expected = torch.cat(single).detach()
        for alike in dict.fromkeys((few, count)):
            try:
                found = score(torch.cat([rows[:1], other]), alike)
                if torch.allclose(found, expected, rtol=close, atol=close * float(expected.abs().amax()) / 10):
                    at_once = min(count, max(1, _NUMBERS // rows[0].numel() // alike))
                    return torch.cat([score(part, alike) for part in torch.split(rows, at_once)]).T
            except (RuntimeError, ValueError, TypeError, IndexError, InputError):  # a model that takes no other batch
                continue
        steady = {}
        return torch.cat([score(row[None], count) for row in rows]).T
