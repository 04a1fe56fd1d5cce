"""Relevancy: attention times its gradient, passed on from layer to layer.

Source: Chefer, Gur and Wolf, Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
Transformers, arXiv 2103.15679.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from mmgrad_explain.attention.gradient import to_float
from mmgrad_explain.attention.methods.attention.image_attention import check_blocks
from mmgrad_explain.attention.methods.attention.relevancy_rules import mean_positive, propagate
from mmgrad_explain.attention.methods.attention.token_streams import find_streams, make_stream_maps, select_streams
from mmgrad_explain.attention.methods.base import MethodMaps, Needs
from mmgrad_explain.errors import GradientError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from mmgrad_explain.attention.attention_layers.flow import AttentionFlow
    from mmgrad_explain.attention.attention_layers.sites import AttentionSite
    from mmgrad_explain.attention.methods.run import Run


@dataclass(frozen=True)
class Relevancy:
    """What the tokens that the score reads owe to each place of the image, through all attention layers.

    Each layer passes on the mean over heads of the positive part of its attention times the score's gradient. Where a
    score reads several tokens (average pooling, the words of an answer), the map is the mean of their rows, without
    what all patches have alike because each is read itself; where it reads tokens of two streams, the maps are added.
    One forward and one backward of the model, and no parameters.

    A vision transformer, a tower with a pooling head, a text that reads an image by cross-attention, two streams that
    read each other, and image and text in one sequence are followed by the paper's rules for each. Where image tokens
    join words in one sequence, it begins there.

    The map depends on the scale of the score: the larger its gradient, the more the products of several layers weigh.

    Attributes:
        blocks: How many of the last layers of each sequence of tokens count; None for all, as in the paper. With many
            layers the map may show artefacts.
    """

    blocks: int | None = None
    name: ClassVar[str] = "relevancy"
    differentiable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_blocks(self.blocks)

    @property
    def needs(self) -> Needs:
        """The attention between the image's tokens and the score."""
        return Needs(attention=self._select)

    def _select(self, sites: Sequence[AttentionSite]) -> list[AttentionSite]:
        return select_streams(sites, self.name)

    def maps(self, run: Run) -> MethodMaps:
        """Make the maps of each image.

        Raises:
            CaptureError: not all of the attention was recorded.
            GradientError: the score does not depend on it.
            InputError: tokens cannot be followed through it.
        """
        streams = find_streams(run, self.name)
        probabilities = [call.probabilities for call in streams.calls]
        *gradients, of_last = run.gradients_of([*probabilities, streams.outputs[-1]])
        if all(gradient is None for gradient in gradients):
            raise GradientError(
                f"method {self.name!r}: the score does not depend on any attention: choose another score"
            )
        dropped = self._find_dropped(streams.flow)
        with torch.autocast(run.score.device.type, enabled=False):
            attention = [
                None
                if gradient is None or number in dropped
                else streams.flow.pad(number, mean_positive(_values(one, graph=run.create_graph), gradient))
                for number, (one, gradient) in enumerate(zip(probabilities, gradients, strict=True))
            ]
            carried = propagate(streams.flow, attention)
            return make_stream_maps(run, streams, carried, known={len(streams.calls) - 1: of_last}, with_identity=True)

    def _find_dropped(self, flow: AttentionFlow) -> set[int]:
        """Find the self-attention before the last ``blocks`` of each stream."""
        own: dict[int, list[int]] = {}
        for number, (queries, keys) in enumerate(zip(flow.queries, flow.keys, strict=True)):
            if queries.stream == keys.stream:
                own.setdefault(keys.stream, []).append(number)
        return set() if self.blocks is None else {n for calls in own.values() for n in calls[: -self.blocks]}


def _values(tensor: Tensor, *, graph: bool) -> Tensor:
    return to_float(tensor if graph else tensor.detach())
