"""Makes one photograph's triplets: what a worker process does for a set of edited photographs."""

from __future__ import annotations

import json
import re
import time
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from mmgrad_explain.data.edit_sides import find_object_side, is_on_target_only
from mmgrad_explain.data.edits.plan import make_edits, measure_change
from mmgrad_explain.data.instances.records import Licence
from mmgrad_explain.data.set_builder import MadeTriplets
from mmgrad_explain.data.triplets import Triplet
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.reading import open_image

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from mmgrad_explain.data.edits.options import EditOptions, OutputOptions
    from mmgrad_explain.data.edits.plan import Edit
    from mmgrad_explain.data.instances.records import Photo

_QUALITY = 95
_LONGEST_KEY, _LONGEST_CLASS = 120, 80  # bytes, in the name of a file


def hash_photo_name(name: str) -> int:
    """Return a number that depends on a photograph's name alone."""
    return zlib.crc32(name.encode(errors="surrogateescape"))


def make_photo_keys(names: Iterable[str]) -> dict[str, str]:
    """Make a unique key of each photograph's name that can be part of a file's name."""
    keys = {name: re.sub(r"[^\w-]+", "-", name.rpartition(".")[0] or name) for name in names}
    short = {name: _shorten(key, _LONGEST_KEY) for name, key in keys.items()}
    taken = Counter(short.values())
    return {
        name: key if taken[key] == 1 and key == keys[name] else f"{key}-{hash_photo_name(name):08x}"
        for name, key in short.items()
    }


def _shorten(text: str, most: int) -> str:
    """Cut a text to at most so many bytes: a file's name has up to 255."""
    return text.encode()[:most].decode(errors="ignore")


def make_triplets(photo: Photo, key: str, options: EditOptions, output: OutputOptions) -> MadeTriplets:
    """Make one photograph's triplets. The result depends on the arguments and the photograph's files alone.

    Args:
        photo: The photograph.
        key: Begins the triplets' ids and the files' names.
        options: Which edits.
        output: How triplets become files.

    Returns:
        The line for the journal, with ``photo``, ``records``, ``skipped`` (the counted reasons why edits were left out)
        and ``problems`` (what was wrong with the photograph's files); and the content of the files.
    """
    began = time.thread_time()
    edits: list[Edit] = []
    skipped: Counter[str] = Counter()
    try:
        image = np.asarray(open_image(photo.image))
        instances, problems = photo.instances(*image.shape[:2])
    except InputError as error:
        problems = [str(error)]
    else:
        rng = np.random.default_rng([options.seed, hash_photo_name(photo.name)])
        edits, skipped = make_edits(image, instances, options, rng)
        if not edits:
            skipped["photograph without an edit"] += 1
    drawing = time.thread_time() - began
    records, files = _make_files(photo, key, edits, output)
    entry = {
        "photo": photo.name,
        "records": records,
        "skipped": dict(sorted(skipped.items())),
        "problems": problems,
    }
    line = json.dumps(entry, ensure_ascii=False).encode() + b"\n"
    return MadeTriplets(line, len(records), files, drawing)


def _make_files(
    photo: Photo, key: str, edits: list[Edit], output: OutputOptions
) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    classes = [re.sub(r"[^a-z0-9]+", "-", edit.class_name.lower())[:_LONGEST_CLASS] for edit in edits]
    ids = [f"{key}_{i}_{edit.kind}_{name}" for i, (edit, name) in enumerate(zip(edits, classes, strict=True))]
    plain = f"references/{key}.{output.format}"  # the photograph as it is
    licence = photo.licence or Licence(output.licence)
    files: dict[str, bytes] = {}
    records = []
    for name, edit in zip(ids, edits, strict=True):
        added = is_on_target_only(edit.kind)
        reference = f"references/{name}.{output.format}" if added else plain
        target = plain if added else f"targets/{name}.{output.format}"
        for path, pixels in ((reference, edit.reference), (target, edit.target)):
            if path not in files:
                files[path] = _encode(pixels, output.format)
        mask = f"masks/{name}.png"
        files[mask] = _encode(edit.mask.astype(np.uint8) * np.uint8(255), "png")
        change = measure_change(_decode(files[reference]), _decode(files[target]), edit.mask, edit.dilate)
        rows, columns = np.flatnonzero(edit.mask.any(1)), np.flatnonzero(edit.mask.any(0))
        left, top = int(columns[0]), int(rows[0])
        triplet = Triplet(
            id=name, reference=reference, text=edit.text, target=target, mask=mask,
            class_name=edit.class_name, edit=edit.kind, detail=edit.detail, phrase=edit.phrase,
            qualifier=edit.qualifier, n_instances=edit.n_instances, is_thing=edit.is_thing,
            area_frac=round(float(edit.mask.mean()), 4),
            bbox=(left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top),
            width=edit.mask.shape[1], height=edit.mask.shape[0], dilate_px=edit.dilate,
            mask_object_in=find_object_side(edit.kind),
            source=output.source, source_image=photo.name, fold=hash_photo_name(photo.name) % output.folds,
            licence=licence.name, licence_url=licence.url,
            attribution=licence.attribution,
            de_in=round(change.de_in, 2), changed_in=round(change.changed_in, 3), de_out=round(change.de_out, 3),
            mean_shift=round(change.mean_shift, 2),
            contrast_ids=tuple(
                other
                for other, partner in zip(ids, edits, strict=True)
                if partner.text != edit.text and not (partner.mask & edit.mask).any()
            ),
        )  # fmt: skip
        records.append(triplet.to_record())
    return records, files


def _encode(pixels: npt.NDArray[np.uint8], kind: str) -> bytes:
    import cv2

    if pixels.ndim == 3:
        pixels = np.ascontiguousarray(pixels[..., ::-1])
    settings = [cv2.IMWRITE_PNG_COMPRESSION, 3]
    if kind == "jpg":
        full = int(cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)  # colour at full resolution, or it leaks over a mask's edge
        settings = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, full]
    return bytes(cv2.imencode(f".{kind}", pixels, settings)[1])


def _decode(data: bytes) -> npt.NDArray[np.uint8]:
    import cv2

    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(pixels, np.uint8)[..., ::-1]
