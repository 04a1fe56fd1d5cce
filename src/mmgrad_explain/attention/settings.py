"""What MMGrad keeps between calls: how maps are made, and what was found out about the model."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mmgrad_explain.attention.assembly import assemble, weigh_all
from mmgrad_explain.attention.capture import Capture
from mmgrad_explain.attention.gradient import check_grids_reached
from mmgrad_explain.attention.image_owners import ImageOwners, images_of_records
from mmgrad_explain.attention.layers.candidates import find_layer
from mmgrad_explain.attention.layouts.layout import AnyLayout, Layout
from mmgrad_explain.attention.layouts.record_layouts import KnownLayouts, find_layouts
from mmgrad_explain.attention.model_hints import ask_layout_for
from mmgrad_explain.attention.modules import ParentOf, find_layers
from mmgrad_explain.attention.scores.checks import check_finite
from mmgrad_explain.attention.scores.guess import mention_guess
from mmgrad_explain.attention.words import NameWords, WordCapture, name_words

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor, nn

    from mmgrad_explain.attention.scores.base import Score
    from mmgrad_explain.attention.weighting import Weighting
    from mmgrad_explain.explanation.fusion import Fuse
    from mmgrad_explain.explanation.result import Explanation


@dataclass
class MapSettings:
    """How maps of a model are made, and what earlier calls found out about it.

    Attributes:
        root: The unwrapped model.
        score: The caller's score; None if there is none.
        weighting_name: Name of the weighting.
        weighting: The weighting.
        layout: The caller's layout; None if there is none.
        fuse_name: Name of the fusion of several layers' maps.
        fuse: The fusion.
        layers: Name to module of the target layers; None as long as they have not been found.
        name_words: Names the words of a text; None where no words are wanted.
        words_layer: Name to module of the embedding of words, where the caller named it.
        verified: The kinds of graph that were checked for a second derivative.
        known_layouts: The layouts that were inferred.
        owners: The input images of each call of a layer.
    """

    root: nn.Module
    score: Score | None
    weighting_name: str
    weighting: Weighting
    layout: AnyLayout | None
    fuse_name: str
    fuse: Fuse
    layers: dict[str, nn.Module] | None
    name_words: NameWords | None
    words_layer: dict[str, nn.Module] | None
    verified: set[tuple[Any, ...]] = field(default_factory=set)
    known_layouts: KnownLayouts = field(default_factory=dict)
    owners: ImageOwners = field(init=False)

    def __post_init__(self) -> None:
        self.owners = ImageOwners(self.root, split=self.layout is None or isinstance(self.layout, Layout))

    @property
    def packed(self) -> bool:
        """Whether the caller or the model places the cells of packed images."""
        is_placed = self.layout is not None and not isinstance(self.layout, Layout)
        return is_placed or ask_layout_for(self.root) is not None

    def find_target_layers(self, args: Any, kwargs: dict[str, Any]) -> dict[str, nn.Module]:
        """Return the target layers; the first time they are searched in a forward of the undisturbed model."""
        return self.layers or find_layers(self.root, find_layer(self.root, args, kwargs, self.score))

    def record(self, layers: dict[str, nn.Module], parents: ParentOf) -> Capture:
        """Prepare to record layers in a call."""
        return Capture(self.root, layers, force_grad=True, packed=self.packed, parents=parents)

    def record_words(self, args: Any, kwargs: dict[str, Any]) -> AbstractContextManager[WordCapture | None]:
        """Prepare to record the embeddings of words in a call, if words are wanted."""
        if self.name_words is None:
            return contextlib.nullcontext()
        return WordCapture(self.root, (args, kwargs), self.words_layer)

    def find_layouts(self, seen: Capture) -> dict[str, list[AnyLayout]]:
        """Find the layout of every record."""
        return find_layouts(seen, self.layout, self.root, self.known_layouts)

    def explain(
        self,
        seen: Capture,
        gradients: dict[str, list[Tensor | None]],
        layouts: dict[str, list[AnyLayout]],
        score: Tensor,
        scorer: Score,
        size: tuple[int, int] | None,
        word_capture: WordCapture | None,
        word_gradients: Sequence[Tensor | None],
    ) -> Explanation:
        """Check the gradients of a call and make the result of them.

        Args:
            seen: The records of the call.
            gradients: The gradient at each record.
            layouts: The layout of each record.
            score: (B,).
            scorer: What computed it.
            size: (H, W) of the model's input, if it is known.
            word_capture: The embeddings of words, if words are wanted.
            word_gradients: The gradient at each of them.
        """
        words = None
        with mention_guess(scorer):
            check_finite(score.detach())  # only now, because looking at a value makes a GPU wait
            check_grids_reached(gradients, layouts, self.root)
            if word_capture is not None and self.name_words is not None:
                words = name_words(
                    word_capture.values(word_gradients, len(score)), self.name_words(*word_capture.tokens())
                )
        signed = weigh_all(seen, gradients, layouts, self.weighting, graph=False)
        return assemble(
            signed, score.detach().float(), scorer.name, self.weighting_name, (self.fuse_name, self.fuse), layouts,
            size=size, model=type(self.root).__name__, words=words, image_of_calls=images_of_records(seen),
            stacklevel=5,
        )  # fmt: skip
