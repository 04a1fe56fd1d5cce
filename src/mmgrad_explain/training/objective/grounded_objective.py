"""The loss of a step: retrieval, grounding of the model's own maps, and optionally label heads.

*Retrieval* is InfoNCE of the composed query against all targets and references of the batch, and those in the memory;
the edits of one image are hard negatives of each other. *Across* compares images of other photographs, where it is
known what they show. *Prompt* and *align* are of a learned prompt, for composers that have one. *Change* classifies by
the direction of the text shift which edit of its image it is. *Grounding*
takes the maps of the text shift, or of another score, from the same graph, several weightings from one gradient; they
should be bright where the edit is. Its terms without masks compare maps with each other, or hide what a map shows.
*Pooling* and *context* ask of the composer's own attention that it is where the edit is.
*Dense* predicts label maps from the explained feature grid with linear heads that exist only in training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmgrad_explain.composers.model_capabilities import (
    capabilities,
    check_trainable,
    gallery_shape_of,
    logit_scale_of,
)
from mmgrad_explain.data.batches.facts import UNKNOWN
from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics.similarities import similarities
from mmgrad_explain.training.distributed import count_processes, join_galleries, mean_over_all
from mmgrad_explain.training.objective.comparison import compare, copied, forget_twins, join_ids, siblings
from mmgrad_explain.training.objective.fact_head import FactHead
from mmgrad_explain.training.objective.forward_pass import ForwardPass
from mmgrad_explain.training.objective.label_heads import LabelHeads
from mmgrad_explain.training.objective.options import UNMASKED_TERMS
from mmgrad_explain.training.objective.second_looks import compare_maps, score_masked
from mmgrad_explain.training.objective.supervision import context_of, draw_rows, masks_of, no_rows
from mmgrad_explain.training.objective.terms import (
    JoinedGroundingLoss,
    change_loss,
    direction_loss,
    figures_of,
    ground,
    pooling_loss,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.composers.contract import TrainingStages
    from mmgrad_explain.composers.outputs import LearnedPrompt
    from mmgrad_explain.data.batches.batch import TripletBatch
    from mmgrad_explain.training.objective.forward_pass import Forward
    from mmgrad_explain.training.objective.options import ObjectiveOptions, RetrievalOptions
    from mmgrad_explain.training.objective.supervision import Rows


@dataclass(frozen=True)
class Losses:
    """The losses of a step.

    Attributes:
        total: The loss to differentiate.
        retrieval: InfoNCE plus the weighted change loss.
        grounding: The sum of the weighted terms on maps and on the composer's attention; 0 without them.
        dense: The loss of the label heads, not weighted; 0 without them.
        figures: Numbers to log, detached, so that no device is waited for.
    """

    total: Tensor
    retrieval: Tensor
    grounding: Tensor
    dense: Tensor
    figures: dict[str, Tensor] = field(default_factory=dict)


class GroundedObjective(nn.Module):
    """A composer together with its training losses.

    Args:
        composer: The composer to train; see :mod:`mmgrad_explain.composers.contract` for what it must offer.
        options: See :class:`~mmgrad_explain.training.objective.options.ObjectiveOptions`.
        label_classes: Number of classes of each label map; used if the dense loss has a weight.
        facts: Number of facts that the sources know of an image.

    Raises:
        InputError: If the composer cannot be trained with these options.
    """

    fixed_scale: Tensor | None
    memory: Tensor | None
    memory_facts: Tensor | None
    memory_ids: Tensor | None
    _keys_to_ignore_on_save = None  # read by transformers when a checkpoint lacks the memory

    def __init__(
        self,
        composer: Composer,
        options: ObjectiveOptions,
        label_classes: Mapping[str, int] | None = None,
        facts: int = 0,
    ) -> None:
        super().__init__()
        check_trainable(composer)
        self.composer = composer
        self.options = options
        self.passes = ForwardPass(composer, options)
        own = logit_scale_of(composer)
        fixed = options.retrieval.temperature
        self.logit_scale = None if own is not None or fixed is not None else nn.Parameter(torch.tensor(2.66))
        if own is not None and fixed is not None:
            with torch.no_grad():
                own.fill_(-math.log(fixed))
            own.requires_grad = False
        self.register_buffer("fixed_scale", None if fixed is None else torch.tensor(1 / fixed), persistent=False)
        stages = self.passes.stages
        self.heads = LabelHeads.of(stages, label_classes or {}) if options.dense.weight else None
        shape = gallery_shape_of(composer)
        _check_directions(shape, options.retrieval)
        self._learned_prompt = _find_prompt(composer, options.retrieval)
        self.register_buffer("memory", _empty_memory(options.retrieval.memory, shape))
        remembered = torch.full((options.retrieval.memory, 1 + facts), UNKNOWN, dtype=torch.int32)
        self.register_buffer("memory_facts", remembered if facts and options.retrieval.memory else None)
        size = options.retrieval.memory
        self.register_buffer("memory_ids", torch.full((size,), -1) if size else None)
        wide = stages.embed_dim if stages is not None else 0
        self.fact_head = FactHead(wide, facts) if wide and facts and options.retrieval.facts else None
        grounding = options.grounding
        self.grounding = JoinedGroundingLoss(grounding.form, weights=grounding.map_weights, validate=False)

    def forward(
        self, batch: TripletBatch, rng: np.random.Generator, schedule: float = 1.0, *, dense_only: bool = False
    ) -> Losses:
        """Compute the losses of a batch.

        Args:
            batch: ``S`` references and ``N`` triplets.
            rng: Chooses the maps that are supervised, and on which side.
            schedule: Factor of the weights of the terms on maps; with 0 no map is computed.
            dense_only: Compute the loss of the label heads only.
        """
        stages = self.passes.stages
        if dense_only and stages is not None:
            alone = self.passes.encode(torch.cat([batch.references, batch.targets]))
            dense, figures = self._dense(stages, batch, alone.values)
            return Losses(self.options.dense.weight * dense, dense.new_zeros(()), dense.new_zeros(()), dense, figures)
        maps = schedule > 0 and any(self.grounding.weights.values())
        rows = no_rows()
        if maps or self.passes.attention_layers:
            more = maps and any(self.grounding.weights[name] for name in UNMASKED_TERMS)
            rows = draw_rows(batch, self.options.grounding, rng, without_masks=more)
        rows = rows.to(batch.references.device)
        forward = self.passes.run(batch, rows, maps=maps)
        features = forward.features
        retrieval, figures = self._retrieval(forward, batch)
        grounding, found = self._grounding(forward, batch, rows, schedule, maps=maps)
        figures.update(found)
        dense = retrieval.new_zeros(())
        if stages is not None and features is not None and self.heads is not None and not self.options.dense.freeze:
            dense, found = self._dense(stages, batch, features.values)
            figures.update(found)
        total = retrieval + grounding + self.options.dense.weight * dense
        return Losses(total, retrieval, grounding, dense, figures)

    def temperature(self) -> Tensor:
        """Return the factor of the similarities, at most 100."""
        if self.fixed_scale is not None:
            return self.fixed_scale
        scale = self.logit_scale if self.logit_scale is not None else logit_scale_of(self.composer)
        return scale.exp().clamp(max=100)  # type: ignore[union-attr]

    # ---------------------------------------------------------------------------------------------------------- losses

    def _retrieval(self, forward: Forward, batch: TripletBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute InfoNCE and the weighted change loss, with their figures."""
        gallery, first = join_galleries(forward.gallery, len(forward.query))
        truth = first + torch.arange(len(forward.query), device=forward.query.device)
        ids = join_ids(batch, len(forward.query))
        cosine = self._compare_all(forward.query, gallery, batch, ids, truth)
        known = None
        if batch.facts is not None:
            known = join_galleries(batch.facts.gallery.float(), len(forward.query))[0].int()
        every = known if known is None or self.memory_facts is None else torch.cat([known, self.memory_facts])
        loss, figures = compare(
            cosine, self.temperature(), truth, batch, every, len(gallery), self.options.retrieval.across
        )
        for name, missed in self._prompt_losses(forward, batch, gallery, ids, truth):
            loss = loss + getattr(self.options.retrieval, name) * missed
            figures[name] = missed.detach()
        if self.memory is not None and self.training:
            self._remember(gallery, known, ids, self.memory)
        if self.fact_head is not None and batch.facts is not None:
            missed = self.fact_head(forward.gallery, forward.query, batch.facts)
            loss = loss + self.options.retrieval.facts * missed
            figures["facts"] = missed.detach()
        if self.options.retrieval.change:
            change = change_loss(forward.shift, forward.change, siblings(batch))
            loss = loss + self.options.retrieval.change * change
            figures["change"] = change.detach()
        if self.options.retrieval.direction:
            missed = direction_loss(forward.shift, forward.change, copied(batch))
            loss = loss + self.options.retrieval.direction * missed
            figures["direction"] = missed.detach()
        return loss, figures

    def _compare_all(
        self, query: Tensor, gallery: Tensor, batch: TripletBatch, ids: Tensor | None, truth: Tensor
    ) -> Tensor:
        """Compute the cosines of queries with the gallery and the memory; minus infinity for what does not count."""
        cosine = forget_twins(similarities(query, gallery), batch, ids, truth)
        if self.memory is None:
            return cosine
        filled = self.memory.flatten(1).any(1)
        stored = similarities(query, self.memory).masked_fill(~filled, -torch.inf)
        return torch.cat([cosine, forget_twins(stored, batch, self.memory_ids)], dim=1)

    def _prompt_losses(
        self, forward: Forward, batch: TripletBatch, gallery: Tensor, ids: Tensor | None, truth: Tensor
    ) -> Iterator[tuple[str, Tensor]]:
        """Compute the losses of a learned prompt that have a weight, by name."""
        if self._learned_prompt is None:
            return
        with self.passes.autocast(batch.input_ids.device):
            found = self._learned_prompt(forward.output, batch.input_ids, batch.attention_mask)
        if self.options.retrieval.prompt:
            cosine = self._compare_all(found.query.float(), gallery, batch, ids, truth)
            yield "prompt", compare(cosine, self.temperature(), truth, batch, None, len(gallery), 0.0)[0]
        if self.options.retrieval.align:
            own = copied(batch)
            yield "align", mean_over_all(found.distance * own, own)

    def _remember(self, gallery: Tensor, known: Tensor | None, ids: Tensor | None, memory: Tensor) -> None:
        """Put a batch's gallery, what is known of it, and the numbers of its images into the memory."""
        self.memory = torch.cat([gallery.detach(), memory])[: len(memory)]
        if self.memory_ids is not None:
            ids = torch.full((len(gallery),), -1, device=gallery.device) if ids is None else ids
            self.memory_ids = torch.cat([ids, self.memory_ids])[: len(memory)]
        if self.memory_facts is not None:
            known = gallery.new_full((len(gallery), self.memory_facts.shape[1]), UNKNOWN) if known is None else known
            self.memory_facts = torch.cat([known.int(), self.memory_facts])[: len(memory)]

    def _grounding(
        self, forward: Forward, batch: TripletBatch, rows: Rows, schedule: float, *, maps: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum the weighted terms on maps and on the composer's attention, with their figures."""
        total = forward.query.new_zeros(())
        figures: dict[str, Tensor] = {}
        if forward.maps is not None:
            weights = self.grounding.weights
            others = compare_maps(self.passes, batch, rows, forward, weights)
            scores = score_masked(self.passes, batch, rows, forward, weights)
            total = schedule * ground(self.grounding, forward.maps, batch, rows, others, scores)
            figures.update(figures_of(self.grounding))
        elif maps and count_processes() > 1:
            figures.update(self.grounding.join_without_maps(forward.query))
        for term in self.passes.attention_layers if forward.attention or count_processes() > 1 else ():
            missed = self._missed_by_attention(term, forward, batch, rows)
            total = total + getattr(self.options.grounding, term) * missed
            figures[term] = missed.detach()
        return total, figures

    def _missed_by_attention(self, term: str, forward: Forward, batch: TripletBatch, rows: Rows) -> Tensor:
        """Return how much of the composer's attention misses its region; 0 if this process has no row."""
        if term not in forward.attention:
            return mean_over_all(forward.query.new_zeros(0))
        masks = masks_of(batch, rows) if term == "pooling" else context_of(batch, rows)
        return pooling_loss(forward.attention[term], masks, self.options.grounding.pooling_heads)

    def _dense(self, stages: TrainingStages, batch: TripletBatch, features: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if self.heads is None:
            raise InputError("dense.weight is 0: there are no label heads to train alone")
        grid, facts = stages.feature_grid(features), batch.facts
        tags = None if facts is None else torch.cat([facts.references, facts.targets])[:, : facts.classes]
        options = self.options.dense
        dense = self.heads(
            grid, batch.reference_labels, batch.target_labels, tags, options.tags, balance=options.balance
        )
        return dense, {"dense": dense.detach()}


def _empty_memory(size: int, shape: tuple[int, ...] | None) -> Tensor | None:
    if not size:
        return None
    if shape is None:
        raise InputError(
            "retrieval.memory: this composer does not say how long its embeddings are (embed_dim); set it to 0"
        )
    return torch.zeros(size, *shape)


def _find_prompt(
    composer: Composer, options: RetrievalOptions
) -> Callable[[Any, Tensor, Tensor], LearnedPrompt] | None:
    """Return what gives the composer's learned prompt, if its losses have a weight.

    Raises:
        InputError: They have, and the composer has no such prompt.
    """
    wanted = [name for name in ("prompt", "align") if getattr(options, name)]
    found = capabilities(composer).learned_prompt
    if wanted and found is None:
        raise InputError(
            f"retrieval.{wanted[0]}: {type(composer).__name__} has no learned prompt, as BLIP-2's own Q-Former has "
            "(model.composer: sprc); set it to 0"
        )
    return found if wanted else None


def _check_directions(shape: tuple[int, ...] | None, options: RetrievalOptions) -> None:
    """Refuse losses on the direction from one image to another where an image is several vectors."""
    for name in ("change", "direction"):
        if getattr(options, name) and shape is not None and len(shape) > 1:
            raise InputError(
                f"retrieval.{name}: an image is {shape[0]} vectors for this composer, which have no one direction to "
                "another image's; set it to 0"
            )
