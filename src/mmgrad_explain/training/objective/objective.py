"""The loss of a step: retrieval, grounding of the model's own maps, and, if wanted, dense labels.

*Retrieval* is InfoNCE of the composed query against all targets and references of the batch, and of earlier batches
where they are remembered; the edits of one picture are one another's hard negatives. *Change* asks the text shift which
of the picture's own edits it is, by direction alone. *Grounding* takes the maps of the text shift from the same forward
graph, several weightings from one gradient, and asks them to lie where the edit is. *Pooling* asks the composer's own
attention pooling to look there as well. *Dense* reads labels off the explained feature grid with linear heads that
exist only in training.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mmgrad_explain.attention.mmgrad import MultiModalGradAttention
from mmgrad_explain.attention.scores.named import ensure_score
from mmgrad_explain.composers.stages import (
    check_score,
    check_trainable,
    logit_scale_of,
    look_layer_of,
    recompute_activations,
    stages_of,
)
from mmgrad_explain.data.batches.batch import Whole
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.held_out import inputs_of
from mmgrad_explain.training.objective.dense_labels import LabelHeads
from mmgrad_explain.training.objective.options import TARGET_ONLY
from mmgrad_explain.training.objective.terms import (
    JoinedGroundingLoss,
    context_of,
    figures_of,
    ground,
    masks_of,
    missed_by_pooling,
    mistaken_change,
    stays,
)
from mmgrad_explain.training.processes import joined_gallery, mean_over_all, processes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.composers.stages import Stages, Text
    from mmgrad_explain.data.batches.batch import TripletBatch
    from mmgrad_explain.training.objective.options import ObjectiveOptions

_CHUNK = 32  # pictures that are encoded together where their activations are not kept


@dataclass(frozen=True)
class Losses:
    """What a step comes to.

    Attributes:
        total: What is differentiated.
        retrieval: InfoNCE, and the weighted loss of the change.
        grounding: The weighted terms of the grounding loss, with the pooling term; 0 without.
        dense: The loss of the label heads before its weight; 0 without.
        figures: Numbers to log, detached, so that no device is waited for.
    """

    total: Tensor
    retrieval: Tensor
    grounding: Tensor
    dense: Tensor
    figures: dict[str, Tensor] = field(default_factory=dict)


class Rows(NamedTuple):
    """Which triplets get a supervised map: on the reference, and on the target; indices, in order."""

    reference: Tensor
    target: Tensor

    def __bool__(self) -> bool:
        """Whether there are any."""
        return len(self.reference) + len(self.target) > 0


@dataclass(frozen=True)
class _Seen:
    """Embeddings of a batch, and what was seen of the rows: signed maps ``(W, R, h, w)``, attention ``(R, H, n)``.

    The text shifts ``shift`` and what really changes, ``change``, are not normalised.
    """

    query: Tensor
    gallery: Tensor
    shift: Tensor
    change: Tensor
    maps: Tensor | None = None
    looks: dict[str, Tensor] = field(default_factory=dict)


class GroundedObjective(nn.Module):
    """A composer with the losses it is trained by.

    Args:
        composer: What is trained; see :mod:`mmgrad_explain.composers.stages` for what it must offer.
        options: See :class:`~mmgrad_explain.training.objective.options.ObjectiveOptions`.
        label_classes: Number of classes of each label map; read where the dense loss has a weight.

    Raises:
        InputError: If the composer cannot be trained in this way.
    """

    memory: Tensor | None
    _keys_to_ignore_on_save = None  # transformers asks for it where a checkpoint has no memory yet

    def __init__(
        self, composer: Composer, options: ObjectiveOptions, label_classes: Mapping[str, int] | None = None
    ) -> None:
        super().__init__()
        check_trainable(composer)
        self.composer = composer
        self.options = options
        own = logit_scale_of(composer)
        self.logit_scale = None if own is not None else nn.Parameter(torch.tensor(2.66))
        stages = stages_of(composer)
        self.heads = LabelHeads.of(stages, label_classes or {}) if options.dense.weight else None
        self.register_buffer("memory", _empty_memory(options.retrieval.memory, stages))
        grounding = options.grounding
        weights = {name: getattr(grounding, name) for name in ("contrast", "margin", "consistency")}
        self.grounding = JoinedGroundingLoss(
            grounding.form, weights={"form": grounding.weight, **weights}, validate=False
        )
        self.look_layers = {
            kind: look_layer_of(composer, kind) for kind in ("pooling", "context") if getattr(grounding, kind)
        }
        self._score = ensure_score(grounding.score)
        if any(self.grounding.weights.values()):
            check_score(composer, self._score.name)
        self._checkpointing = options.gradient_checkpointing and not recompute_activations(composer)

    def forward(
        self, batch: TripletBatch, rng: np.random.Generator, schedule: float = 1.0, *, dense_only: bool = False
    ) -> Losses:
        """The losses of a batch.

        Args:
            batch: ``S`` pictures, ``N`` triplets.
            rng: Chooses which maps are supervised, and on which side.
            schedule: Factor of the grounding loss's weights; at 0 no map is made.
            dense_only: Compute nothing but the loss of the label heads.
        """
        stages = stages_of(self.composer)
        if dense_only and stages is not None:
            dense, figures = self._dense(stages, batch, self._encode(stages, batch))
            return Losses(self.options.dense.weight * dense, dense.new_zeros(()), dense.new_zeros(()), dense, figures)
        maps = schedule > 0 and any(self.grounding.weights.values())
        rows = self.rows(batch, rng) if maps or self.look_layers else Rows(*torch.zeros(2, 0, dtype=torch.long))
        rows = Rows(*(part.to(batch.references.device) for part in rows))
        features = None
        if stages is not None and (self._score.name == "shift" or not maps):
            features = self._encode(stages, batch)
            seen = self._in_stages(stages, batch, features, rows, maps=maps)
        else:
            seen = self._as_a_whole(batch, rows, maps=maps)
        gallery, first = joined_gallery(seen.gallery, len(seen.query))
        truth = first + torch.arange(len(seen.query), device=seen.query.device)
        similar = seen.query @ gallery.T * self.temperature()
        if self.memory is not None:
            similar = torch.cat([similar, self._remembered(seen.query, gallery, self.memory)], dim=1)
        retrieval = mean_over_all(F.cross_entropy(similar, truth, reduction="none"))
        figures = {
            "retrieval": retrieval.detach(),
            "accuracy": mean_over_all((similar.detach().argmax(1) == truth).float()),
        }
        if self.options.retrieval.change:
            mistaken = mistaken_change(seen.shift, seen.change, batch.picture)
            retrieval = retrieval + self.options.retrieval.change * mistaken
            figures["change"] = mistaken.detach()
        grounding, dense = retrieval.new_zeros(()), retrieval.new_zeros(())
        if seen.maps is not None:
            grounding = schedule * ground(self.grounding, seen.maps, batch, rows)
            figures.update(figures_of(self.grounding))
        elif maps and processes() > 1:
            figures.update(self.grounding.take_part(seen.query))
        for kind in self.look_layers if seen.looks or processes() > 1 else ():
            missed = self._missed(kind, seen, batch, rows)
            grounding = grounding + getattr(self.options.grounding, kind) * missed
            figures[kind] = missed.detach()
        if self.heads is not None and stages is not None and features is not None:
            dense, found = self._dense(stages, batch, features)
            figures.update(found)
        total = retrieval + grounding + self.options.dense.weight * dense
        return Losses(total, retrieval, grounding, dense, figures)

    def temperature(self) -> Tensor:
        """What similarities are multiplied by, at most 100."""
        scale = self.logit_scale if self.logit_scale is not None else logit_scale_of(self.composer)
        return scale.exp().clamp(max=100)  # type: ignore[union-attr]

    def _missed(self, kind: str, seen: _Seen, batch: TripletBatch, rows: Rows) -> Tensor:
        """How much of the composer's attention of a kind misses its region; 0 where this process has no row."""
        if kind not in seen.looks:
            return mean_over_all(seen.query.new_zeros(0))
        masks = masks_of(batch, rows) if kind == "pooling" else context_of(batch, rows)
        return missed_by_pooling(seen.looks[kind], masks, self.options.grounding.pooling_heads)

    def _remembered(self, query: Tensor, gallery: Tensor, memory: Tensor) -> Tensor:
        """Similarities to the pictures of earlier batches, ``(N, memory)``; takes this batch's into the memory."""
        similar = query @ memory.T * self.temperature()
        if self.training:
            self.memory = torch.cat([gallery.detach(), memory])[: len(memory)]
        return similar.masked_fill(~memory.any(1), -torch.inf)  # where it is not filled yet

    def rows(self, batch: TripletBatch, rng: np.random.Generator) -> Rows:
        """Draw the maps that are supervised: every edit's where it is to be seen, some on the target as well.

        Of a part of a step's batch they are those that would be drawn of all of it.
        """
        options = self.options.grounding
        whole = batch.whole or Whole(batch.edits, batch.supervised.cpu(), stays(batch).cpu(), _all(batch.edits))
        on_target = torch.from_numpy(rng.random(len(whole.edits)) < options.target_shares(whole.edits))
        on_reference = torch.tensor([edit not in TARGET_ONLY for edit in whole.edits])
        if options.consistency:  # it compares the two sides
            on_target = on_target | whole.stays
        both = torch.cat([on_reference & whole.supervised, on_target & whole.supervised])
        if options.share < 1:
            places = both.nonzero()[:, 0]
            kept = rng.permutation(len(places))[: max(1, round(options.share * len(places)))]
            both = torch.isin(torch.arange(len(both)), places[torch.from_numpy(kept)])
        return Rows(*(side[whole.own].nonzero()[:, 0] for side in both.chunk(2)))

    # ------------------------------------------------------------------------------------------------ two ways forward

    def _in_stages(self, stages: Stages, batch: TripletBatch, features: Tensor, rows: Rows, *, maps: bool) -> _Seen:
        """Each picture is encoded once; the maps hang on the features, which are in the graph of both losses."""
        count = len(batch.references)
        targets = count + torch.arange(len(batch.texts), device=features.device)
        with self._autocast(features.device, "bf16-composer"):
            text = stages.encode_text(batch.input_ids, batch.attention_mask)
            own = stages.embed(features)
        references = batch.picture
        pictures = torch.cat([references[rows.reference], targets[rows.target]])
        rest = _others(rows.reference, len(references))
        shifts = own.new_zeros(len(references), own.shape[1], dtype=torch.float32)
        drawn: Tensor | None = None
        looks: dict[str, Tensor] = {}
        if rows:
            drawn, shift, looks = self._look(stages, features[pictures], _at(text, torch.cat(rows)), maps=maps)
            shifts = shifts.index_put((rows.reference,), shift[: len(rows.reference)])
        if len(rest):
            with self._autocast(features.device, "bf16-composer"):
                shift = stages.shift(features[references[rest]], _at(text, rest))
            shifts = shifts.index_put((rest,), shift.float())
        own = own.float()
        before = own[references]
        query, gallery = _unit(before + shifts, torch.cat([own[count:], own[:count]]))
        return _Seen(query, gallery, shifts, own[count:] - before, drawn, looks)

    def _look(
        self, stages: Stages, features: Tensor, text: Text, *, maps: bool
    ) -> tuple[Tensor | None, Tensor, dict[str, Tensor]]:
        """Compose some pictures with their texts: maps, shifts, and the logits of the composer's own attention."""
        mmgrad = MultiModalGradAttention(self.composer)
        with mmgrad.capture() as record, self._autocast(features.device, "bf16-composer"), self._looks() as looks:
            shift = stages.compose(features, text).shift
        shift = shift.float()
        score = (shift * shift.detach()).sum(-1)
        drawn = self._attend(mmgrad, score, record, 0) if maps else None
        return drawn, shift, {kind: logits[0] for kind, logits in looks.items()}

    def _as_a_whole(self, batch: TripletBatch, rows: Rows, *, maps: bool) -> _Seen:
        """Any composer, by its forward alone; the maps hang on the same graph as the retrieval loss."""
        mmgrad = MultiModalGradAttention(self.composer)
        with mmgrad.capture() as record, self._autocast(batch.references.device), self._looks() as looks:
            output = self.composer(**inputs_of(batch))
        embedding, target, shift = (getattr(output, name).float() for name in ("embedding", "target", "shift"))
        first = torch.arange(len(batch.references), device=embedding.device)
        first = (batch.picture[None] == first[:, None]).int().argmax(1)  # of each picture its first triplet
        before = embedding - shift if getattr(output, "alone", None) is None else output.alone.float()
        query, gallery = _unit(embedding, torch.cat([target, before[first]]))
        drawn = None
        if rows and maps:
            with torch.autocast(embedding.device.type, enabled=False):
                score = self._score(output)
            sides = [self._attend(mmgrad, score, record, call)[:, own] for call, own in enumerate(rows) if len(own)]
            drawn = torch.cat(sides, dim=1)
        seen = {
            kind: torch.cat([one[own] for one, own in zip(logits, rows, strict=False)])
            for kind, logits in looks.items()
            if rows
        }
        return _Seen(query, gallery, shift, target - before, drawn, seen)

    def _attend(self, mmgrad: MultiModalGradAttention, score: Tensor, record: Any, call: int) -> Tensor:
        weightings = list(self.options.grounding.weightings)
        return mmgrad.attend(score, record, create_graph=True, call=call, weighting=weightings, relu=False)

    def _encode(self, stages: Stages, batch: TripletBatch) -> Tensor:
        """The features of the references, then of the targets, float32."""
        pixels = torch.cat([batch.references, batch.targets])
        with self._autocast(pixels.device):
            if not (self._checkpointing and torch.is_grad_enabled()):
                return stages.encode_image(pixels).float()
            parts = [checkpoint(stages.encode_image, part, use_reentrant=False) for part in torch.split(pixels, _CHUNK)]
        return torch.cat(parts).float()

    def _dense(self, stages: Stages, batch: TripletBatch, features: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if self.heads is None:
            raise InputError("dense.weight is 0: there are no label heads to train alone")
        dense = self.heads(stages.feature_grid(features), batch.reference_labels, batch.target_labels)
        return dense, {"dense": dense.detach()}

    def _autocast(self, device: torch.device, least: str = "bf16") -> torch.autocast:
        precision = self.options.precision
        return torch.autocast(device.type, torch.bfloat16, enabled=precision in {least, "bf16-composer"})

    @contextmanager
    def _looks(self) -> Iterator[dict[str, list[Tensor]]]:
        """Collects the logits of the composer's attention in the block, one ``(B, heads, tokens)`` a call, by kind."""
        found: dict[str, list[Tensor]] = {kind: [] for kind in self.look_layers}
        with ExitStack() as stack:
            for kind, name in self.look_layers.items():
                keep = found[kind].append
                layer = self.composer.get_submodule(name)
                handle = layer.register_forward_hook(lambda _module, _inputs, output, keep=keep: keep(output))
                stack.callback(handle.remove)
            yield found


def _empty_memory(size: int, stages: Stages | None) -> Tensor | None:
    if not size:
        return None
    if stages is None:
        raise InputError(
            "retrieval.memory: this composer does not say how long its embeddings are (see Stages); set it to 0"
        )
    return torch.zeros(size, stages.embed_dim)


def _unit(query: Tensor, gallery: Tensor) -> tuple[Tensor, Tensor]:
    return F.normalize(query, dim=-1), F.normalize(gallery, dim=-1)


def _at(text: Text, rows: Tensor) -> Text:
    return tuple(part[rows] for part in text)


def _all(items: Sequence[Any]) -> Tensor:
    return torch.arange(len(items))


def _others(rows: Tensor, count: int) -> Tensor:
    """The indices below ``count`` that are not among ``rows``."""
    left = torch.ones(count, dtype=torch.bool, device=rows.device)
    left[rows] = False
    return left.nonzero()[:, 0]
