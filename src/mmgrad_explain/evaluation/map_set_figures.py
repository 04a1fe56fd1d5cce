"""Figures of maps over a data set, with bootstrap intervals, by kind of sample, and as rows for files."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain.metrics.intervals import Interval, bootstrap_interval
from mmgrad_explain.metrics.map_figures import CONTRAST, MAP_FIGURES
from mmgrad_explain.metrics.report import markdown_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from mmgrad_explain.data.phrases.dataset import PhraseSet
    from mmgrad_explain.evaluation.case_pictures import CasePicture

DRAWS = 1000
"""How many times a sample is drawn again for an interval."""


@dataclass(frozen=True, kw_only=True)
class MapSetFigures:
    """Figures of maps of several methods over ``N`` samples of a data set.

    Attributes:
        data: The samples.
        maps: Method to figure to ``(N,)``, for the figures of single maps; NaN where a sample was left out.
        contrast: Method to ``(P,)`` over ordered pairs of texts about one image with disjoint regions: whether the map
            is brighter in its own region; 0.5 for a random pixel.
        contrast_of: The sample of the first text of each pair, ``(P,)``.
        floors: The same as ``maps``, of maps that know nothing: a random pixel, the image's centre, the best fixed
            point and a Gaussian in the centre.
        left_out: Id of each sample that could not be judged with the reason: its image or region cannot be read.
        refused: Each method that refuses the model, with its reason; it has no figures.
        failed: Method to sample to the reason why there is no map of it.
        pictures: Drawings of the worst cases by the number of their sample.
    """

    data: PhraseSet
    maps: Mapping[str, Mapping[str, Tensor]]
    contrast: Mapping[str, Tensor]
    contrast_of: Tensor
    floors: Mapping[str, Mapping[str, Tensor]]
    left_out: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    pictures: Mapping[int, CasePicture] = field(default_factory=dict)

    @property
    def groups(self) -> list[str]:
        """The image of each sample; intervals draw whole images."""
        return [sample.image_name for sample in self.data.samples]

    def interval(self, method: str, figure: str, rows: Sequence[int] | None = None, *, level: float = 0.95) -> Interval:
        """Compute the mean of a figure and its bootstrap interval over images.

        Args:
            method: A method or a floor.
            figure: Name of a figure.
            rows: Numbers of the samples; all when None.
            level: As for :func:`~mmgrad_explain.metrics.intervals.bootstrap_interval`.
        """
        groups = self.groups
        if figure == CONTRAST:
            of = self.contrast_of.tolist()
            kept = None if rows is None else set(rows)
            pairs = [place for place, sample in enumerate(of) if kept is None or sample in kept]
            values = self.contrast.get(method, torch.full((len(of),), torch.nan))[pairs]
            return bootstrap_interval(values, [groups[of[place]] for place in pairs], level=level, draws=DRAWS)
        values = {**self.floors, **self.maps}[method].get(figure, torch.full((len(groups),), torch.nan))
        if rows is not None:
            values, groups = values[list(rows)], [groups[row] for row in rows]
        return bootstrap_interval(values, groups, level=level, draws=DRAWS)

    def summary(self, rows: Sequence[int] | None = None, *, level: float = 0.95) -> dict[str, dict[str, Interval]]:
        """Compute every figure of every method and floor, with intervals.

        Args:
            rows: Numbers of the samples; all when None.
            level: The share of draws inside an interval.
        """
        return {
            name: {figure.name: self.interval(name, figure.name, rows, level=level) for figure in MAP_FIGURES}
            for name in (*self.maps, *self.floors)
        }

    def by_kind(self, figure: str = "pointing", *, level: float = 0.95) -> dict[str, dict[str, Interval]]:
        """Compute one figure of every method for each kind of sample.

        Args:
            figure: Name of the figure.
            level: The share of draws inside an interval.

        Returns:
            Kind to method to its interval; kinds with the most samples first.
        """
        rows: dict[str, list[int]] = {}
        for number, sample in enumerate(self.data.samples):
            rows.setdefault(sample.kind, []).append(number)
        kinds = sorted(rows, key=lambda kind: (-len(rows[kind]), kind))
        return {
            kind: {name: self.interval(name, figure, rows[kind], level=level) for name in self.maps} for kind in kinds
        }

    def contrast_of_samples(self, method: str) -> Tensor:
        """Return the mean contrast of each sample over its pairs, ``(N,)``; NaN where it has none."""
        total = torch.zeros(len(self.data), dtype=torch.float64)
        pairs = torch.zeros_like(total)
        known = ~self.contrast[method].isnan()
        total.index_add_(0, self.contrast_of[known], self.contrast[method][known].double())
        pairs.index_add_(0, self.contrast_of[known], torch.ones(int(known.sum()), dtype=torch.float64))
        return torch.where(pairs > 0, total / pairs.clamp(min=1), torch.nan)

    def rows(self) -> list[dict[str, Any]]:
        """Return a record for each sample and method, with its figures; None where a figure is not known."""
        contrast = {method: self.contrast_of_samples(method) for method in self.maps}
        return [
            {
                "id": sample.id, "image": sample.image_name, "text": sample.text, "kind": sample.kind, "method": method,
                **{name: known(values[number]) for name, values in figures.items()},
                CONTRAST: known(contrast[method][number]),
            }
            for number, sample in enumerate(self.data.samples)
            for method, figures in self.maps.items()
        ]  # fmt: skip

    def to_dict(self, *, level: float = 0.95) -> dict[str, Any]:
        """Return the figures with their intervals and what was left out, ready for JSON; without the samples."""
        return {
            "data": {
                "format": self.data.name, "root": str(self.data.root), "description": self.data.description,
                "samples": len(self.data), "images": len(set(self.groups)),
                "problems": {what: len(which) for what, which in self.data.problems.items()},
            },
            "level": level,
            "figures": {name: _records(row) for name, row in self.summary(level=level).items()},
            "floors": list(self.floors),
            "pointing by kind": {kind: _records(row) for kind, row in self.by_kind(level=level).items()},
            "left_out": dict(self.left_out),
            "refused": dict(self.refused),
            "failed": {method: dict(of) for method, of in self.failed.items()},
        }  # fmt: skip

    def markdown(self, *, level: float = 0.95) -> str:
        """Write the table of all figures, and that of pointing by kind, in Markdown."""
        head = ["map", *(figure.heading for figure in MAP_FIGURES)]
        rows = [[name, *(one.describe() for one in row.values())] for name, row in self.summary(level=level).items()]
        parts = [markdown_table(head, [list(map(_plain, row)) for row in rows])]
        kinds = self.by_kind(level=level)
        if len(kinds) > 1 and self.maps:
            head = ["pointing, by kind", "samples", *self.maps]
            counts = {kind: sum(sample.kind == kind for sample in self.data.samples) for kind in kinds}
            rows = [[kind, str(counts[kind]), *(one.describe() for one in row.values())] for kind, row in kinds.items()]
            parts.append(markdown_table(head, [list(map(_plain, row)) for row in rows]))
        return "\n\n".join(parts)


def known(value: Tensor) -> float | None:
    """Return a value for JSON: None for NaN."""
    number = float(value)
    return None if math.isnan(number) else round(number, 6)


def _records(row: Mapping[str, Interval]) -> dict[str, dict[str, float | int | None]]:
    return {
        name: {
            "mean": known(torch.tensor(one.mean)),
            "low": known(torch.tensor(one.low)),
            "high": known(torch.tensor(one.high)),
            "known": one.known,
        }
        for name, one in row.items()
    }


def _plain(cell: str) -> str:
    """Keep a text of a data set inside its cell of a Markdown table."""
    return " ".join(cell.split()).replace("|", "\\|").replace("<", "&lt;")
