"""The grounding loss as a module: it takes the maps and targets of a batch and returns a loss, with a report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmgrad_explain._system.choices import check_choice
from mmgrad_explain.errors import InputError
from mmgrad_explain.grounding.forms import FORMS, Form, ensure_form
from mmgrad_explain.grounding.maps import dead_maps, in_float32
from mmgrad_explain.grounding.masking import MaskedScores, find_scored, hidden_loss, shown_loss
from mmgrad_explain.grounding.self_supervision import PairedMaps, selfeq_loss, separation_loss
from mmgrad_explain.grounding.targets import GroundingTargets, find_supervised, grounding_targets
from mmgrad_explain.grounding.terms import consistency_loss, contrast_loss, find_foreign_regions, margin_loss

PAIRED_TERMS = {"selfeq": selfeq_loss, "mirror": selfeq_loss, "texts": separation_loss}
"""The terms that compare maps with each other and need no mask, each with its loss: of a text and its paraphrase, of an
image and its mirrored image, of two texts about one image."""

MASKED_TERMS = {"hidden": hidden_loss, "shown": shown_loss}
"""The terms on the scores of images that are masked by their maps; they need no mask of the data either."""

DEFAULT_WEIGHTS = {
    "form": 2.0, "contrast": 0.0, "margin": 0.0, "consistency": 0.0,
    **dict.fromkeys((*PAIRED_TERMS, *MASKED_TERMS), 0.0),
}  # fmt: skip
"""Weight of each term beside an InfoNCE loss, chosen by ``benchmarks/loss_ablation.py``. The list of the terms."""

FIGURES = (*FORMS, *(term for term in DEFAULT_WEIGHTS if term != "form"), "dead")
"""Names of the figures that a training logs of the loss: the form under its own name, the other terms, dead maps."""

REDUCTIONS = ("mean", "sum", "none")


@dataclass(frozen=True)
class GroundingReport:
    """The figures of one call of :class:`AttentionGroundingLoss`: detached tensors, so that no device is waited for.

    Attributes:
        terms: Mean of each computed term over the samples that it is defined for, before its weight. The form has its
            own name here.
        counts: Number of samples in each of these means.
        dead: Share of dead maps among those that a term without masks looks at or that are supervised; with several
            weightings, the mean of their shares.
        supervised: Number of samples with a mask.
        samples: Number of all samples.
    """

    terms: Mapping[str, Tensor]
    counts: Mapping[str, Tensor]
    dead: Tensor
    supervised: Tensor
    samples: int

    def figures(self) -> dict[str, float]:
        """Return numbers to log: each term, ``dead``, and ``supervised`` as a share of the samples."""
        shares = {"dead": float(self.dead), "supervised": float(self.supervised) / max(1, self.samples)}
        return {**{name: float(value) for name, value in self.terms.items()}, **shares}


class AttentionGroundingLoss(nn.Module):
    """A loss that is low where maps are bright inside their masks.

    ``weights["form"] * form + weights["contrast"] * contrast + ...``, each term a mean over the samples that it is
    defined for. It has no parameters. Source of the idea: Udhayanan et al., arXiv 2308.16649, section 3.3. The modules
    :mod:`~mmgrad_explain.grounding.forms` and :mod:`~mmgrad_explain.grounding.terms` document each term;
    :mod:`~mmgrad_explain.grounding.self_supervision` and :mod:`~mmgrad_explain.grounding.masking` those that need no
    masks.

        loss_of = AttentionGroundingLoss()
        maps = mmgrad.attend(score, seen, create_graph=True, relu=False)
        loss = retrieval + loss_of(maps, masks)
        log(loss_of.report.figures())

    Attributes:
        weights: Weight of each term; a schedule may change them between calls. A term of weight 0 is not computed.
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
        """Choose form, terms and reduction.

        Args:
            form: How far a map is from its mask: a name from :data:`~mmgrad_explain.grounding.forms.FORMS`, or a
                callable of maps and masks, both ``(B, h, w)``, that returns ``(B,)``.
            weights: Weights by term; terms that are left out keep :data:`DEFAULT_WEIGHTS`.
            reduction: ``"mean"``: the weighted sum of each term's mean over the samples that it is defined for.
                ``"sum"``: the sum over all samples. ``"none"``: one value a sample.
            margin: Margin of the margin term, as a share of a map's maximum.
            validate: Check the masks' values in every call; on an accelerator this waits for the device.

        Raises:
            TypeError: If ``form`` is neither a name nor a callable.
            InputError: If form, term or reduction is unknown, or a weight is negative or not finite.
        """
        super().__init__()
        name, self._form = ensure_form(form)
        self.form_name = "form" if name in DEFAULT_WEIGHTS else name
        for term in weights or {}:
            check_choice("weights", term, DEFAULT_WEIGHTS, noun="term")
        self.weights = {**DEFAULT_WEIGHTS, **(weights or {})}
        for term, value in self.weights.items():
            if not 0 <= value < math.inf:
                raise InputError(f"weights: {term} must be a number of at least 0, got {value}")
        check_choice("reduction", reduction, REDUCTIONS)
        if not 0 < margin <= 1:
            raise InputError(f"margin must be above 0 and at most 1, the map's maximum; got {margin}")
        self.reduction = reduction
        self.margin = margin
        self.validate = validate
        self.report: GroundingReport | None = None

    def extra_repr(self) -> str:
        """Return what ``print`` shows between the parentheses."""
        weights = ", ".join(f"{name}={value:g}" for name, value in self.weights.items() if value)
        return f"{self.form_name}, {weights or 'no weight'}, reduction={self.reduction!r}"

    def forward(
        self,
        maps: Tensor,
        targets: GroundingTargets | Mapping[str, Any] | Tensor | Sequence[Tensor | None] | None,
        *,
        supervised: Tensor | Sequence[bool] | None = None,
        other_masks: Tensor | Sequence[Tensor | None] | None = None,
        paired_maps: Tensor | None = None,
        paired_valid: Tensor | None = None,
        excluded: Tensor | None = None,
        other_maps: Mapping[str, PairedMaps] | None = None,
        scores: MaskedScores | None = None,
    ) -> Tensor:
        """Compute the loss of a batch of maps.

        A sample without supervision has loss 0 and gradient 0, exactly, and counts in no mean. If no sample is
        supervised, the loss is 0 and can still be differentiated.

        Args:
            maps: ``(B, h, w)`` from ``attend(..., create_graph=True)``; signed maps (``relu=False``) let dead ones
                recover. Or ``(W, B, h, w)`` of several weightings; their losses are averaged.
            targets: Masks ``(B, H, W)`` of any resolution; a list of masks and None; a mapping with the arguments of
                :func:`~.targets.grounding_targets`, such as ``{"boxes": ..., "units": "pixel", "image_size": ...}``;
                the result of :func:`~.targets.grounding_targets`; or None, where only terms without masks are used.
            supervised: ``(B,)`` bool; False leaves a sample out.
            other_masks: For the contrast term, where the maps of other texts about the same image should be bright:
                ``(B, H, W)``, ``(B, K, H, W)``, or a list with None. See :func:`~.targets.partner_masks`.
            paired_maps: For the consistency term, the maps on the triplets' other image, shaped like ``maps``.
            paired_valid: ``(B,)`` bool: the samples whose two maps should agree, supervised or not; None takes the
                supervised ones. Leave out objects that move.
            excluded: For the consistency term, cells to leave out, ``(B, h, w)`` in [0, 1].
            other_maps: For the terms of :data:`PAIRED_TERMS`, by their names, the maps to compare with:
                ``{"selfeq": PairedMaps(maps_of_paraphrases, has_paraphrase)}``.
            scores: For the terms ``hidden`` and ``shown``, the scores of the images as their maps mask them.

        Returns:
            A float32 number (float64 for float64 maps), or ``(B,)`` with ``reduction="none"``.

        Raises:
            TypeError: If the maps are not a floating-point tensor.
            InputError: If shapes do not fit, or masks hold NaN or values outside [0, 1].
        """
        if not isinstance(maps, Tensor) or not maps.is_floating_point():
            kind = str(maps.dtype) if isinstance(maps, Tensor) else type(maps).__name__
            raise TypeError(f"maps must be a floating tensor (B, h, w), not {kind}")
        if maps.dim() not in {3, 4}:
            raise InputError(f"maps must be (B, h, w), or (W, B, h, w) of several weightings; got {tuple(maps.shape)}")
        with torch.autocast(maps.device.type, enabled=False):
            every = in_float32(maps if maps.dim() == 4 else maps[None])
            masks, known = self._targets(every, targets, supervised)
            values: dict[str, Tensor] = {}
            counted: dict[str, Tensor] = {}
            if self.weights["form"]:
                counted[self.form_name] = known
                values[self.form_name] = _values_of(self._form, every, known, masks)
            if self.weights["contrast"] and other_masks is not None:
                others = self._lay_partners(every, other_masks)
                counted["contrast"] = known & (find_foreign_regions(masks, others).amax((1, 2)) > 0)
                values["contrast"] = _values_of(contrast_loss, every, counted["contrast"], masks, others)
            if self.weights["margin"]:
                counted["margin"] = known
                values["margin"] = _values_of(margin_loss, every, known, masks, self.margin)
            if self.weights["consistency"] and paired_maps is not None:
                counted["consistency"] = self._find_pairs(every, paired_maps, known, paired_valid, excluded)
                values["consistency"] = _compare(every, paired_maps, counted["consistency"], consistency_loss, excluded)
            looked_at = known | self._add_terms_without_masks(every, other_maps or {}, scores, values, counted)
            means = {name: self.average(each, counted[name]) for name, each in values.items()}
            dead = torch.stack([dead_maps(one) for one in every]).to(every.dtype).mean(0)
            self.report = GroundingReport(
                terms={name: mean.detach() for name, mean in means.items()},
                counts={name: each.sum() for name, each in counted.items()},
                dead=self.average(torch.where(looked_at, dead, 0), looked_at),
                supervised=known.sum(),
                samples=len(known),
            )
            return self._reduce(every, values, means)

    def average(self, values: Tensor, counted: Tensor) -> Tensor:
        """Return the mean of a term over the samples that count, 0 if none does. Override it for another mean.

        Args:
            values: ``(B,)``, 0 where ``counted`` is False.
            counted: ``(B,)`` bool.
        """
        return values.sum() / counted.sum().clamp(min=1)

    def _add_terms_without_masks(
        self,
        maps: Tensor,
        others: Mapping[str, PairedMaps],
        scores: MaskedScores | None,
        values: dict[str, Tensor],
        counted: dict[str, Tensor],
    ) -> Tensor:
        """Add the values and counts of these terms; return the samples that any of them looks at, ``(B,)`` bool."""
        for name in others:
            check_choice("other_maps", name, PAIRED_TERMS, noun="term")
        found = maps.new_zeros(maps.shape[1], dtype=torch.bool)
        for name, loss in PAIRED_TERMS.items():
            if self.weights[name] and name in others:
                paired, valid = others[name]
                _check_like(maps, paired, f"other_maps[{name!r}]")
                counted[name] = _ensure_valid(valid, found, f"other_maps[{name!r}].valid")
                values[name] = _compare(maps, paired, counted[name], loss)
                found = found | counted[name]
        for name, of_scores in MASKED_TERMS.items():
            part = None if scores is None else getattr(scores, name)
            if self.weights[name] and scores is not None and part is not None:
                if scores.whole.shape != found.shape:
                    raise InputError(f"scores must be of {len(found)} samples like the maps, not {len(scores.whole)}")
                counted[name] = _ensure_valid(scores.valid, found, "scores.valid") & find_scored(scores.whole)
                values[name] = torch.where(counted[name], of_scores(scores.whole, part), 0).to(maps.dtype)
                found = found | counted[name]
        return found

    def _targets(self, maps: Tensor, targets: Any, supervised: Tensor | Sequence[bool] | None) -> GroundingTargets:
        grid = (maps.shape[2], maps.shape[3])
        if targets is None:
            targets = GroundingTargets(torch.zeros_like(maps[0]), maps.new_zeros(maps.shape[1], dtype=torch.bool))
        if not isinstance(targets, GroundingTargets):
            given = targets if isinstance(targets, Mapping) else {"masks": targets}
            targets = grounding_targets(grid, **{"device": maps.device, "validate": self.validate, **given})
        masks, known = targets
        if masks.shape != maps.shape[1:]:
            raise InputError(
                f"targets are for maps of shape {tuple(masks.shape)}, the maps are {tuple(maps.shape[1:])}"
            )
        known = find_supervised(known.to(maps.device), supervised)
        return GroundingTargets(masks.to(maps), known)

    def _lay_partners(self, maps: Tensor, other_masks: Tensor | Sequence[Tensor | None]) -> Tensor:
        grid, count = (maps.shape[2], maps.shape[3]), maps.shape[1]
        partners = 1
        if isinstance(other_masks, Tensor) and other_masks.dim() == 4:
            partners = other_masks.shape[1]
            other_masks = other_masks.flatten(0, 1)
        laid = grounding_targets(grid, masks=other_masks, device=maps.device, validate=self.validate).masks
        if len(laid) != count * partners:
            raise InputError(f"other_masks must be of {count} samples like the maps, got {len(laid) // partners}")
        return laid.to(maps).view(count, partners, *grid)

    def _find_pairs(
        self, maps: Tensor, paired: Tensor, known: Tensor, valid: Tensor | None, excluded: Tensor | None
    ) -> Tensor:
        _check_like(maps, paired, "paired_maps")
        if excluded is not None and excluded.shape != maps.shape[1:]:
            raise InputError(f"excluded must be {tuple(maps.shape[1:])}, like the maps, got {tuple(excluded.shape)}")
        return known if valid is None else _ensure_valid(valid, known, "paired_valid")

    def _reduce(self, maps: Tensor, values: dict[str, Tensor], means: dict[str, Tensor]) -> Tensor:
        none = torch.zeros_like(maps, dtype=torch.bool)
        total = torch.where(none, maps, 0).sum((0, 2, 3))  # 0, in the graph of the maps
        weights = {name: self.weights["form" if name == self.form_name else name] for name in values}
        if self.reduction == "mean":
            return total.sum() + sum(weights[name] * mean for name, mean in means.items())
        for name, each in values.items():
            total = total + weights[name] * each
        return total.sum() if self.reduction == "sum" else total


def _values_of(term: Any, maps: Tensor, counted: Tensor, *others: Any) -> Tensor:
    """Average a term's values over the weightings, ``(B,)``; exactly 0 and without gradient where it does not count."""
    here = counted[:, None, None]
    values = torch.stack([in_float32(term(torch.where(here, one, 0), *others)) for one in maps]).mean(0)
    return torch.where(counted, values, 0)


def _compare(maps: Tensor, paired: Tensor, counted: Tensor, loss: Any, *others: Any) -> Tensor:
    """Average what a loss gives for pairs of maps over the weightings, ``(B,)``; 0 where it does not count."""
    here = counted[:, None, None]
    pairs = torch.where(here, in_float32(paired).to(maps).expand_as(maps), 0)
    clean = torch.where(here, maps, 0)
    values = torch.stack([loss(a, b, *others) for a, b in zip(clean, pairs, strict=True)]).mean(0)
    return torch.where(counted, values, 0)


def _check_like(maps: Tensor, paired: Tensor, name: str) -> None:
    if paired.shape != maps.shape and paired.shape != maps.shape[1:]:
        raise InputError(f"{name} must be like maps, {tuple(maps.shape[1:])}, got {tuple(paired.shape)}")


def _ensure_valid(valid: Tensor | None, like: Tensor, name: str) -> Tensor:
    """Return which samples count, all for None; raise InputError unless it is ``(B,)`` bool."""
    if valid is None:
        return torch.ones_like(like)
    if valid.shape != like.shape or valid.dtype != torch.bool:
        raise InputError(f"{name} must be ({len(like)},) bool, got {tuple(valid.shape)} {valid.dtype}")
    return valid.to(like.device)
