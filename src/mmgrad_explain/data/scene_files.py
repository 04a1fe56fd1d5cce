"""Scenes as files: what a worker process does for a triplet set of generated scenes."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mmgrad_explain.data.scene_contrast import apart
from mmgrad_explain.data.scene_options import SceneOptions
from mmgrad_explain.data.scene_text import named_by
from mmgrad_explain.data.scenes import scenes
from mmgrad_explain.data.triplets import Triplet
from mmgrad_explain.errors import InputError
from mmgrad_explain.images import open_image

if TYPE_CHECKING:
    from pathlib import Path

    from mmgrad_explain.data.scenes import Scene, SceneTriplet

FOLDERS = ("references", "targets", "masks")

DILATE = 4
"""How far beyond the masks the pictures differ, in pixels: as far as blur carries a change."""

_CHANGED = 5.0  # a colour difference that is seen at once
_QUALITY = 95
_loaded: dict[tuple[str, ...], tuple[np.ndarray, ...]] = {}


@dataclass(frozen=True)
class SceneSetOptions:
    """What a triplet set of scenes is made of; equal options give equal sets, and fewer triplets the beginning of more.

    Attributes:
        seed: Names the series of scenes.
        size: Side of the pictures in pixels, 32 to 512.
        edits: Triplets of a scene, 1 to 16.
        format: ``"png"`` or ``"jpg"``; masks are PNG.
        pairs: See :class:`~mmgrad_explain.data.scene_options.SceneOptions`.
        templates: See there.
        objects: See there.
        backdrops: Files of pictures to lay the shapes on; drawn backgrounds if there are none.
    """

    seed: int = 0
    size: int = 96
    edits: int = 4
    format: str = "png"
    pairs: str = "training"
    templates: str = "training"
    objects: tuple[int, int] = (1, 6)
    backdrops: tuple[str, ...] = ()

    def check(self) -> None:
        """Find out whether sets can be made of these.

        Raises:
            InputError: If a value is unknown or out of range, or a backdrop cannot be read.
        """
        if self.format not in ("png", "jpg"):
            raise InputError(f"format must be 'png' or 'jpg', got {self.format!r}")
        scenes(self.seed, 0, size=self.size, edits=self.edits, options=self.scene_options())

    def scene_options(self) -> SceneOptions:
        """The generator's options; pictures are read once a process."""
        if self.backdrops not in _loaded:
            _loaded[self.backdrops] = tuple(np.asarray(open_image(file)) for file in self.backdrops)
        return SceneOptions(
            pairs=self.pairs, templates=self.templates, objects=self.objects, backdrops=_loaded[self.backdrops]
        )


def prepare_worker() -> None:
    """Let a worker process use one thread, and leave Ctrl-C to the process that started it."""
    import cv2

    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def write_scenes(out: Path, options: SceneSetOptions, start: int, stop: int) -> tuple[bytes, float]:
    """Draw scenes and write their pictures and masks.

    Args:
        out: The set's folder, with :data:`FOLDERS` in it.
        options: What scenes.
        start: The first scene.
        stop: The one after the last.

    Returns:
        One line of JSON: the numbers of the scenes, and the records of their triplets. And the CPU seconds that
        drawing took, without the files.

    Raises:
        InputError: If a file cannot be written.
    """
    drawn = scenes(
        options.seed, stop - start, size=options.size, edits=options.edits, start=start, options=options.scene_options()
    )
    records = []
    seconds, began = 0.0, time.thread_time()
    try:
        for index, scene in enumerate(drawn, start):
            seconds += time.thread_time() - began
            files, triplets = _files(scene, index, options)
            for path, pixels in files.items():
                with open(f"{out}{os.sep}{path}", "wb", buffering=0) as stream:  # noqa: PTH123 - twice as fast
                    stream.write(_encode(pixels, path[-3:]))
            records += [triplet.to_record() for triplet in triplets]
            began = time.thread_time()
    except OSError as error:
        raise InputError(f"cannot write to {out}: {error.strerror}; make room, then go on with --resume") from error
    return json.dumps({"scenes": (start, stop), "records": records}).encode() + b"\n", seconds


def _files(scene: Scene, index: int, options: SceneSetOptions) -> tuple[dict[str, np.ndarray], list[Triplet]]:
    """The pixels of a scene's files by path, and its triplets."""
    ids = [f"{index:07d}_{number}_{triplet.edit}" for number, triplet in enumerate(scene.triplets)]
    reference = f"references/{index:07d}.{options.format}"
    files = {reference: scene.reference}
    before, after = (np.stack([getattr(t, f"{side}_mask") for t in scene.triplets]) for side in ("reference", "target"))
    partners = apart(before, after, [t.edit for t in scene.triplets])
    triplets = []
    for name, triplet, row in zip(ids, scene.triplets, partners, strict=True):
        target, mask, second = f"targets/{name}.{options.format}", f"masks/{name}.png", f"masks/{name}_target.png"
        files |= {target: triplet.target, mask: triplet.reference_mask}
        if np.array_equal(triplet.reference_mask, triplet.target_mask):
            second = mask
        else:
            files[second] = triplet.target_mask
        contrast = tuple(other for other, fits in zip(ids, row, strict=True) if fits)
        triplets.append(_triplet(scene, triplet, (name, reference, target, mask), contrast, second, index))
    return files, triplets


def _triplet(
    scene: Scene,
    triplet: SceneTriplet,
    names: tuple[str, str, str, str],
    contrast: tuple[str, ...],
    second: str,
    index: int,
) -> Triplet:
    name, reference, target, mask = names
    shapes = [thing.shape for thing in triplet.objects]
    rows, columns = (np.flatnonzero(triplet.reference_mask.any(axis)) for axis in (1, 0))
    left, top = int(columns[0]), int(rows[0])
    return Triplet(
        id=name, reference=reference, text=triplet.text, target=target, mask=mask,
        class_name=" and ".join(shapes), edit=triplet.edit, phrase=triplet.subject, qualifier=named_by(triplet.subject),
        n_instances=max(1, sum(thing.shape == shapes[0] for thing in scene.objects)),
        area_frac=round(np.count_nonzero(triplet.reference_mask) / triplet.reference_mask.size, 4),
        bbox=(left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top),
        width=len(scene.reference), height=len(scene.reference), dilate_px=DILATE,
        mask_object_in={"add": "target", "remove": "reference"}.get(triplet.edit, "both"),
        source="generated scenes", source_image=f"{index:07d}", attribution="drawn by mmgrad-explain data scenes",
        contrast_ids=contrast, other={"target_mask": second}, **_measured(scene, triplet),
    )  # fmt: skip


def _measured(scene: Scene, triplet: SceneTriplet) -> dict[str, Any]:
    """Colour differences in CIE Lab: inside both masks, and outside on every fourth pixel of every fourth row."""
    import cv2

    inside = triplet.reference_mask | triplet.target_mask
    around = cv2.dilate(inside.view(np.uint8), np.ones((2 * DILATE + 1, 2 * DILATE + 1), np.uint8))
    outside = around[::4, ::4] == 0
    count = int(np.count_nonzero(inside))
    lab = [
        cv2.cvtColor(np.concatenate([picture[inside], picture[::4, ::4][outside]])[None], cv2.COLOR_RGB2LAB)[0]
        for picture in (scene.reference, triplet.target)
    ]
    step = (lab[1].astype(np.float32) - lab[0]) * np.array([100 / 255, 1, 1], np.float32)
    distance = np.sqrt((step * step).sum(1))
    shift = float(np.linalg.norm(step[:count].sum(0))) / count
    return {
        "de_in": round(float(distance[:count].sum()) / count, 2),
        "changed_in": round(np.count_nonzero(distance[:count] > _CHANGED) / count, 3),
        "de_out": round(float(distance[count:].sum()) / max(1, len(distance) - count), 3),
        "mean_shift": round(shift, 2),
    }


def _encode(pixels: np.ndarray, kind: str) -> bytes:
    import cv2

    pixels = pixels * np.uint8(255) if pixels.dtype == bool else np.ascontiguousarray(pixels[..., ::-1])
    settings = [
        cv2.IMWRITE_PNG_STRATEGY,
        cv2.IMWRITE_PNG_STRATEGY_RLE,
    ]  # half the time, and smaller: noise has no words
    if kind == "jpg":
        full = int(cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)  # colour at full resolution, or it leaks over a mask's edge
        settings = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, full]
    return bytes(cv2.imencode(f".{kind}", pixels, settings)[1])
