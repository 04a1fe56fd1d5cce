"""The figures of a map against a mask, each listed once: evaluations, training, tables and docs ask this list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmgrad_explain.metrics.localization import (
    contrast_accuracy,
    energy_inside,
    flat_map,
    intersection_over_union,
    pointing_game,
    roc_auc,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


@dataclass(frozen=True)
class MapFigure:
    """A figure of maps, in [0, 1], with one value a sample.

    Attributes:
        name: Its key in results, JSON and logs.
        measure: Computes it, ``(B,)``, from maps and masks ``(B, H, W)``; a contrast also takes the masks of the other
            text.
        meaning: What it counts, for the documentation.
        floor: What a map that knows nothing reaches, for the documentation.
        title: Its heading in tables; its name when empty.
        lower_is_better: Whether a small value is good.
        compares_texts: Whether it is measured on pairs of texts about one image.
        full_size_only: Whether it is measured only at the images' own size, not on scenes and not in training.
    """

    name: str
    measure: Callable[..., Tensor]
    meaning: str
    floor: str = ""
    title: str = ""
    lower_is_better: bool = False
    compares_texts: bool = False
    full_size_only: bool = False

    @property
    def heading(self) -> str:
        """The heading of its column in a table."""
        return self.title or self.name


MAP_FIGURES = (
    MapFigure("pointing", pointing_game, "the brightest pixel lies in the mask", "the mask's share of the image"),
    MapFigure("energy", energy_inside, "share of the map's mass in the mask", "the same, for a flat map"),
    MapFigure("iou", intersection_over_union, "IoU of the mask and the map cut at half its maximum", title="IoU"),
    MapFigure(
        "auc", roc_auc, "a pixel inside is brighter than one outside", "0.5", title="AUC", full_size_only=True
    ),
    MapFigure(
        "contrast", contrast_accuracy, "two texts, two regions: the map is brighter in its own", "0.5 by construction",
        compares_texts=True,
    ),
    MapFigure("dead", flat_map, "the map has one value everywhere", title="dead maps", lower_is_better=True),
)  # fmt: skip
"""To add a figure, write its function in :mod:`~mmgrad_explain.metrics.localization` and list it here."""

CONTRAST = next(figure.name for figure in MAP_FIGURES if figure.compares_texts)


def figure_names(*, full_size: bool = False) -> tuple[str, ...]:
    """List the figures of a single map; contrast, which compares two texts, is not among them.

    Args:
        full_size: Whether the maps have the images' own size.
    """
    return tuple(figure.name for figure in _figures(full_size=full_size))


def measure_maps(maps: Tensor, masks: Tensor, *, full_size: bool = False) -> dict[str, Tensor]:
    """Measure maps against masks.

    Args:
        maps: ``(B, H, W)``, non-negative, at the masks' resolution.
        masks: ``(B, H, W)``, true inside.
        full_size: Whether that is the images' own size.

    Returns:
        The figures that :func:`figure_names` lists, each ``(B,)`` in [0, 1].
    """
    return {figure.name: figure.measure(maps, masks) for figure in _figures(full_size=full_size)}


def _figures(*, full_size: bool) -> list[MapFigure]:
    return [figure for figure in MAP_FIGURES if not figure.compares_texts and full_size >= figure.full_size_only]
