"""Attention rollout: where information comes from if it follows attention alone.

Source: Abnar and Zuidema, Quantifying Attention Flow in Transformers, arXiv 2005.00928.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from mmgrad_explain.attention.gradient import to_float
from mmgrad_explain.attention.methods.attention.rollout_rules import roll_out
from mmgrad_explain.attention.methods.attention.token_streams import find_streams, make_stream_maps, select_streams
from mmgrad_explain.attention.methods.base import MethodMaps, Needs
from mmgrad_explain.notes import Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmgrad_explain.attention.attention_layers.sites import AttentionSite
    from mmgrad_explain.attention.methods.run import Run

_NOTE = Note(
    "knows-no-score",
    "attention rollout takes no gradient: it does not know the score, and the text only where image and text share "
    "attention; a floor to compare with, no explanation",
)


@dataclass(frozen=True)
class AttentionRollout:
    """How much of each place of the image is in the tokens that the score reads, if all of it follows attention.

    The product of all layers' ``(A + I) / 2``, A the mean over heads. **It knows no text**: where an image has a tower
    of its own, the map is the same for every text and every score. It is a floor to compare other methods with.
    """

    name: ClassVar[str] = "attention-rollout"
    differentiable: ClassVar[bool] = True

    @property
    def needs(self) -> Needs:
        """The attention between the image's tokens and the score."""
        return Needs(attention=self._select, gradient=False)

    def _select(self, sites: Sequence[AttentionSite]) -> list[AttentionSite]:
        return select_streams(sites, self.name)

    def maps(self, run: Run) -> MethodMaps:
        """Make the maps of each image; the score only tells which tokens it reads.

        Raises:
            CaptureError: not all of the attention was recorded.
            GradientError: the score reads none of it.
            InputError: tokens cannot be followed through it.
        """
        streams = find_streams(run, self.name)
        with torch.autocast(run.score.device.type, enabled=False):
            attention = [
                streams.flow.pad(
                    number, to_float(call.probabilities if run.create_graph else call.probabilities.detach()).mean(1)
                )
                for number, call in enumerate(streams.calls)
            ]
            return make_stream_maps(run, streams, roll_out(streams.flow, attention), (_NOTE,))
