"""The makers of masks: from captions with their two images to masks, or to reasons why there are none."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mmgrad_explain.data.masks.foreground import mark_foreground
from mmgrad_explain.data.masks.parsed_things import thing_finder
from mmgrad_explain.data.masks.pixel_difference import mark_difference
from mmgrad_explain.data.masks.units import UnitMasks
from mmgrad_explain.data.triplets import read_pixels, split_image_path
from mmgrad_explain.images.reading import open_image

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from mmgrad_explain.data.masks.settings import MaskSettings
    from mmgrad_explain.data.masks.units import Unit

_LARGEST = 384  # longest side of an image that is looked at, pixels
_KEPT = 288  # images, in each process


class MaskMaker(Protocol):
    """Makes masks of units whose images are there."""

    def __call__(self, units: Sequence[Unit]) -> list[UnitMasks]:
        """Make the masks of each unit."""


def build_maker(given: str, settings: MaskSettings, device: str = "cpu") -> MaskMaker:
    """Build a maker.

    Args:
        given: One of :attr:`MaskSettings.makers`.
        settings: Further options.
        device: Where CLIPSeg runs.

    Raises:
        InputError: A file or a model that it needs cannot be read.
    """
    name, _, rest = given.partition(":")
    if name == "clipseg":
        return ClipSegMasks(rest, settings, device)
    if name == "detections":
        return DetectionMasks(rest, settings)
    if name == "segments":
        return SegmentMasks(settings)
    return {"given": _given, "difference": _difference}[name]


@lru_cache(maxsize=_KEPT)
def read_image(path: Path) -> tuple[npt.NDArray[np.uint8], tuple[int, int]]:
    """Read an image as makers look at it: at most 384 pixels long; and its own height and width."""
    from PIL import Image

    pixels = read_pixels(path)
    size = pixels.shape[0], pixels.shape[1]
    ratio = _LARGEST / max(size)
    if ratio < 1:
        smaller = max(1, round(size[1] * ratio)), max(1, round(size[0] * ratio))
        pixels = np.asarray(Image.fromarray(pixels).resize(smaller, Image.Resampling.BICUBIC, reducing_gap=2.0))
    return pixels, size


def _given(units: Sequence[Unit]) -> list[UnitMasks]:
    """Read the masks of the data set, soft as they are."""
    found = []
    for unit in units:
        masks = [None if path is None else _read_mask(path) for path in unit.given]
        empty = all(mask is None or not mask.any() for mask in masks)
        found.append(UnitMasks(reason="the data set gives no mask") if empty else UnitMasks(masks[0], masks[1]))
    return found


def _read_mask(path: Path) -> npt.NDArray[np.float32]:
    if split_image_path(str(path))[1] is not None:
        return np.asarray(read_pixels(path, mask=True), np.float32)
    return np.asarray(np.asarray(open_image(path).convert("L")) / 255, np.float32)


def _difference(units: Sequence[Unit]) -> list[UnitMasks]:
    made: dict[tuple[Path | None, Path | None], UnitMasks] = {}
    for unit in units:
        pair = unit.reference, unit.target
        if pair not in made and unit.reference is not None and unit.target is not None:
            marked = mark_difference(read_image(unit.reference)[0], read_image(unit.target)[0])
            made[pair] = UnitMasks(reason=marked) if isinstance(marked, str) else UnitMasks(*marked)
    return [made[unit.reference, unit.target] for unit in units]


class SegmentMasks:
    """The object before an even background, unless the text speaks of the background.

    Args:
        settings: ``words`` says how that is found.
    """

    def __init__(self, settings: MaskSettings) -> None:
        self.find = thing_finder(settings.words)

    def __call__(self, units: Sequence[Unit]) -> list[UnitMasks]:
        """Make the masks of each unit; each image is looked at once."""
        made: dict[Path, npt.NDArray[np.float32] | str] = {}
        found = []
        for unit in units:
            if "background" in self.find(unit.text):
                found.append(UnitMasks(reason="the text speaks of the background"))
                continue
            sides = []
            for path in (unit.reference, unit.target):
                if path is not None and path not in made:
                    made[path] = mark_foreground(read_image(path)[0])
                sides.append("" if path is None else made[path])
            masks = [None if isinstance(side, str) else side for side in sides]
            reason = next((side for side in sides if isinstance(side, str)), None)
            found.append(UnitMasks(masks[0], masks[1], None if any(mask is not None for mask in masks) else reason))
        return found


def words_for(unit: Unit, find: Callable[[str], tuple[str, ...]], *, whole: bool) -> tuple[tuple[str, ...], str]:
    """Return the things that a unit speaks of, and how they are known: ``text``, ``subject``, or empty."""
    things = find(unit.text)
    if things:
        return things, "text"
    return ((unit.subject,), "subject") if whole and unit.subject else ((), "")


class DetectionMasks:
    """Boxes of a detector whose label the text names.

    Args:
        file: As :func:`~mmgrad_explain.data.detections.read_detections` reads it.
        settings: ``least`` is the least score; ``whole`` takes boxes of the subject where the text names no label.
    """

    def __init__(self, file: str, settings: MaskSettings) -> None:
        from mmgrad_explain.data.detections import read_detections

        self.detections = read_detections(Path(file).expanduser())
        self.settings = settings

    def __call__(self, units: Sequence[Unit]) -> list[UnitMasks]:
        """Make the masks of each unit."""
        return [self._make(unit) for unit in units]

    def _make(self, unit: Unit) -> UnitMasks:
        reason: str | None = None
        for text in dict.fromkeys((unit.text, unit.subject if self.settings.whole else "")):
            if not text:
                continue
            sides = [
                self._side(path, names, text)
                for path, names in ((unit.reference, unit.names), (unit.target, unit.target_names))
            ]
            masks = [None if isinstance(side, str) else side for side in sides]
            if any(mask is not None for mask in masks):
                own = text == unit.text
                return UnitMasks(masks[0], masks[1], words=text, named_by="text" if own else "subject")
            reason = reason or next(side for side in sides if isinstance(side, str))
        return UnitMasks(reason=reason)

    def _side(self, path: Path | None, names: Sequence[str], text: str) -> npt.NDArray[np.float32] | str:
        from mmgrad_explain.data.detections import detection_masks

        name = next((name for name in names if name in self.detections.found), None)
        if name is None or path is None:
            return "the detector's file has no such image"
        size = self.settings.size
        sizes = {} if name in self.detections.sizes else {name: read_image(path)[1]}
        made = detection_masks(
            self.detections, [name], [text], size=(size, size), min_score=self.settings.least, image_sizes=sizes
        )
        return made.reasons[0] or np.asarray(made.masks[0].numpy(), np.float32)


class ClipSegMasks:
    """CLIPSeg's masks of the things that a text names.

    Args:
        model: A folder or hub id; empty takes the default.
        settings: ``least`` is the least peak of a mask; ``whole`` marks the subject where the text names nothing.
        device: Where to run.
    """

    def __init__(self, model: str, settings: MaskSettings, device: str) -> None:
        from mmgrad_explain.data.pseudo_masks import SEGMENTER, ReferringSegmenter

        self.find = thing_finder(settings.words)
        self.segmenter = ReferringSegmenter.from_pretrained(model or SEGMENTER, device)
        self.settings = settings

    def __call__(self, units: Sequence[Unit]) -> list[UnitMasks]:
        """Make the masks of each unit; a thing counts on the side where it is found, several as their union."""
        asked, sources = zip(*(words_for(unit, self.find, whole=self.settings.whole) for unit in units), strict=True)
        tasks = dict.fromkeys(
            (path, thing)
            for unit, things in zip(units, asked, strict=True)
            for path in (unit.reference, unit.target)
            for thing in things
            if path is not None
        )
        found = self._run(list(tasks))
        made = []
        for unit, things, named_by in zip(units, asked, sources, strict=True):
            if not things:
                made.append(UnitMasks(reason="the text names no thing"))
                continue
            sides = [
                [found[path, thing] for thing in things if path is not None and (path, thing) in found]
                for path in (unit.reference, unit.target)
            ]
            masks = [np.stack(side).max(0) if side else None for side in sides]
            words = ", ".join(things)
            reason = None if any(sides) else f"the thing of the {named_by} is not found in either image"
            made.append(UnitMasks(masks[0], masks[1], reason, words, named_by))
        return made

    def _run(self, tasks: Sequence[tuple[Path, str]]) -> dict[tuple[Path, str], Any]:
        """Mark things in images; those that are not found are left out."""
        from PIL import Image

        found: dict[tuple[Path, str], Any] = {}
        for start in range(0, len(tasks), 16):
            part = tasks[start : start + 16]
            images = [Image.fromarray(read_image(path)[0]) for path, _ in part]
            made = self.segmenter(images, [f"a {thing}" for _, thing in part], least=self.settings.least, batch=16)
            masks = made.masks.cpu().numpy()
            found |= {part[i]: masks[i] for i, good in enumerate(made.supervised.tolist()) if good}
        return found
