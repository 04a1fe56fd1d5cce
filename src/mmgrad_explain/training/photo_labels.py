"""Label photographs by a trained segmentation network, as a folder to train on.

The labels are as good as that network is: where it is unsure, a pixel is marked as unknown.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from PIL.Image import Resampling
from torch.nn import functional as F

from mmgrad_explain._system.files import atomic_file
from mmgrad_explain._system.user_files import reading
from mmgrad_explain.composers.reference.config import NetworkConfig
from mmgrad_explain.composers.reference.segmenter import Segmenter
from mmgrad_explain.composers.reference.trunk import build_trunk
from mmgrad_explain.data.batches.batch import IGNORE
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.placement import fit
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.images.suffixes import IMAGE_SUFFIXES
from mmgrad_explain.training.sources.photo_folder import read_tags
from mmgrad_explain.training.trunk_weights import load_head_weights, load_trunk_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy.typing as npt

_TAPS = (1, 2, 3, 4)


class PhotoLabeller:
    """Labels photographs by DeepLab v3 on MobileNetV2, whose pixels are from -1 to 1.

    Args:
        trunk: Safetensors file of the trunk's weights, with timm's names for ``mobilenetv2_100``.
        head: Safetensors file of the head's weights (:class:`~mmgrad_explain.composers.reference.segmenter.Segmenter`).
        classes: Number of classes, background included.
        size: Side of the square that photographs are fitted into, pixels.
        sure: Least probability of a label; less sure pixels are unknown.

    Raises:
        InputError: Weights cannot be read, or do not fit.
    """

    def __init__(self, trunk: str, head: str, classes: int, *, size: int = 513, sure: float = 0.6) -> None:
        options = {"pad_type": "same", "output_stride": 16}
        config = NetworkConfig(backbone="mobilenetv2_100", backbone_options=options, taps=_TAPS)
        built = build_trunk(config)
        load_trunk_weights(built.module, config, trunk)
        self._trunk = built.module.eval()
        self._head = Segmenter(built.channels[-1], classes).eval()
        load_head_weights(self._head, head)
        self._size = size
        self._sure = sure

    @torch.inference_mode()
    def __call__(self, photo: Image.Image, shown: Sequence[int] | None = None) -> npt.NDArray[np.uint8]:
        """Label the pixels of a photograph, ``(H, W)``: a class, or 255 where none is sure.

        Args:
            photo: The photograph.
            shown: Classes that it may show beside the background; all if None. What looks like another class, and like
                none of them, is unknown.
        """
        fitted, placement = fit(photo, self._size, fill=(127,) * 3)
        pixels = torch.from_numpy(np.array(fitted)).permute(2, 0, 1)[None].float() / 127.5 - 1
        logits = self._head(self._trunk(pixels)[-1])
        logits = F.interpolate(logits, size=(self._size, self._size), mode="bilinear", align_corners=False)[0]
        height, width = (
            min(self._size, max(1, round(n * s))) for n, s in zip(photo.size[::-1], placement.scale, strict=True)
        )
        top, left = (max(0, round(o)) for o in placement.offset)
        logits = logits.float()[:, top : top + height, left : left + width]
        most, label = logits.softmax(0).max(0)
        if shown is not None:
            absent = torch.ones(len(logits), dtype=torch.bool)
            absent[[0, *shown]] = False
            other = absent[label] & (most >= self._sure)
            most, label = logits.masked_fill(absent[:, None, None], -torch.inf).softmax(0).max(0)
            most = most.masked_fill(other & (label == 0), 0)
        labels = label.masked_fill(most < self._sure, IGNORE).byte().numpy()
        return np.asarray(Image.fromarray(labels).resize(photo.size, Resampling.NEAREST))


def label_folder(
    folder: Path, names: Sequence[str], labeller: PhotoLabeller, progress: Callable[[str, int, int], None] | None = None
) -> dict[str, int]:
    """Label the photographs in ``folder/photos`` that have no labels yet: writes ``labels/`` and ``labels.json``.

    Where ``folder/tags.json`` gives a photograph's name the names of what it shows, no other class is looked for in it.

    Args:
        folder: The folder.
        names: Of the classes, the background first.
        labeller: Labels a photograph.
        progress: Called with what is counted, how many are done, and of how many.

    Returns:
        In how many of the folder's photographs each class was found, by name.

    Raises:
        InputError: There are no photographs, one cannot be read, ``labels.json`` lists other names, or a tag is none of
            them.
    """
    photos = sorted(path for path in (folder / "photos").glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not photos:
        raise InputError(f"{folder} has no photos/NAME.jpg to label")
    known = folder / "labels.json"
    if known.exists() and json.loads(known.read_text()) != list(names):
        raise InputError(f"{known} lists other names than those given: label another folder, or remove its labels")
    tags = read_tags(folder, names)
    (folder / "labels").mkdir(exist_ok=True)
    with atomic_file(known, overwrite=True) as stream:
        stream.write(json.dumps(list(names)).encode())
    counts = dict.fromkeys(names, 0)
    for number, path in enumerate(photos, start=1):
        place = folder / "labels" / f"{path.stem}.png"
        if not place.exists():
            tagged = tags.get(path.stem)
            shown = None if tagged is None else [names.index(tag) for tag in tagged]
            with atomic_file(place, overwrite=True) as stream:
                Image.fromarray(labeller(open_image(path), shown)).save(stream, "PNG")
        with reading(f"{place} cannot be read"), Image.open(place) as image:
            found = np.unique(np.asarray(image))
        for label in found[found != IGNORE]:
            counts[names[label]] += 1
        if progress is not None:
            progress("photographs", number, len(photos))
    return counts
