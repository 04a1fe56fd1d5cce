"""Localization, faithfulness and agreement of maps over a data set: update, compute, reset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics.faithfulness import Perturbation, deletion_insertion, rank_correlation
from mmgrad_explain.metrics.localization import contrast_accuracy
from mmgrad_explain.metrics.map_figures import CONTRAST, figure_names, measure_maps
from mmgrad_explain.metrics.sample_metric import SampleMetric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmgrad_explain.metrics.faithfulness import ImageScore


class LocalizationMetric(SampleMetric):
    """Where maps are: the figures of :data:`~mmgrad_explain.metrics.map_figures.MAP_FIGURES`, over a data set.

    Example::

        metric = LocalizationMetric()
        for images, texts, masks in loader:
            metric.update(explain(images, texts).maps, masks)
        metric.compute()["pointing"], metric.intervals()["pointing"]
    """

    figures = (*figure_names(full_size=True), CONTRAST)

    def measure(
        self, maps: Tensor | Sequence[Tensor], masks: Tensor | Sequence[Tensor], others: Any = None
    ) -> dict[str, Tensor]:
        """Compute the figures of a batch.

        Args:
            maps: ``(B, h, w)`` or one ``(h, w)`` a sample, at least 0. A map of another size than its mask is resized
                bilinearly: it must cover the image evenly, without letterbox bars.
            masks: ``(B, H, W)`` or one ``(H, W)`` a sample, true inside.
            others: The region of another text about the same image, in the same form, for the contrast; all false
                where there is none. A sample has contrast NaN without one, or where either region lies in the other.

        Returns:
            Each figure, ``(B,)`` in [0, 1]; NaN where it is not known.

        Raises:
            InputError: The numbers of maps and masks differ, or a map is not (h, w), holds NaN, or is negative.
        """
        if len(maps) != len(masks):
            raise InputError(f"there must be one mask a map: {len(maps)} maps, {len(masks)} masks")
        others = [None] * len(masks) if others is None else others
        if len(others) != len(maps):
            raise InputError(f"others: there must be one a map: {len(maps)} maps, {len(others)} others")
        rows = [self._measure_one(*sample) for sample in zip(maps, masks, others, strict=True)]
        return {name: torch.stack([row[name] for row in rows]) if rows else torch.zeros(0) for name in self.figures}

    @staticmethod
    def _measure_one(heat: Tensor, mask: Tensor, other: Tensor | None) -> dict[str, Tensor]:
        heat, mask = _on_mask(heat, mask), mask.bool()
        found = {name: value[0].cpu() for name, value in measure_maps(heat, mask[None], full_size=True).items()}
        found[CONTRAST] = torch.tensor(float("nan"))
        if other is not None:
            other = other.bool().to(mask.device)
            if bool((mask & ~other).any()) and bool((other & ~mask).any()):
                found[CONTRAST] = contrast_accuracy(heat, mask[None], other[None])[0].cpu()
        return found


class FaithfulnessMetric(SampleMetric):
    """Whether maps show what a model depends on: deletion and insertion over a data set.

    The gains compare with the same map with its cells in random order: above 0 the map is informative. See
    :func:`~mmgrad_explain.metrics.faithfulness.deletion_insertion`, whose options the class takes.

    Args:
        fill: What replaces deleted places.
        steps: Steps of the curves.
        draws: Random orders to average over.
        batch: Images that are scored together.
        seed: Seed of the random orders.
        **options: Of :class:`~mmgrad_explain.metrics.sample_metric.SampleMetric`.
    """

    figures = ("deletion", "insertion", "deletion_gain", "insertion_gain")

    def __init__(
        self,
        *,
        fill: str | Tensor = "blur",
        steps: int = 12,
        draws: int = 1,
        batch: int = 64,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.options = {"fill": fill, "steps": steps, "draws": draws, "batch": batch, "seed": seed}

    def measure(self, score: ImageScore | Perturbation, images: Any = None, maps: Any = None) -> dict[str, Tensor]:
        """Compute the figures of a batch.

        Args:
            score: ``score(images (N, C, H, W), index (N,)) -> (N,)``, where ``index`` says which sample of the batch
                each image was made from; or the :class:`~mmgrad_explain.metrics.faithfulness.Perturbation` of one
                score, where it is computed already.
            images: ``(B, C, H, W)``, as the model takes them.
            maps: ``(B, h, w)``.

        Returns:
            Each figure, ``(B,)`` in units of the score.

        Raises:
            InputError: As :func:`~mmgrad_explain.metrics.faithfulness.deletion_insertion`; or there are several scores.
        """
        if isinstance(score, Perturbation):
            curves = score
        elif images is None or maps is None:
            raise InputError("update takes a score, images and maps, or a Perturbation alone")
        else:
            curves = deletion_insertion(score, images, maps, **self.options)  # type: ignore[arg-type]
        if curves.deletion.dim() != 1:
            raise InputError(f"score must give one number an image, (N,): it gave {tuple(curves.deletion.shape[1:])}")
        return {name: getattr(curves, name) for name in self.figures}


class AgreementMetric(SampleMetric):
    """How well maps agree with others of the same samples: Spearman's rank correlation over a data set.

    With the maps of an occlusion it measures agreement with a causal reference; with those of a randomized model, or of
    an unrelated text, how much of a map does not come from the model, or from the text.
    """

    figures = ("correlation",)

    def measure(self, maps: Tensor, others: Tensor) -> dict[str, Tensor]:
        """Compute the rank correlations of a batch.

        Args:
            maps: ``(B, h, w)``.
            others: ``(B, h', w')``; resized bilinearly to ``(h, w)``.

        Returns:
            ``"correlation"``, ``(B,)`` in [-1, 1]; 0 where a map is flat.

        Raises:
            InputError: The maps are not (B, h, w) of one batch.
        """
        if maps.dim() != 3 or others.dim() != 3 or len(maps) != len(others):
            shapes = f"{tuple(maps.shape)} and {tuple(others.shape)}"
            raise InputError(f"maps and others must be (B, h, w) of one batch, got {shapes}")
        others = F.interpolate(others[:, None].float(), size=maps.shape[1:], mode="bilinear")[:, 0]
        return {"correlation": rank_correlation(maps.float(), others)}


def _on_mask(heat: Tensor, mask: Tensor) -> Tensor:
    """Check a map ``(h, w)``, and resize it to the mask: ``(1, H, W)`` float32, on the mask's device."""
    if heat.dim() != 2 or mask.dim() != 2:
        raise InputError(f"a map and its mask must be (h, w), got {tuple(heat.shape)} and {tuple(mask.shape)}")
    heat = heat.detach().float().to(mask.device)
    if bool(heat.isnan().any()) or bool((heat < 0).any()):
        raise InputError("a map must be at least 0 everywhere, without NaN: cut negative values off first (relu)")
    if heat.shape == mask.shape:
        return heat[None]
    return F.interpolate(heat[None, None], size=mask.shape, mode="bilinear")[0]
