"""Measures maps over a data set of images, texts and regions, whoever makes the maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from mmgrad_explain.data.triplets import read_pixels
from mmgrad_explain.errors import InputError, MMGradError
from mmgrad_explain.evaluation.case_pictures import WorstCases, draw_case
from mmgrad_explain.evaluation.map_set_figures import MapSetFigures
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.metrics.floors import best_fixed_point, centre_gaussian, chance, image_centre
from mmgrad_explain.metrics.map_figures import figure_names, measure_maps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt
    from PIL import Image

    from mmgrad_explain.data.phrases.dataset import PhraseSample, PhraseSet

    Heat: TypeAlias = npt.NDArray[np.float32]

MapMaker: TypeAlias = "Callable[[Sequence[Image.Image], Sequence[str], Sequence[Image.Image] | None], Sequence[Heat]]"
"""``make(images, texts, targets)``: one map a sample, (H, W) and at least 0, on the pixels of the image.

With ``targets`` the maps are those of the targets, on their pixels. If all texts are about one image, ``images`` holds
the same object for each."""

TOUCHING = 0.01
"""Regions are disjoint if they share at most this part of the smaller one, since annotated outlines touch."""
_GRID = 32  # places along each side that the best fixed point is chosen from


def evaluate_map_set(
    data: PhraseSet,
    makers: Mapping[str, MapMaker],
    *,
    batch: int = 16,
    pictures: int = 200,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> MapSetFigures:
    """Measure where maps are, over a data set, on the images' own pixels.

    A sample whose image or region cannot be read is left out and named; so is a method that refuses every sample of the
    first images, with its reason, while the others are measured.

    Args:
        data: The samples.
        makers: The name of each method, and what makes its maps.
        batch: Samples that go to a maker together; texts about one image stay together.
        pictures: How many of the worst cases are drawn.
        progress: Called with ``"samples"``, how many are done, and how many there are.

    Raises:
        InputError: There is no sample or no maker, images are missing, no sample can be read, or every method refuses
            the model.
    """
    if not len(data) or not makers or batch < 1:
        raise InputError("evaluate_map_set needs samples, a maker of maps, and a batch of at least 1")
    data.require_images()
    found = _Figures(data, makers, pictures)
    done = 0
    for images in _chunks(data, batch):
        found.measure(images, batch)
        done += sum(map(len, images))
        if progress is not None:
            progress("samples", done, len(data))
    return found.results()


def _chunks(data: PhraseSet, batch: int) -> Iterator[list[list[int]]]:
    """Split the samples into chunks of whole images, each of about a batch: a list of samples for each image."""
    of_image: dict[tuple[str, bool], list[int]] = {}
    for number, sample in enumerate(data.samples):
        of_image.setdefault((sample.image_name, sample.on_target), []).append(number)
    chunk: list[list[int]] = []
    for numbers in of_image.values():
        chunk.append(numbers)
        if sum(map(len, chunk)) >= batch:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


class _Case:
    """A sample with its image and region in memory."""

    def __init__(self, number: int, sample: PhraseSample, images: dict[Any, Image.Image]) -> None:
        self.number = number
        self.sample = sample
        self.image = self._open(sample.image, images)
        self.target = self._open(sample.target, images) if sample.on_target and sample.target is not None else None
        self.judged = self.image if self.target is None else self.target
        self.mask = sample.region.draw(self.judged.height, self.judged.width)
        self.heats: dict[str, Heat] = {}

    @staticmethod
    def _open(path: Any, images: dict[Any, Image.Image]) -> Image.Image:
        if path not in images:
            images[path] = open_image(read_pixels(path) if ".npy#" in path.name else path)
        return images[path]


class _Figures:
    """Collects the figures of all samples."""

    def __init__(self, data: PhraseSet, makers: Mapping[str, MapMaker], pictures: int) -> None:
        self.data = data
        self.makers = dict(makers)
        names = figure_names(full_size=True)
        empty = torch.full((len(data),), torch.nan)
        self.maps = {method: {name: empty.clone() for name in names} for method in makers}
        self.gaussian = {name: empty.clone() for name in names}
        self.covered, self.centre = empty.clone(), empty.clone()
        self.masks: dict[int, torch.Tensor] = {}
        self.pairs: list[int] = []
        self.contrast: dict[str, list[float]] = {method: [] for method in makers}
        self.left_out: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self.failed: dict[str, dict[str, str]] = {}
        self.worst = WorstCases(pictures)

    def measure(self, images: Sequence[Sequence[int]], batch: int) -> None:
        """Draw and measure the maps of some images."""
        opened: dict[Any, Image.Image] = {}
        cases = [list(self._open(numbers, opened)) for numbers in images]
        for method in list(self.makers):
            self._draw(method, cases, batch)
        for of_image in cases:
            for case in of_image:
                self._measure_one(case)
            self._measure_contrast(of_image)
            for case in of_image:
                self._draw_picture(case)

    def _open(self, numbers: Sequence[int], opened: dict[Any, Image.Image]) -> Iterator[_Case]:
        for number in numbers:
            sample = self.data.samples[number]
            try:
                yield _Case(number, sample, opened)
            except InputError as error:
                self.left_out[sample.id] = str(error)

    # ------------------------------------------------------------------------------------------------------------- maps

    def _draw(self, method: str, cases: Sequence[Sequence[_Case]], batch: int) -> None:
        """Make the maps of a method; texts about one image go together, single ones of several images too."""
        calls, single = list[list[_Case]](), list[_Case]()
        for of_image in cases:
            if len(of_image) > 1:
                calls += [list(of_image[start : start + batch]) for start in range(0, len(of_image), batch)]
            else:
                single += of_image
        for on_target in (False, True):
            some = [case for case in single if (case.target is not None) == on_target]
            calls += [some[start : start + batch] for start in range(0, len(some), batch)]
        failed: dict[str, str] = {}
        for call in calls:
            self._call(method, call, failed)
        total = sum(map(len, calls))
        if total and len(failed) == total and not any(case.heats.get(method) is not None for c in calls for case in c):
            before = self.failed.get(method, {})
            if not any(bool((~values.isnan()).any()) for values in self.maps[method].values()) and not before:
                self.refused[method] = next(iter(failed.values()))
                del self.makers[method], self.maps[method], self.contrast[method]
                if not self.makers:
                    raise InputError("; ".join(f"{name}: {reason}" for name, reason in self.refused.items()))
                return
        if failed:
            self.failed.setdefault(method, {}).update(failed)

    def _call(self, method: str, cases: Sequence[_Case], failed: dict[str, str]) -> None:
        """Make maps together; if they are refused, each alone, to find out which is."""
        targets = [case.target for case in cases if case.target is not None] or None
        try:
            heats = self.makers[method]([case.image for case in cases], [case.sample.text for case in cases], targets)
        except MMGradError as error:
            if len(cases) == 1:
                failed[cases[0].sample.id] = str(error)
                return
            for case in cases:
                self._call(method, [case], failed)
            return
        for case, heat in zip(cases, heats, strict=True):
            if heat.shape != case.mask.shape:
                raise InputError(f"{method}: a map has shape {heat.shape}, its image {case.mask.shape}")
            case.heats[method] = np.asarray(heat, np.float32)

    # ---------------------------------------------------------------------------------------------------------- figures

    def _measure_one(self, case: _Case) -> None:
        mask = torch.from_numpy(case.mask)
        for method, heat in case.heats.items():
            for name, value in measure_maps(torch.from_numpy(heat)[None], mask[None], full_size=True).items():
                self.maps[method][name][case.number] = value[0]
        gaussian = centre_gaussian(*case.mask.shape)
        for name, value in measure_maps(gaussian[None], mask[None], full_size=True).items():
            self.gaussian[name][case.number] = value[0]
        self.covered[case.number] = chance([mask])[0]
        self.centre[case.number] = image_centre([mask])[0]
        at = (torch.arange(_GRID) + 0.5) / _GRID
        rows, columns = ((at * side).long() for side in mask.shape)
        self.masks[case.number] = mask[rows][:, columns]

    def _measure_contrast(self, cases: Sequence[_Case]) -> None:
        """Compare each map in its own region with those of the other texts about the image."""
        pairs = [
            (own, other)
            for own in cases
            for other in cases
            if own is not other and own.target is None and _are_disjoint(own.mask, other.mask)
        ]
        for own, other in pairs:
            self.pairs.append(own.number)
            here, there = own.mask & ~other.mask, other.mask & ~own.mask
            for method, values in self.contrast.items():
                values.append(_contrast(own.heats.get(method), here, there))

    def _draw_picture(self, case: _Case) -> None:
        if not case.heats:
            return
        figures = [self.maps[method][name][case.number] for method in case.heats for name in ("pointing", "energy")]
        goodness = float(torch.stack(figures).mean())
        if self.worst.wants(goodness):
            self.worst.add(case.number, goodness, draw_case(case.judged, case.mask, case.heats))

    def results(self) -> MapSetFigures:
        """Put everything together."""
        if not self.masks:
            raise InputError(f"no sample can be judged; the first: {next(iter(self.left_out.values()), '')}")
        numbers = list(self.masks)
        y, x = best_fixed_point([self.masks[number] for number in numbers], _GRID)[1]
        best = torch.full_like(self.covered, torch.nan)
        for number in numbers:
            best[number] = float(self.masks[number][int(y * _GRID), int(x * _GRID)])
        half = torch.where(self.covered.isnan(), torch.nan, 0.5)
        floors = {
            "random pixel": {"pointing": self.covered, "energy": self.covered, "auc": half},
            "image centre": {"pointing": self.centre},
            "best fixed point": {"pointing": best},
            "centre Gaussian": self.gaussian,
        }
        contrast = {method: torch.tensor(values, dtype=torch.float64) for method, values in self.contrast.items()}
        contrast["random pixel"] = torch.full((len(self.pairs),), 0.5, dtype=torch.float64)
        return MapSetFigures(
            data=self.data,
            maps=self.maps,
            contrast=contrast,
            contrast_of=torch.tensor(self.pairs, dtype=torch.long),
            floors=floors,
            left_out=self.left_out,
            refused=self.refused,
            failed=self.failed,
            pictures=self.worst.pictures(),
        )


def _are_disjoint(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> bool:
    smaller = min(int(first.sum()), int(second.sum()))
    return int((first & second).sum()) <= TOUCHING * smaller


def _contrast(heat: Heat | None, here: npt.NDArray[np.bool_], there: npt.NDArray[np.bool_]) -> float:
    """Compute the contrast as :func:`~mmgrad_explain.metrics.localization.contrast_accuracy` does, for one map."""
    if heat is None:
        return float("nan")
    if heat.max() <= heat.min():
        return 0.0
    own, other = heat[here].mean(dtype=np.float64), heat[there].mean(dtype=np.float64)
    return 1.0 if own > other else 0.5 if own == other else 0.0
