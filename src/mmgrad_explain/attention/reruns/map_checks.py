"""Check maps against what the model does: occlusion, deletion, and the map of another text."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mmgrad_explain.attention.reruns.image_scores import HeldRerun, ImageScores, take_image, take_rows
from mmgrad_explain.attention.reruns.occlusion import occlusion_grid, occlusion_map, pool_maps
from mmgrad_explain.attention.running.input_images import change_images, find_input_images
from mmgrad_explain.attention.running.structures import map_tensors, tensors_in
from mmgrad_explain.attention.running.undisturbed import undisturbed
from mmgrad_explain.errors import InputError, MMGradError, MMGradWarning
from mmgrad_explain.explanation.map_check import MapCheck, judge
from mmgrad_explain.explanation.sides import call_of
from mmgrad_explain.metrics.faithfulness import deletion_insertion, fill_images, rank_correlation

if TYPE_CHECKING:
    from torch import nn

    from mmgrad_explain.attention.running.input_images import InputImage
    from mmgrad_explain.explanation.maps import ExplainedMaps

Retext = Callable[["ExplainedMaps", "Sequence[int]", "str | None"], tuple["ExplainedMaps", str]]
_STEPS, _DRAWS = 6, 2  # of deletion
_BATCH = 32
_SEEN = 0.5  # share of a cell that the image must cover; the rest is padding
_SAME = 5e-3  # how far the score may be from the explained one, as a share of its size or of ten times its range


@dataclass(frozen=True)
class CallSource:
    """What made an explanation: a model, its inputs, and functions that run it and explain it again.

    Attributes:
        root: The model.
        inputs: (args, kwargs), one row of them a sample, unless ``rows`` says otherwise.
        forward: Takes inputs and returns what ``scorer`` reads.
        scorer: Returns the scores, one number a sample.
        explain: Explains other inputs in the same way.
        rows: The row of the inputs that each sample is of; None where they are the same.
        one_image: Whether all samples are texts of one image.
        retext: Explains the images of some samples with another text, an unrelated one for None, and says which; None
            where the explanation was not made of strings.
    """

    root: nn.Module
    inputs: tuple[tuple[Any, ...], dict[str, Any]]
    forward: Callable[[Any], Any]
    scorer: Callable[[Any], Tensor]
    explain: Callable[[Any], ExplainedMaps] | None = None
    rows: tuple[int, ...] | None = None
    one_image: bool = False
    retext: Retext | None = None

    def check(
        self,
        explanation: ExplainedMaps,
        samples: Sequence[int],
        *,
        target: bool,
        other: Any,
        progress: Callable[[str, int, int], None],
    ) -> list[MapCheck]:
        """Check the maps of some samples; see :meth:`~mmgrad_explain.explanation.result.Explanation.check`."""
        call = call_of(explanation, target=target)
        maps = explanation.calls[call].detach()[list(samples)]
        texts, other_text, why_not = self._distance(explanation, samples, call, other)
        here = replace(self, inputs=move_to_model(self.root, self.inputs))
        images = find_input_images(self.root, here.inputs)
        number = explanation.image_of_calls[call] if explanation.image_of_calls else int(target)
        if number >= len(images):
            raise InputError(
                "check: no argument of the model is an image (B, 3, H, W) or (B, 1, H, W) that could be hidden in part "
                "(tiles, packed patches or frames): compare with method='attention-rollout' or another text instead"
            )
        with undisturbed(self.root, here.inputs), torch.no_grad():
            measured = here.measure(explanation, samples, maps, images[number], target=target, progress=progress)
        found = []
        for place, sample in enumerate(samples):
            own = {name: values[place] for name, values in measured.items()}
            distance = None if texts is None else texts[place]
            flat = bool(maps[place].amax() <= maps[place].amin())
            missing = [] if texts is not None else [("text", why_not)]
            if own["occlusion"] is None:
                missing.insert(0, ("occlusion", "the score does not change when any part of the image is hidden"))
            verdict = judge(own["occlusion"], distance, flat=flat)
            found.append(
                MapCheck(sample, target, verdict, text=distance, other_text=other_text, missing=tuple(missing), **own)
            )
        return found

    def measure(
        self,
        explanation: ExplainedMaps,
        samples: Sequence[int],
        maps: Tensor,
        image: InputImage,
        *,
        target: bool,
        progress: Callable[[str, int, int], None],
    ) -> dict[str, list[Any]]:
        """Measure agreement with occlusion, and deletion."""
        rerun = HeldRerun(self.forward, self.scorer, self.inputs)
        scores = ImageScores(rerun, self.inputs, image, rerun.score, rows=self.rows)
        chosen = torch.tensor(list(samples), device=maps.device)
        rows = list(samples) if self.rows is None else [self.rows[sample] for sample in samples]
        pixels = take_image(self.inputs, image)[rows]
        pixels = pixels if pixels.is_floating_point() else pixels.float()
        before = rerun.score[list(samples)].float().cpu()
        lowest, highest, runs = before.clone(), before.clone(), 0

        def score(changed: Tensor, index: Tensor) -> Tensor:
            nonlocal runs
            runs += len(changed)
            found = scores(changed, chosen.to(index.device)[index]).to(changed.device)
            lowest.scatter_reduce_(0, index.cpu(), found.float().cpu(), "amin")
            highest.scatter_reduce_(0, index.cpu(), found.float().cpu(), "amax")
            return found

        grid = occlusion_grid((maps.shape[1], maps.shape[2]))
        grid = min(grid[0], pixels.shape[2]), min(grid[1], pixels.shape[3])
        drops = occlusion_map(
            score, pixels, rerun.score[list(samples)], grid=grid, batch=_BATCH,
            progress=lambda done, of: progress("hidden cells", done, of),
        ).cpu()  # fmt: skip
        areas = deletion_insertion(score, pixels, maps.to(pixels.device), steps=_STEPS, draws=_DRAWS, batch=_BATCH)
        score(fill_images(pixels, "blur"), torch.arange(len(pixels), device=pixels.device))
        span = (highest - lowest).clamp(min=torch.finfo(torch.float32).tiny)
        self._check_unchanged(explanation.score.cpu()[list(samples)], before, span)
        pooled = pool_maps(maps.cpu(), grid)
        seen = [_cells_of_image(explanation, sample, grid, target=target) for sample in samples]
        size = [correlate(a, b.abs(), cells) for a, b, cells in zip(pooled, drops, seen, strict=True)]
        falls = [correlate(a, b, cells) for a, b, cells in zip(pooled, drops, seen, strict=True)]
        gains = (areas.deletion_gain.float().cpu() / span).tolist()
        return {
            "occlusion": size,
            "lowers": falls,
            "deletion": gains,
            "grid": [grid] * len(samples),
            "drops": [tuple(map(tuple, one)) for one in drops.tolist()],
            "runs": [runs // len(samples)] * len(samples),
        }

    def _check_unchanged(self, explained: Tensor, now: Tensor, span: Tensor) -> None:
        """Check that the model still gives the scores that were explained, but for rounding."""
        coarse = max(
            (torch.finfo(one.dtype).eps for one in self.root.parameters() if one.is_floating_point()), default=0
        )
        close = max(_SAME, 10 * coarse)
        if bool(((now - explained).abs() > close * torch.maximum(explained.abs(), 10 * span)).any()):
            raise InputError(
                "check: the model or its inputs have changed since these maps were made (the scores differ): explain "
                "again, and check that"
            )

    def _distance(
        self, explanation: ExplainedMaps, samples: Sequence[int], call: int, other: Any
    ) -> tuple[list[float] | None, str | None, str]:
        """Return the distances to the maps of another text, which text, and why there are none."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", MMGradWarning)  # about maps that nobody is shown
                found, name = self._explain_other(explanation, samples, other)
        except MMGradError as error:
            if other is not None:
                raise
            return None, None, str(error)
        maps = explanation.calls[call][list(samples)].cpu()
        others = found.calls[min(call, len(found.calls) - 1)].cpu()
        if others.shape != maps.shape:
            return None, None, "the map of another text has another grid"
        return (1 - rank_correlation(maps, others)).tolist(), name, ""

    def _explain_other(
        self, explanation: ExplainedMaps, samples: Sequence[int], other: Any
    ) -> tuple[ExplainedMaps, str]:
        """Explain the same images with another text; returns the maps of the samples, and what text it is."""
        if self.retext is not None and (other is None or isinstance(other, str)):
            return self.retext(explanation, samples, other)
        if other is None and self.one_image and len(explanation) > 1:
            return _take_samples(explanation, [(sample + 1) % len(explanation) for sample in samples]), "the next text"
        if other is None:
            return self._explain_rolled(samples)
        if self.explain is None or not isinstance(other, Mapping):
            raise InputError(
                "check: other= is a string where the explanation was made of strings, and a mapping of the model's "
                "arguments that hold the text where it was made of tensors"
            )
        changed = replace_arguments(self.root, self.inputs, other)
        return _take_samples(self.explain(changed), samples), "the text that was passed"

    def _explain_rolled(self, samples: Sequence[int]) -> tuple[ExplainedMaps, str]:
        """Explain the images of the samples with the texts of the next samples of the batch."""
        images = find_input_images(self.root, self.inputs)
        count = max((image.batch for image in images), default=0)
        turned = take_rows(self.inputs, torch.arange(count).roll(-1), count)
        own = {image.index: take_image(self.inputs, image) for image in images}
        changed = change_images(turned, {index: partial(_replace, image) for index, image in own.items()})
        if self.explain is None or count < 2 or _are_equal(changed, self.inputs):
            raise InputError(
                "the text is a tensor, and no other is in the batch: pass other= with the arguments of another text"
            )
        return _take_samples(self.explain(changed), samples), "the text of the next sample"


def move_to_model(root: nn.Module, inputs: Any) -> Any:
    """Return inputs on the device of the model, where that has been moved since; a divided model leaves them alone."""
    devices = {tensor.device for tensor in root.parameters()}
    if len(devices) != 1 or next(iter(devices)).type == "meta":
        return inputs
    return map_tensors(inputs, lambda tensor: tensor.to(next(iter(devices))))


def replace_arguments(root: nn.Module, inputs: Any, others: Mapping[str, Any]) -> Any:
    """Return (args, kwargs) with some arguments replaced, also those that were passed by position.

    Args:
        root: The model, whose ``forward`` names the arguments.
        inputs: (args, kwargs).
        others: New values by name.
    """
    args, kwargs = inputs
    names = list(inspect.signature(root.forward).parameters)[: len(args)]
    placed = [others.get(name, value) for name, value in zip(names, args, strict=False)]
    named = {name: value for name, value in others.items() if name not in names}
    return (*placed, *args[len(placed) :]), {**kwargs, **named}


def correlate(first: Tensor, second: Tensor, cells: Tensor | None = None) -> float | None:
    """Compute Pearson's correlation of two maps (h, w) over some cells.

    Returns:
        In [-1, 1]; 0 where the first is the same everywhere, None where the second is.
    """
    a, b = (values.double().flatten() if cells is None else values.double()[cells] for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    size = float(b.norm())
    if b.numel() < 2 or size <= 1e-9 * max(1.0, float(second.abs().max())):
        return None
    return float((a * b).sum() / (a.norm() * size)) if float(a.norm()) > 0 else 0.0


def _replace(new: Tensor, _old: Tensor) -> Tensor:
    return new


def _are_equal(first: Any, second: Any) -> bool:
    pairs = zip(tensors_in(first), tensors_in(second), strict=True)
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs)


def _take_samples(explanation: ExplainedMaps, samples: Sequence[int]) -> ExplainedMaps:
    return replace(explanation, calls=tuple(maps[list(samples)] for maps in explanation.calls))


def _cells_of_image(explanation: ExplainedMaps, sample: int, grid: tuple[int, int], *, target: bool) -> Tensor | None:
    """Return the cells that the image covers, (h, w) bool: those of the padding agree with anything."""
    places = explanation.target_placements if target else explanation.placements
    if places is None:
        return None
    place = places[sample]
    covered = place.to_input(np.ones(place.original, np.float32), grid)
    cells = torch.from_numpy(covered >= _SEEN)
    return cells if int(cells.sum()) > 1 else None
