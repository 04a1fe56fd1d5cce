"""The grounding loss as a module: maps and targets of a batch in, a loss out, and a report of what went into it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmgrad_explain.errors import InputError, did_you_mean
from mmgrad_explain.grounding.forms import Form, ensure_form
from mmgrad_explain.grounding.maps import dead_maps, full
from mmgrad_explain.grounding.targets import GroundingTargets, grounding_targets, supervised_among
from mmgrad_explain.grounding.terms import consistency_loss, contrast_loss, foreign_regions, margin_loss

DEFAULT_WEIGHTS = {"form": 2.0, "contrast": 0.0, "margin": 0.0, "consistency": 0.0}
"""Weight of each term, to be added to a retrieval loss of InfoNCE kind. Chosen by ``benchmarks/loss_ablation.py``."""

REDUCTIONS = ("mean", "sum", "none")


@dataclass(frozen=True)
class GroundingReport:
    """What went into one call of :class:`AttentionGroundingLoss`. Tensors, detached, so that no device is waited for.

    Attributes:
        terms: Mean of each term that was computed, before its weight, over the samples it counts; the form under its
            own name.
        counts: How many samples each of these means is over.
        dead: Share of dead maps among the supervised ones; of several weightings the mean share.
        supervised: How many samples have a mask.
        samples: How many samples there are.
    """

    terms: Mapping[str, Tensor]
    counts: Mapping[str, Tensor]
    dead: Tensor
    supervised: Tensor
    samples: int

    def figures(self) -> dict[str, float]:
        """Numbers to log: each term by name, ``dead`` and ``supervised``, the latter as a share of the samples."""
        shares = {"dead": float(self.dead), "supervised": float(self.supervised) / max(1, self.samples)}
        return {**{name: float(value) for name, value in self.terms.items()}, **shares}


class AttentionGroundingLoss(nn.Module):
    """Make maps lie where they should.

    ``weights["form"] * form + weights["contrast"] * contrast + ...``, each term a mean over the samples that it is
    defined for. It has no parameters. Source of the idea: Udhayanan et al., arXiv 2308.16649, section 3.3; the terms
    are documented one by one in :mod:`~mmgrad_explain.grounding.forms` and :mod:`~mmgrad_explain.grounding.terms`.

        loss_of = AttentionGroundingLoss()
        maps = mmgrad.attend(score, seen, create_graph=True, relu=False)
        loss = retrieval + loss_of(maps, masks)
        log(loss_of.report.figures())

    Attributes:
        weights: Weight of each term, to be changed between calls by a schedule. A weight of 0 spends no time.
        report: The figures of the last call; None before the first.
    """

    def __init__(
        self,
        form: str | Form = "dice",
        *,
        weights: Mapping[str, float] | None = None,
        reduction: str = "mean",
        margin: float = 0.5,
        validate: bool = True,
    ) -> None:
        """Choose what is asked of the maps.

        Args:
            form: How far a map is from its mask: ``"dice"``, ``"bce"``, ``"softmax"``, ``"softplus"``, ``"kl"``, or a
                callable of maps and masks, both ``(B, h, w)``, giving ``(B,)``.
            weights: Weights of ``"form"``, ``"contrast"``, ``"margin"``, ``"consistency"``; those that are not named
                keep :data:`DEFAULT_WEIGHTS`.
            reduction: ``"mean"``: every term over the samples that it is defined for, then the weighted sum.
                ``"sum"``: over all samples. ``"none"``: one value a sample.
            margin: Of the margin term, as a share of a map's maximum.
            validate: Look at the masks' values in every call; on an accelerator this waits for it.

        Raises:
            TypeError: ``form`` is neither a name nor a callable.
            InputError: an unknown form, term or reduction, or a weight that is negative or not finite.
        """
        super().__init__()
        name, self._form = ensure_form(form)
        self.form_name = "form" if name in DEFAULT_WEIGHTS else name
        unknown = [name for name in weights or {} if name not in DEFAULT_WEIGHTS]
        if unknown:
            hint = did_you_mean(unknown[0], DEFAULT_WEIGHTS)
            raise InputError(f"weights: there is no term {unknown[0]!r}; {hint}Known: {', '.join(DEFAULT_WEIGHTS)}")
        self.weights = {**DEFAULT_WEIGHTS, **(weights or {})}
        for term, value in self.weights.items():
            if not 0 <= value < math.inf:
                raise InputError(f"weights: {term} must be a number of at least 0, got {value}")
        if reduction not in REDUCTIONS:
            hint = did_you_mean(str(reduction), REDUCTIONS)
            raise InputError(f"reduction: there is no {reduction!r}; {hint}Known: {', '.join(REDUCTIONS)}")
        if not 0 < margin <= 1:
            raise InputError(f"margin must be above 0 and at most 1, the map's maximum; got {margin}")
        self.reduction = reduction
        self.margin = margin
        self.validate = validate
        self.report: GroundingReport | None = None

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        weights = ", ".join(f"{name}={value:g}" for name, value in self.weights.items() if value)
        return f"{self.form_name}, {weights or 'no weight'}, reduction={self.reduction!r}"

    def forward(
        self,
        maps: Tensor,
        targets: GroundingTargets | Mapping[str, Any] | Tensor | Sequence[Tensor | None],
        *,
        supervised: Tensor | Sequence[bool] | None = None,
        other_masks: Tensor | Sequence[Tensor | None] | None = None,
        paired_maps: Tensor | None = None,
        paired_valid: Tensor | None = None,
        excluded: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch of maps.

        A sample without supervision has a loss of exactly 0, gives a gradient of exactly 0, and is counted in no mean.
        With no supervised sample at all the loss is 0 and can still be differentiated.

        Args:
            maps: ``(B, h, w)`` from ``attend(..., create_graph=True)``, signed (``relu=False``, so that dead maps can
                be revived) or not; or ``(W, B, h, w)`` of several weightings, whose losses are averaged.
            targets: Masks ``(B, H, W)`` of any resolution; a list of masks and None; a mapping with the arguments of
                :func:`~.targets.grounding_targets`, such as ``{"boxes": ..., "units": "pixel", "image_size": ...}``; or
                what :func:`~.targets.grounding_targets` gave.
            supervised: ``(B,)`` bool; False takes a sample out.
            other_masks: For the contrast term, where the maps of other texts of the same picture should lie:
                ``(B, H, W)``, ``(B, K, H, W)``, or a list with None. See :func:`~.targets.partner_masks`.
            paired_maps: For the consistency term, the maps of the triplets' other picture, like ``maps``.
            paired_valid: ``(B,)`` bool, for which samples the pair should agree, supervised or not; None: the
                supervised ones. Leave out objects that move.
            excluded: For the consistency term, cells to leave out, ``(B, h, w)`` in [0, 1].

        Returns:
            A float32 number (float64 for float64 maps), or ``(B,)`` with ``reduction="none"``.

        Raises:
            TypeError: the maps are no floating tensor.
            InputError: shapes do not fit, or masks hold NaN or values outside [0, 1].
        """
        if not isinstance(maps, Tensor) or not maps.is_floating_point():
            kind = str(maps.dtype) if isinstance(maps, Tensor) else type(maps).__name__
            raise TypeError(f"maps must be a floating tensor (B, h, w), not {kind}")
        if maps.dim() not in {3, 4}:
            raise InputError(f"maps must be (B, h, w), or (W, B, h, w) of several weightings; got {tuple(maps.shape)}")
        with torch.autocast(maps.device.type, enabled=False):
            every = full(maps if maps.dim() == 4 else maps[None])
            masks, known = self._targets(every, targets, supervised)
            values: dict[str, Tensor] = {}
            counted: dict[str, Tensor] = {}
            if self.weights["form"]:
                counted[self.form_name] = known
                values[self.form_name] = _each(self._form, every, known, masks)
            if self.weights["contrast"] and other_masks is not None:
                others = self._others(every, other_masks)
                counted["contrast"] = known & (foreign_regions(masks, others).amax((1, 2)) > 0)
                values["contrast"] = _each(contrast_loss, every, counted["contrast"], masks, others)
            if self.weights["margin"]:
                counted["margin"] = known
                values["margin"] = _each(margin_loss, every, known, masks, self.margin)
            if self.weights["consistency"] and paired_maps is not None:
                counted["consistency"] = self._pairs(every, paired_maps, known, paired_valid, excluded)
                values["consistency"] = _consistency(every, paired_maps, counted["consistency"], excluded)
            means = {name: self.average(each, counted[name]) for name, each in values.items()}
            dead = torch.stack([dead_maps(one) for one in every]).to(every.dtype).mean(0)
            self.report = GroundingReport(
                terms={name: mean.detach() for name, mean in means.items()},
                counts={name: each.sum() for name, each in counted.items()},
                dead=self.average(torch.where(known, dead, 0), known),
                supervised=known.sum(),
                samples=len(known),
            )
            return self._reduce(every, values, means)

    def average(self, values: Tensor, counted: Tensor) -> Tensor:
        """The mean of a term over the samples that it counts, 0 where there are none; the place to change what is one.

        Args:
            values: ``(B,)``, 0 where ``counted`` is false.
            counted: ``(B,)`` bool.
        """
        return values.sum() / counted.sum().clamp(min=1)

    def _targets(self, maps: Tensor, targets: Any, supervised: Tensor | Sequence[bool] | None) -> GroundingTargets:
        grid = (maps.shape[2], maps.shape[3])
        if not isinstance(targets, GroundingTargets):
            given = targets if isinstance(targets, Mapping) else {"masks": targets}
            targets = grounding_targets(grid, **{"device": maps.device, "validate": self.validate, **given})
        masks, known = targets
        if masks.shape != maps.shape[1:]:
            raise InputError(
                f"targets are for maps of shape {tuple(masks.shape)}, the maps are {tuple(maps.shape[1:])}"
            )
        known = supervised_among(known.to(maps.device), supervised)
        return GroundingTargets(masks.to(maps), known)

    def _others(self, maps: Tensor, other_masks: Tensor | Sequence[Tensor | None]) -> Tensor:
        grid, count = (maps.shape[2], maps.shape[3]), maps.shape[1]
        partners = 1
        if isinstance(other_masks, Tensor) and other_masks.dim() == 4:
            partners = other_masks.shape[1]
            other_masks = other_masks.flatten(0, 1)
        laid = grounding_targets(grid, masks=other_masks, device=maps.device, validate=self.validate).masks
        if len(laid) != count * partners:
            raise InputError(f"other_masks must be of {count} samples like the maps, got {len(laid) // partners}")
        return laid.to(maps).view(count, partners, *grid)

    def _pairs(
        self, maps: Tensor, paired: Tensor, known: Tensor, valid: Tensor | None, excluded: Tensor | None
    ) -> Tensor:
        if paired.shape != maps.shape and paired.shape != maps.shape[1:]:
            raise InputError(f"paired_maps must be like maps, {tuple(maps.shape[1:])}, got {tuple(paired.shape)}")
        if excluded is not None and excluded.shape != maps.shape[1:]:
            raise InputError(f"excluded must be {tuple(maps.shape[1:])}, like the maps, got {tuple(excluded.shape)}")
        if valid is None:
            return known
        if valid.shape != known.shape or valid.dtype != torch.bool:
            raise InputError(f"paired_valid must be ({len(known)},) bool, got {tuple(valid.shape)} {valid.dtype}")
        return valid.to(maps.device)

    def _reduce(self, maps: Tensor, values: dict[str, Tensor], means: dict[str, Tensor]) -> Tensor:
        none = torch.zeros_like(maps, dtype=torch.bool)
        total = torch.where(none, maps, 0).sum((0, 2, 3))  # 0, connected to the maps
        weights = {name: self.weights["form" if name == self.form_name else name] for name in values}
        if self.reduction == "mean":
            return total.sum() + sum(weights[name] * mean for name, mean in means.items())
        for name, each in values.items():
            total = total + weights[name] * each
        return total.sum() if self.reduction == "sum" else total


def _each(term: Any, maps: Tensor, counted: Tensor, *others: Any) -> Tensor:
    """A term's values averaged over the weightings, ``(B,)``; exactly 0, with no gradient, where it does not count."""
    here = counted[:, None, None]
    values = torch.stack([full(term(torch.where(here, one, 0), *others)) for one in maps]).mean(0)
    return torch.where(counted, values, 0)


def _consistency(maps: Tensor, paired: Tensor, counted: Tensor, excluded: Tensor | None) -> Tensor:
    here = counted[:, None, None]
    pairs = torch.where(here, full(paired).to(maps).expand_as(maps), 0)
    clean = torch.where(here, maps, 0)
    values = torch.stack([consistency_loss(a, b, excluded) for a, b in zip(clean, pairs, strict=True)]).mean(0)
    return torch.where(counted, values, 0)
