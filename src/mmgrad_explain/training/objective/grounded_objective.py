"""The loss of a step: retrieval, grounding of the model's own maps, and optionally label heads.

*Retrieval* is InfoNCE of the composed query against all targets and references of the batch, and those in the memory;
the edits of one image are hard negatives of each other. *Across* compares images of other photographs, where it is
known what they show. *Change* classifies by the direction of the text shift which edit of its image it is. *Grounding*
takes the maps of the text shift from the same graph, several weightings from one gradient; they should be bright where
the edit is. *Pooling* and *context* ask the same of the composer's own attention.
*Dense* predicts label maps from the explained feature grid with linear heads that exist only in training.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mmgrad_explain.attention.mmgrad import MultiModalGradAttention
from mmgrad_explain.attention.scores.named import ensure_score
from mmgrad_explain.composers.model_capabilities import (
    capabilities,
    check_has_maps_of,
    check_trainable,
    logit_scale_of,
    look_layer_of,
)
from mmgrad_explain.composers.outputs import check_parts, convert_parts, reference_alone
from mmgrad_explain.composers.recomputation import recompute_activations
from mmgrad_explain.data.batches.facts import UNKNOWN
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.distributed import count_processes, join_galleries, mean_over_all
from mmgrad_explain.training.held_out_figures import inputs_of
from mmgrad_explain.training.objective.comparison import compare, forget_twins, siblings
from mmgrad_explain.training.objective.fact_head import FactHead
from mmgrad_explain.training.objective.label_heads import LabelHeads
from mmgrad_explain.training.objective.options import ATTENTION_TERMS
from mmgrad_explain.training.objective.supervision import context_of, draw_rows, masks_of, no_rows
from mmgrad_explain.training.objective.terms import (
    JoinedGroundingLoss,
    change_loss,
    figures_of,
    ground,
    pooling_loss,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.composers.contract import Text, TrainingStages
    from mmgrad_explain.data.batches.batch import TripletBatch
    from mmgrad_explain.training.objective.options import ObjectiveOptions
    from mmgrad_explain.training.objective.supervision import Rows

_CHUNK = 32  # images that are encoded together with gradient checkpointing


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


@dataclass(frozen=True)
class _Forward:
    """Results of the forward pass of a batch.

    Attributes:
        query: Composed embeddings, ``(N, D)``, normalised.
        gallery: Embeddings of targets, then of references, ``(N + S, D)``, normalised.
        shift: What each text adds to the embedding, ``(N, D)``.
        change: Embedding of the target minus embedding of the reference, ``(N, D)``.
        maps: Signed maps of the supervised rows, ``(W, R, h, w)``; None without.
        attention: Logits of the composer's attention for the rows, ``(R, H, n)``, by term.
    """

    query: Tensor
    gallery: Tensor
    shift: Tensor
    change: Tensor
    maps: Tensor | None = None
    attention: dict[str, Tensor] = field(default_factory=dict)


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

    memory: Tensor | None
    memory_facts: Tensor | None
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
        self._can = capabilities(composer)
        self.options = options
        own = logit_scale_of(composer)
        self.logit_scale = None if own is not None else nn.Parameter(torch.tensor(2.66))
        stages = self._can.training_stages
        self.heads = LabelHeads.of(stages, label_classes or {}) if options.dense.weight else None
        self.register_buffer("memory", _empty_memory(options.retrieval.memory, stages))
        remembered = torch.full((options.retrieval.memory, 1 + facts), UNKNOWN, dtype=torch.int32)
        self.register_buffer("memory_facts", remembered if facts and options.retrieval.memory else None)
        wide = stages.embed_dim if stages is not None else 0
        self.fact_head = FactHead(wide, facts) if wide and facts and options.retrieval.facts else None
        grounding = options.grounding
        self.grounding = JoinedGroundingLoss(grounding.form, weights=grounding.map_weights, validate=False)
        self.attention_layers = {
            term: look_layer_of(composer, term) for term in ATTENTION_TERMS if getattr(grounding, term)
        }
        self._score = ensure_score(grounding.score)
        if grounding.supervises_maps:
            check_has_maps_of(composer, self._score.name)
        self._checkpointing = options.gradient_checkpointing and not recompute_activations(composer)

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
        stages = self._can.training_stages
        if dense_only and stages is not None:
            dense, figures = self._dense(stages, batch, self._encode(stages, batch))
            return Losses(self.options.dense.weight * dense, dense.new_zeros(()), dense.new_zeros(()), dense, figures)
        maps = schedule > 0 and any(self.grounding.weights.values())
        rows = draw_rows(batch, self.options.grounding, rng) if maps or self.attention_layers else no_rows()
        rows = rows.to(batch.references.device)
        features = None
        if stages is not None and (self._score.name == "shift" or not maps):
            features = self._encode(stages, batch)
            forward = self._run_in_stages(stages, batch, features, rows, maps=maps)
        else:
            forward = self._run_as_a_whole(batch, rows, maps=maps)
        retrieval, figures = self._retrieval(forward, batch)
        grounding, found = self._grounding(forward, batch, rows, schedule, maps=maps)
        figures.update(found)
        dense = retrieval.new_zeros(())
        if self.heads is not None and stages is not None and features is not None:
            dense, found = self._dense(stages, batch, features)
            figures.update(found)
        total = retrieval + grounding + self.options.dense.weight * dense
        return Losses(total, retrieval, grounding, dense, figures)

    def temperature(self) -> Tensor:
        """Return the factor of the similarities, at most 100."""
        scale = self.logit_scale if self.logit_scale is not None else logit_scale_of(self.composer)
        return scale.exp().clamp(max=100)  # type: ignore[union-attr]

    # ---------------------------------------------------------------------------------------------------------- losses

    def _retrieval(self, forward: _Forward, batch: TripletBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute InfoNCE and the weighted change loss, with their figures."""
        gallery, first = join_galleries(forward.gallery, len(forward.query))
        truth = first + torch.arange(len(forward.query), device=forward.query.device)
        cosine = forget_twins(forward.query @ gallery.T, truth, batch, len(forward.query))
        known = None
        if batch.facts is not None:
            known = join_galleries(batch.facts.gallery.float(), len(forward.query))[0].int()
        if self.memory is not None:
            stored = (forward.query @ self.memory.T).masked_fill(~self.memory.any(1), -torch.inf)  # not filled yet
            cosine = torch.cat([cosine, stored], dim=1)
        every = known if known is None or self.memory_facts is None else torch.cat([known, self.memory_facts])
        loss, figures = compare(
            cosine, self.temperature(), truth, batch, every, len(gallery), self.options.retrieval.across
        )
        if self.memory is not None and self.training:
            self._remember(gallery, known, self.memory)
        if self.fact_head is not None and batch.facts is not None:
            missed = self.fact_head(forward.gallery, forward.query, batch.facts)
            loss = loss + self.options.retrieval.facts * missed
            figures["facts"] = missed.detach()
        if self.options.retrieval.change:
            change = change_loss(forward.shift, forward.change, siblings(batch))
            loss = loss + self.options.retrieval.change * change
            figures["change"] = change.detach()
        return loss, figures

    def _remember(self, gallery: Tensor, known: Tensor | None, memory: Tensor) -> None:
        """Put a batch's gallery, and what is known of it, into the memory."""
        self.memory = torch.cat([gallery.detach(), memory])[: len(memory)]
        if self.memory_facts is not None:
            known = gallery.new_full((len(gallery), self.memory_facts.shape[1]), UNKNOWN) if known is None else known
            self.memory_facts = torch.cat([known.int(), self.memory_facts])[: len(memory)]

    def _grounding(
        self, forward: _Forward, batch: TripletBatch, rows: Rows, schedule: float, *, maps: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum the weighted terms on maps and on the composer's attention, with their figures."""
        total = forward.query.new_zeros(())
        figures: dict[str, Tensor] = {}
        if forward.maps is not None:
            total = schedule * ground(self.grounding, forward.maps, batch, rows)
            figures.update(figures_of(self.grounding))
        elif maps and count_processes() > 1:
            figures.update(self.grounding.join_without_maps(forward.query))
        for term in self.attention_layers if forward.attention or count_processes() > 1 else ():
            missed = self._missed_by_attention(term, forward, batch, rows)
            total = total + getattr(self.options.grounding, term) * missed
            figures[term] = missed.detach()
        return total, figures

    def _missed_by_attention(self, term: str, forward: _Forward, batch: TripletBatch, rows: Rows) -> Tensor:
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
        dense = self.heads(grid, batch.reference_labels, batch.target_labels, tags, self.options.dense.tags)
        return dense, {"dense": dense.detach()}

    # ---------------------------------------------------------------------------------------------------- forward pass

    def _run_in_stages(
        self, stages: TrainingStages, batch: TripletBatch, features: Tensor, rows: Rows, *, maps: bool
    ) -> _Forward:
        """Run a composer in stages: each image is encoded once, and retrieval and maps share its features."""
        count = len(batch.references)
        targets = count + torch.arange(len(batch.texts), device=features.device)
        with self._autocast(features.device, "bf16-composer"):
            text = stages.encode_text(batch.input_ids, batch.attention_mask)
            own = stages.embed(features)
        references = batch.picture
        supervised = torch.cat([references[rows.reference], targets[rows.target]])
        rest = _others(rows.reference, len(references))
        shifts = own.new_zeros(len(references), own.shape[1], dtype=torch.float32)
        drawn: Tensor | None = None
        attention: dict[str, Tensor] = {}
        if rows:
            drawn, shift, attention = self._compose(stages, features[supervised], _at(text, torch.cat(rows)), maps=maps)
            shifts = shifts.index_put((rows.reference,), shift[: len(rows.reference)])
        if len(rest):
            with self._autocast(features.device, "bf16-composer"):
                shift = stages.shift(features[references[rest]], _at(text, rest))
            shifts = shifts.index_put((rest,), shift.float())
        own = own.float()
        before = own[references]
        query, gallery = _unit(before + shifts, torch.cat([own[count:], own[:count]]))
        return _Forward(query, gallery, shifts, own[count:] - before, drawn, attention)

    def _compose(
        self, stages: TrainingStages, features: Tensor, text: Text, *, maps: bool
    ) -> tuple[Tensor | None, Tensor, dict[str, Tensor]]:
        """Compose images with their texts: maps, shifts, and the logits of the composer's own attention."""
        mmgrad = MultiModalGradAttention(self.composer)
        with mmgrad.capture() as record, self._autocast(features.device, "bf16-composer"), self._attention() as found:
            shift = stages.compose(features, text).shift
        shift = shift.float()
        score = (shift * shift.detach()).sum(-1)
        drawn = self._attend(mmgrad, score, record, 0) if maps else None
        return drawn, shift, {term: logits[0] for term, logits in found.items()}

    def _run_as_a_whole(self, batch: TripletBatch, rows: Rows, *, maps: bool) -> _Forward:
        """Run any composer by its ``forward``; retrieval and maps share its graph."""
        mmgrad = MultiModalGradAttention(self.composer)
        with mmgrad.capture() as record, self._autocast(batch.references.device), self._attention() as found:
            output = self.composer(**inputs_of(batch))
        check_parts(output, ("embedding", "target", "shift"), "to be trained")
        parts = convert_parts(output, Tensor.float)
        embedding, shift = parts.embedding, parts.shift
        target = cast("Tensor", parts.target)
        first = torch.arange(len(batch.references), device=embedding.device)
        first = (batch.picture[None] == first[:, None]).int().argmax(1)  # the first triplet of each image
        before = reference_alone(parts)
        query, gallery = _unit(embedding, torch.cat([target, before[first]]))
        drawn = None
        if rows and maps:
            if len(rows.target) and self._score.name == "shift":
                check_parts(output, ("target_shift",), "to be trained by maps of targets")
            with torch.autocast(embedding.device.type, enabled=False):
                score = self._score(output)
            sides = [self._attend(mmgrad, score, record, call)[:, own] for call, own in enumerate(rows) if len(own)]
            drawn = torch.cat(sides, dim=1)
        attention = {
            term: torch.cat([one[own] for one, own in zip(logits, rows, strict=False)])
            for term, logits in found.items()
            if rows
        }
        return _Forward(query, gallery, shift, target - before, drawn, attention)

    def _attend(self, mmgrad: MultiModalGradAttention, score: Tensor, record: Any, call: int) -> Tensor:
        weightings = list(self.options.grounding.weightings)
        return mmgrad.attend(score, record, create_graph=True, call=call, method=weightings, relu=False)

    def _encode(self, stages: TrainingStages, batch: TripletBatch) -> Tensor:
        """Return the features of the references, then of the targets, in float32."""
        pixels = torch.cat([batch.references, batch.targets])
        with self._autocast(pixels.device):
            if not (self._checkpointing and torch.is_grad_enabled()):
                return stages.encode_image(pixels).float()
            parts = [checkpoint(stages.encode_image, part, use_reentrant=False) for part in torch.split(pixels, _CHUNK)]
        return torch.cat(parts).float()

    def _autocast(self, device: torch.device, least: str = "bf16") -> torch.autocast:
        precision = self.options.precision
        return torch.autocast(device.type, torch.bfloat16, enabled=precision in {least, "bf16-composer"})

    @contextmanager
    def _attention(self) -> Iterator[dict[str, list[Tensor]]]:
        """Collect the logits of the composer's attention inside the block: ``(B, heads, tokens)`` a call, by term."""
        found: dict[str, list[Tensor]] = {term: [] for term in self.attention_layers}
        with ExitStack() as stack:
            for term, name in self.attention_layers.items():
                keep = found[term].append
                layer = self.composer.get_submodule(name)
                handle = layer.register_forward_hook(lambda _module, _inputs, output, keep=keep: keep(output))
                stack.callback(handle.remove)
            yield found


def _empty_memory(size: int, stages: TrainingStages | None) -> Tensor | None:
    if not size:
        return None
    if stages is None:
        raise InputError(
            "retrieval.memory: this composer does not say how long its embeddings are (see TrainingStages); set it to 0"
        )
    return torch.zeros(size, stages.embed_dim)


def _unit(query: Tensor, gallery: Tensor) -> tuple[Tensor, Tensor]:
    return F.normalize(query, dim=-1), F.normalize(gallery, dim=-1)


def _at(text: Text, rows: Tensor) -> Text:
    return tuple(part[rows] for part in text)


def _others(rows: Tensor, count: int) -> Tensor:
    """Return the indices below ``count`` that are not in ``rows``."""
    left = torch.ones(count, dtype=torch.bool, device=rows.device)
    left[rows] = False
    return left.nonzero()[:, 0]
