"""What is measured on the maps of a model: localization, agreement with occlusion, faithfulness, cost."""

from __future__ import annotations

import re
import time
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgrad_explain.attention import MultiModalGradAttention
from mmgrad_explain.attention.calibration.search import calibrate
from mmgrad_explain.attention.layers.candidates import candidate_layers
from mmgrad_explain.attention.layers.choice import select_best
from mmgrad_explain.attention.methods.named import METHODS
from mmgrad_explain.attention.reruns.occlusion import occlusion_map
from mmgrad_explain.errors import MMGradError, MMGradWarning
from mmgrad_explain.explanation.fusion import resize_maps
from mmgrad_explain.metrics.faithfulness import (
    deletion_insertion,
    fill_images,
    parameter_randomization,
    rank_correlation,
)  # fmt: skip
from mmgrad_explain.metrics.floors import centre_gaussian, random_map
from mmgrad_explain.metrics.intervals import bootstrap_interval
from mmgrad_explain.metrics.localization import contrast_accuracy
from mmgrad_explain.metrics.map_figures import measure_maps

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmgrad_explain.attention.layers.candidate import Candidate
    from testbed.sheets import Sheet

GRID = 8
"""Cells along each axis of the occlusion that maps are compared with."""
_BATCH = 64
_DEAR = 40
"""Methods that cost more forwards are measured on the first calls alone, and not with random weights."""
_SHORT = {"rise": {"masks": 4}, "occlusion": {"grid": 2}, "integrated-gradients": {"steps": 2}}


class Judge:
    """Measures maps of one model on one sheet of calls."""

    def __init__(self, model: nn.Module, sheet: Sheet, *, faithful: int, steps: int, short: bool = False) -> None:
        """Compute what all methods are compared with.

        Args:
            model: The trained model.
            sheet: Its calls.
            faithful: How many calls deletion, occlusion and randomized weights are measured on.
            steps: Of the curves of deletion and insertion.
            short: Let methods that run the model many times run it a few times.
        """
        self.model = model
        self.sheet = sheet
        self.steps = steps
        self.short = short
        single = (sheet.named == 1).nonzero()[:, 0]
        self.few = single[:faithful]
        self.score = sheet.score_of(model)
        images = sheet.images[self.few]
        self.occlusion = occlusion_map(self._score_few, images, grid=(GRID, GRID), batch=_BATCH)
        whole, gone = (self._all(part, self.few) for part in (images, fill_images(images, "blur")))
        self.scale = float((whole - gone).mean().abs().clamp(min=1e-6))
        self.forward_time = self._time(lambda: self._all(images, self.few))

    def _score_few(self, images: Tensor, index: Tensor) -> Tensor:
        return self.score(images, self.few[index])

    def _all(self, images: Tensor, rows: Tensor) -> Tensor:
        parts = torch.arange(len(rows)).split(_BATCH)
        return torch.cat([self.score(images[part], rows[part]) for part in parts])

    @staticmethod
    def _time(work: Callable[[], Any]) -> float:
        """Return the CPU time of some work, seconds: other work on the machine does not count."""
        began = time.process_time()
        work()
        return time.process_time() - began

    def tool(self, model: nn.Module, method: str | None, layer: str | list[str] | None) -> MultiModalGradAttention:
        """Make what explains a model; None leaves the choice to it. The maps of several layers are multiplied."""
        chosen: Any = method
        fuse = "product" if isinstance(layer, list) else "mean"
        if self.short and method in _SHORT:
            chosen = replace(METHODS[method](), **_SHORT[method])  # type: ignore[type-var]
        return MultiModalGradAttention(model, layer, self.sheet.score, method=chosen, fuse=fuse)

    def explain(self, mmgrad: MultiModalGradAttention, rows: Tensor) -> Tensor:
        """Make maps ``(B, h, w)`` of some calls."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MMGradWarning)  # empty maps are counted
            return torch.cat([mmgrad(**self.sheet.arguments(part)).calls[0] for part in rows.split(_BATCH)])

    def row(self, method: str | None, layer: str | list[str] | None) -> dict[str, Any]:
        """Measure a method at a layer; None for either leaves the choice to MMGrad.

        Raises:
            MMGradError: it does not apply to this model.
        """
        mmgrad = self.tool(self.model, method, layer)
        few = self.explain(mmgrad, self.few)  # the first call also finds out about the model
        cost = float("nan") if self.short else self._time(lambda: self.explain(mmgrad, self.few)) / self.forward_time
        expensive = self.short or cost > _DEAR
        rows = self.few if expensive else torch.arange(len(self.sheet.images))
        maps = few if expensive else self.explain(mmgrad, rows)
        name = mmgrad.settings.choose_method().name
        figures = {"made by": name, "layers": mmgrad.layer_names, **self.localize(maps, rows), **self.trust(few)}
        figures["cost"] = cost
        if not cost > _DEAR and not (self.short and method):
            figures["randomized"] = self.randomize(method, layer or next(iter(mmgrad.layer_names), None))
        return figures

    def calibrated(self, count: int) -> dict[str, Any]:
        """Calibrate on calls about one object, and measure what it chooses on all other calls."""
        single = (self.sheet.named == 1).nonzero()[:, 0]
        kept = torch.ones(len(self.sheet.named), dtype=torch.bool)
        kept[single[:count]] = False
        calls = [self.sheet.arguments(row[None]) for row in single[:count]]
        calibration = calibrate(self.tool(self.model, None, None), calls, progress=False)
        mmgrad, rest = calibration.mmgrad, kept.nonzero()[:, 0]
        name = mmgrad.settings.choose_method().name
        return {"made by": name, "layers": mmgrad.layer_names, **self.localize(self.explain(mmgrad, rest), rest)}

    def floors(self) -> dict[str, dict[str, Any]]:
        """Measure maps that know neither model nor text."""
        size = self.sheet.images.shape[-1]
        generator = torch.Generator().manual_seed(0)
        count = len(self.sheet.images)
        rows = torch.arange(count)
        made = {
            "random map": torch.stack([random_map(size, size, GRID, generator) for _ in range(count)]),
            "centre Gaussian": centre_gaussian(size, size).expand(count, -1, -1),
        }
        return {name: {**self.localize(maps, rows), **self.trust(maps[self.few])} for name, maps in made.items()}

    def localize(self, maps: Tensor, rows: Tensor) -> dict[str, Any]:
        """Measure where maps lie; ``rows`` are the calls they are of."""
        size = self.sheet.images.shape[-1]
        drawn = resize_maps(maps, (size, size))
        masks, named, scene = self.sheet.masks[rows], self.sheet.named[rows], self.sheet.scene[rows]
        values = measure_maps(drawn, masks)
        single = named == 1
        figures: dict[str, Any] = {name: float(value[single].mean()) for name, value in values.items()}
        figures["interval"] = bootstrap_interval(values["pointing"][single], scene[single])[1:3]
        for count in sorted(set(named.tolist()) - {1}):
            of = named == count
            figures[f"pointing {count}"] = float(values["pointing"][of].mean())
            figures[f"energy {count}"] = float(values["energy"][of].mean())
        kept = torch.isin(self.sheet.pairs, rows).all(1)
        first, second = (_place(self.sheet.pairs[kept, side], rows) for side in (0, 1))
        right = contrast_accuracy(drawn[first], masks[first], masks[second])
        figures["contrast"] = float(right.mean())
        figures["contrast interval"] = bootstrap_interval(right, scene[first])[1:3]
        half = slice(None, None, 2)
        figures["texts"] = float(rank_correlation(maps[first[half]], maps[second[half]]).mean())
        return figures

    def trust(self, maps: Tensor) -> dict[str, float]:
        """Measure what needs no mask, on the maps of the first calls."""
        coarse = F.adaptive_avg_pool2d(maps[:, None], GRID)[:, 0] if maps.shape[-1] > GRID else _spread(maps)
        curves = deletion_insertion(self._score_few, self.sheet.images[self.few], maps, steps=self.steps)
        return {
            "occlusion": float(rank_correlation(coarse, self.occlusion).mean()),
            "deletion": float(curves.deletion_gain.mean()) / self.scale,
            "insertion": float(curves.insertion_gain.mean()) / self.scale,
        }

    def randomize(self, method: str | None, layer: str | list[str] | None) -> float:
        """Return the rank correlation with the maps of random weights; NaN where these have no map."""
        try:
            found = parameter_randomization(
                self.model, lambda model: self.explain(self.tool(model, method, layer), self.few)
            )
        except MMGradError:
            return float("nan")
        return float(found["all"].mean())

    def unevenness(self, layer: str) -> float:
        """Measure how much a layer's gradient differs from place to place: 0 where it is the same everywhere, up to 1.

        It is the share of the gradient's norm that its mean over places does not have.
        """
        shares = []

        def weigh(activation: Tensor, gradient: Tensor) -> Tensor:
            rest = (gradient - gradient.mean((2, 3), keepdim=True)).flatten(1).norm(dim=1)
            shares.append(rest / gradient.flatten(1).norm(dim=1).clamp(min=1e-30))
            return (activation * gradient).sum(1)

        mmgrad = MultiModalGradAttention(self.model, layer, self.sheet.score, method=weigh)
        self.explain(mmgrad, self.few)
        return float(torch.cat(shares).mean())

    def layers(self) -> dict[str, str]:
        """Choose layers to compare: by what they are to the one that MMGrad takes, name of the layer."""
        found = candidate_layers(self.model, **self.sheet.arguments(self.few[:4]), score=self.sheet.score)
        usable = [one for one in found if one.gradient_reaches and one.mixes_text is not True] or found
        usable = [one for one in usable if min(one.grid) >= 4] or usable
        chosen = next((one for one in found if one.chosen), None) or select_best(found)[-1]
        grids = list(dict.fromkeys(one.grid for one in usable))
        norms = _norms(usable) or _norms([one for one in found if one.gradient_reaches])  # all mix text in joint models
        if not norms:  # stages of a CNN
            last_of = {grid: [one.name for one in usable if one.grid == grid][-1] for grid in grids}
            names = list(last_of.values())[::-1]
            return dict(zip(("last stage", "one earlier", "two earlier"), names[:3], strict=False))
        families = [_family(name) for name in norms]
        wanted = (
            _family(chosen.name) if _family(chosen.name) in families else max(families, key=families.count, default="")
        )
        norms = [name for name in norms if _family(name) == wanted]
        named = {"the layer found": chosen.name}
        if len(grids) > 1:  # convolutions before the tokens
            named["stem"] = [one.name for one in usable if one.grid == sorted(grids)[1]][-1]
        for label, index in (("norm, last block", -1), ("norm, one earlier", -2), ("norm, middle", -len(norms) // 2)):
            if 0 < -index <= len(norms) and norms[index] not in named.values():
                named[label] = norms[index]
        return named


def _spread(maps: Tensor) -> Tensor:
    """Resize coarse maps to the grid of the occlusion."""
    return resize_maps(maps, (GRID, GRID))


def _place(wanted: Tensor, rows: Tensor) -> Tensor:
    """Return where calls stand among the rows."""
    place = torch.full((int(rows.max()) + 1,), -1)
    place[rows] = torch.arange(len(rows))
    return place[wanted]


def _norms(found: list[Candidate]) -> list[str]:
    """List the norms of the blocks of a transformer."""
    return [one.name for one in found if one.type == "LayerNorm" and _family(one.name) != one.name]


def _family(name: str) -> str:
    """Return a layer's name without its numbers: the same place in every block."""
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "#", name)
