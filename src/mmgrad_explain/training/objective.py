"""The loss of a step: retrieval, grounding of the model's own maps, and, if wanted, dense labels.

*Retrieval* is InfoNCE of the composed query against all targets and references of the batch; the edits of one picture
are one another's hard negatives. *Grounding* takes the maps of the text shift from the same forward graph, several
weightings from one gradient, and asks them to lie where the edit is. *Pooling* asks the composer's own attention
pooling to look there as well. *Dense* reads labels off the explained feature grid with linear heads that exist only in
training.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mmgrad_explain.attention import MultiModalGradAttention, ensure_score
from mmgrad_explain.errors import InputError
from mmgrad_explain.grounding import AttentionGroundingLoss
from mmgrad_explain.training.dense import LabelHeads
from mmgrad_explain.training.stages import check_trainable, logit_scale_of, stages_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.training.batches import TripletBatch
    from mmgrad_explain.training.objective_options import ObjectiveOptions
    from mmgrad_explain.training.stages import Stages, Text

_FLOOR = 1e-4  # of a mask, so that no place is worth infinitely little
_CHUNK = 32  # pictures that are encoded together where their activations are not kept


@dataclass(frozen=True)
class Losses:
    """What a step comes to.

    Attributes:
        total: What is differentiated.
        retrieval: InfoNCE.
        grounding: The weighted terms of the grounding loss, with the pooling term; 0 without.
        dense: The loss of the label heads before its weight; 0 without.
        figures: Numbers to log, detached, so that no device is waited for.
    """

    total: Tensor
    retrieval: Tensor
    grounding: Tensor
    dense: Tensor
    figures: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class _Seen:
    """Embeddings of a batch, and signed maps ``(W, G, h, w)`` of some of its triplets.

    ``pooling`` are the attention logits of the same triplets, ``(G, heads, tokens)``.
    """

    query: Tensor
    gallery: Tensor
    maps: Tensor | None = None
    paired: Tensor | None = None
    features: Tensor | None = None
    pooling: Tensor | None = None


class GroundedObjective(nn.Module):
    """A composer with the losses it is trained by.

    Args:
        composer: What is trained; see :mod:`mmgrad_explain.training.stages` for what it must offer.
        options: See :class:`~mmgrad_explain.training.objective_options.ObjectiveOptions`.
        label_classes: Number of classes of each label map; read where the dense loss has a weight.

    Raises:
        InputError: If the composer cannot be trained in this way.
    """

    def __init__(
        self, composer: Composer, options: ObjectiveOptions, label_classes: Mapping[str, int] | None = None
    ) -> None:
        super().__init__()
        check_trainable(composer)
        if options.grounding.pooling and composer.pooling_layer is None:
            raise InputError("grounding.pooling: this composer has no attention pooling to supervise; set it to 0")
        self.composer = composer
        self.options = options
        own = logit_scale_of(composer)
        self.logit_scale = None if own is not None else nn.Parameter(torch.tensor(2.66))
        stages = stages_of(composer)
        self.heads = LabelHeads.of(stages, label_classes or {}) if options.dense.weight else None
        grounding = options.grounding
        weights = {name: getattr(grounding, name) for name in ("contrast", "margin", "consistency")}
        self.grounding = AttentionGroundingLoss(
            grounding.form, weights={"form": grounding.weight, **weights}, validate=False
        )
        self._score = ensure_score(grounding.score)
        self._fast = grounding.score == "shift"
        self._checkpointing = options.gradient_checkpointing
        if self._checkpointing and hasattr(composer, "gradient_checkpointing_enable"):
            composer.gradient_checkpointing_enable()  # type: ignore[operator]
            self._checkpointing = False

    def forward(
        self, batch: TripletBatch, rng: np.random.Generator, schedule: float = 1.0, *, dense_only: bool = False
    ) -> Losses:
        """The losses of a batch.

        Args:
            batch: ``S`` pictures, ``N`` triplets.
            rng: Chooses which maps are supervised, and on which side.
            schedule: Factor of the grounding loss's weights; at 0 no map is made.
            dense_only: Train the encoder on labels and nothing else.
        """
        if dense_only:
            return self._labels_alone(batch)
        options = self.options.grounding
        on_target = torch.from_numpy(rng.random(len(batch.edits)) < options.target_shares(batch.edits))
        wanted = schedule > 0 and any(self.grounding.weights.values())
        supervised = wanted or options.pooling > 0
        rows = _drawn(batch, options.share, rng) if supervised else torch.zeros(0, dtype=torch.long)
        stages = stages_of(self.composer)
        if stages is not None and (self._fast or not wanted):
            seen = self._in_stages(stages, batch, rows, on_target, maps=wanted)
        else:
            seen = self._as_a_whole(batch, rows, on_target)
        truth = torch.arange(len(seen.query), device=seen.query.device)
        logits = seen.query @ seen.gallery.T * self.temperature()
        retrieval = F.cross_entropy(logits, truth)
        figures = {"retrieval": retrieval.detach(), "accuracy": (logits.detach().argmax(1) == truth).float().mean()}
        total, grounding, dense = retrieval, retrieval.new_zeros(()), retrieval.new_zeros(())
        if seen.maps is not None:
            grounding = self._ground(seen.maps, seen.paired, batch, rows, on_target)
            total = total + schedule * grounding
            figures.update(self._grounding_figures())
        if seen.pooling is not None:
            masks, _ = _supervision(batch, rows, on_target)
            pooling = pooling_loss(seen.pooling, masks, batch.supervised[rows])
            grounding = grounding + options.pooling * pooling
            total = total + options.pooling * pooling
            figures["pooling"] = pooling.detach()
        if self.heads is not None and seen.features is not None and stages is not None:
            dense = self.heads(stages.feature_grid(seen.features), batch.reference_labels, batch.target_labels)
            total = total + self.options.dense.weight * dense
            figures["dense"] = dense.detach()
        return Losses(total, retrieval, grounding, dense, figures)

    def _labels_alone(self, batch: TripletBatch) -> Losses:
        stages = stages_of(self.composer)
        if self.heads is None or stages is None:
            raise InputError("dense.first: there are no labels to train on first; set dense.weight")
        features = self._encode(stages, torch.cat([batch.references, batch.targets]))
        dense = self.heads(stages.feature_grid(features), batch.reference_labels, batch.target_labels)
        zero = dense.new_zeros(())
        return Losses(self.options.dense.weight * dense, zero, zero, dense, {"dense": dense.detach()})

    def temperature(self) -> Tensor:
        """What similarities are multiplied by, at most 100."""
        scale = self.logit_scale if self.logit_scale is not None else logit_scale_of(self.composer)
        return scale.exp().clamp(max=100)  # type: ignore[union-attr]

    # ------------------------------------------------------------------------------------------------ two ways forward

    def _in_stages(self, stages: Stages, batch: TripletBatch, rows: Tensor, on_target: Tensor, *, maps: bool) -> _Seen:
        """Each picture is encoded once; the maps hang on the features, which are in the graph of both losses."""
        count = len(batch.references)
        features = self._encode(stages, torch.cat([batch.references, batch.targets]))
        with self._autocast(features.device):
            text = stages.encode_text(batch.input_ids, batch.attention_mask)
            own = stages.embed(features).float()
        references, targets = batch.picture, count + torch.arange(len(batch.texts), device=features.device)
        if not len(rows):
            query = own[references] + self._shift(stages, features[references], text)
            return _Seen(*_unit(query, torch.cat([own[count:], own[:count]])), features=features)
        rows, on_target = rows.to(features.device), on_target.to(features.device)
        pictures = torch.where(on_target, targets, references)[rows]
        both = self.options.grounding.consistency > 0
        if both:
            pictures = torch.cat([pictures, torch.where(on_target, references, targets)[rows]])
        composed = rows.repeat(2) if both else rows
        grids, shift, pooling = self._maps_in_stages(stages, features[pictures], _at(text, composed), maps=maps)
        here = pictures == references[composed]  # the shift of a reference serves the query, too
        done, rest = composed[here], _others(composed[here], len(references))
        shifts = features.new_zeros(len(references), shift.shape[1]).index_put((done,), shift[here].to(features.dtype))
        if len(rest):
            shifts = shifts.index_put((rest,), self._shift(stages, features[references[rest]], _at(text, rest)))
        query, gallery = _unit(own[references] + shifts, torch.cat([own[count:], own[:count]]))
        pooling = None if pooling is None else pooling[: len(rows)]
        if grids is None:
            return _Seen(query, gallery, features=features, pooling=pooling)
        first, second = (grids[:, : len(rows)], grids[:, len(rows) :]) if both else (grids, None)
        return _Seen(query, gallery, first, second, features, pooling)

    def _maps_in_stages(
        self, stages: Stages, features: Tensor, text: Text, *, maps: bool
    ) -> tuple[Tensor | None, Tensor, Tensor | None]:
        """Maps (None unless wanted), shift, and the pooling's logits (None unless they have a weight)."""
        looked: list[Tensor] = []
        with ExitStack() as stack:
            if self.options.grounding.pooling and self.composer.pooling_layer is not None:
                layer = self.composer.get_submodule(self.composer.pooling_layer)
                handle = layer.register_forward_hook(lambda _layer, _inputs, logits: looked.append(logits))
                stack.callback(handle.remove)
            if not maps:
                return None, self._shift(stages, features, text), looked[0] if looked else None
            mmgrad = MultiModalGradAttention(self.composer)
            record = stack.enter_context(mmgrad.capture())
            stack.enter_context(self._autocast(features.device))
            _, shift = stages.compose(features, text)
        shift = shift.float()
        score = (shift * shift.detach()).sum(-1)
        return self._attend(mmgrad, score, record, 0), shift, looked[0] if looked else None

    def _shift(self, stages: Stages, features: Tensor, text: Text) -> Tensor:
        with self._autocast(features.device):
            return stages.shift(features, text).float()

    def _as_a_whole(self, batch: TripletBatch, rows: Tensor, on_target: Tensor) -> _Seen:
        """Any composer, by its forward alone; the maps hang on the same graph as the retrieval loss."""
        tensors = {"pixel_values": batch.references[batch.picture], "input_ids": batch.input_ids,
                   "attention_mask": batch.attention_mask, "target_pixel_values": batch.targets}  # fmt: skip
        mmgrad = MultiModalGradAttention(self.composer)
        with mmgrad.capture() as record, self._autocast(batch.references.device):
            output = self.composer(**tensors)
        embedding, target, shift = (getattr(output, name).float() for name in ("embedding", "target", "shift"))
        first = torch.arange(len(batch.references), device=embedding.device)
        first = (batch.picture[None] == first[:, None]).int().argmax(1)  # of each picture its first triplet
        query, gallery = _unit(embedding, torch.cat([target, (embedding - shift)[first]]))
        if not len(rows):
            return _Seen(query, gallery)
        with torch.autocast(embedding.device.type, enabled=False):
            score = self._score(output)
        rows, on_target = rows.to(embedding.device), on_target.to(embedding.device)
        both = self.options.grounding.consistency > 0
        sides = [self._attend(mmgrad, score, record, call) for call in ((0, 1) if both or on_target.any() else (0,))]
        if len(sides) == 1:
            return _Seen(query, gallery, sides[0][:, rows])
        chosen = on_target[None, :, None, None]
        maps, paired = torch.where(chosen, sides[1], sides[0]), torch.where(chosen, sides[0], sides[1])
        return _Seen(query, gallery, maps[:, rows], paired[:, rows] if both else None)

    def _attend(self, mmgrad: MultiModalGradAttention, score: Tensor, record: Any, call: int) -> Tensor:
        weightings = list(self.options.grounding.weightings)
        return mmgrad.attend(score, record, create_graph=True, call=call, weighting=weightings, relu=False)

    def _encode(self, stages: Stages, pixels: Tensor) -> Tensor:
        with self._autocast(pixels.device):
            if not (self._checkpointing and torch.is_grad_enabled()):
                return stages.encode_image(pixels).float()
            parts = [checkpoint(stages.encode_image, part, use_reentrant=False) for part in torch.split(pixels, _CHUNK)]
        return torch.cat(parts).float()

    def _autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=self.options.precision == "bf16")

    # -------------------------------------------------------------------------------------------------- grounding loss

    def _ground(
        self, maps: Tensor, paired: Tensor | None, batch: TripletBatch, rows: Tensor, on_target: Tensor
    ) -> Tensor:
        rows, on_target = rows.to(maps.device), on_target.to(maps.device)
        masks, there = _supervision(batch, rows, on_target)
        partner = batch.partner[rows]
        others = batch.reference_masks[partner.clamp(min=0)] & (partner >= 0)[:, None, None]
        others &= ~there[:, None, None]  # the partner's place is known in the reference alone
        options = self.options.grounding
        return self.grounding(  # type: ignore[no-any-return]
            maps,
            masks,
            supervised=batch.supervised[rows],
            other_masks=others if options.contrast else None,
            paired_maps=paired,
            paired_valid=None if paired is None else _stays(batch)[rows],
        )

    def _grounding_figures(self) -> dict[str, Tensor]:
        report = self.grounding.report
        return {} if report is None else {**report.terms, "dead": report.dead}


def pooling_loss(logits: Tensor, masks: Tensor, supervised: Tensor) -> Tensor:
    """How little of an attention pooling's weight lies in the mask: ``-log sum_x softmax(l)(x) m(x)``.

    The first half of the heads is asked; the others are free to look at what else a sentence speaks of.

    Args:
        logits: ``(G, heads, tokens)``, tokens on a square grid.
        masks: ``(G, H, W)``; brought to the grid by their area, the fullest cell of each counts as 1.
        supervised: ``(G,)`` bool.

    Returns:
        The mean over supervised samples; 0 without any.
    """
    side = math.isqrt(logits.shape[2])
    inside = F.adaptive_avg_pool2d(masks[:, None].float(), side).flatten(1)
    inside = inside / inside.amax(1, keepdim=True).clamp(min=torch.finfo(inside.dtype).eps)
    asked = logits[:, : max(1, logits.shape[1] // 2)].float().log_softmax(-1)
    each = -torch.logsumexp(asked + (inside + _FLOOR).log()[:, None], -1).mean(1)
    return (each * supervised).sum() / supervised.sum().clamp(min=1)


def _supervision(batch: TripletBatch, rows: Tensor, on_target: Tensor) -> tuple[Tensor, Tensor]:
    """The masks of chosen triplets, each on its side, and which side that is."""
    there = on_target.to(rows.device)[rows]
    return torch.where(there[:, None, None], batch.target_masks[rows], batch.reference_masks[rows]), there


def _drawn(batch: TripletBatch, share: float, rng: np.random.Generator) -> Tensor:
    """Which triplets get a map: a share of all, in order."""
    count = len(batch.texts)
    chosen = max(1, round(share * count))
    return torch.from_numpy(rng.permutation(count)[:chosen]).sort().values if chosen < count else torch.arange(count)


def _stays(batch: TripletBatch) -> Tensor:
    """Whose object is in the same place in both pictures, ``(N,)`` bool: intersection over union above one half."""
    both = (batch.reference_masks & batch.target_masks).sum((1, 2))
    either = (batch.reference_masks | batch.target_masks).sum((1, 2))
    moved = torch.tensor([edit in {"add", "remove"} for edit in batch.edits], device=both.device)
    return (2 * both > either) & batch.supervised & ~moved


def _unit(query: Tensor, gallery: Tensor) -> tuple[Tensor, Tensor]:
    return F.normalize(query.float(), dim=-1), F.normalize(gallery.float(), dim=-1)


def _at(text: Text, rows: Tensor) -> Text:
    return tuple(part[rows] for part in text)


def _others(rows: Tensor, count: int) -> Tensor:
    """The indices below ``count`` that are not among ``rows``."""
    left = torch.ones(count, dtype=torch.bool, device=rows.device)
    left[rows] = False
    return left.nonzero()[:, 0]
