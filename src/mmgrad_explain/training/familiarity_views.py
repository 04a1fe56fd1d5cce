"""Images of a folder and views of them, to learn and to measure which images a model does not know."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.images.suffixes import IMAGE_SUFFIXES
from mmgrad_explain.training.sources.photo_folder import share_of_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

HALVED = 100
"""Number of images in a folder above which half of them are kept for measuring."""
_LARGEST = 512  # pixels of the longer side


def list_images(folder: Path, *, held_out: bool = False, without: Collection[str] = ()) -> list[Path]:
    """List the image files of a folder and its subfolders, sorted; of a large folder one half, chosen by their names.

    Args:
        folder: The folder.
        held_out: Take the half that is kept for measuring.
        without: Names, without suffix, of images to leave out.

    Raises:
        InputError: If there are no images.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    found = [path for path in files if path.stem not in without]
    if len(files) > HALVED:
        found = [path for path in found if (share_of_name(path.stem) < 0.5) == held_out]
    if not found:
        raise InputError(f"folder {folder} holds no images to use")
    return found


def make_views(
    files: Sequence[Path], count: int, seed: int, kinds: Sequence[str] = ()
) -> Iterator[tuple[str, Image.Image]]:
    """Make views of images; equal seeds give equal views.

    Args:
        files: Image files, used equally often.
        count: Number of views.
        seed: Seed of the random part of a view.
        kinds: Names from :data:`VIEWS`, used in turn; all of them if there are none.

    Yields:
        The name of the view, and its image; all views of a file, then all of the next.
    """
    named = list(kinds or VIEWS)
    for index, file in enumerate(files[:count]):
        image = open_image(file)
        image.thumbnail((_LARGEST, _LARGEST))
        for number in range(index, count, len(files)):
            kind = named[(number + number // len(files)) % len(named)]
            yield kind, VIEWS[kind](image, np.random.default_rng([seed, number]))


def _crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    width, height = (max(8, int(side * (0.2 + 0.75 * rng.random()))) for side in image.size)
    left, top = int(rng.random() * (image.width - width + 1)), int(rng.random() * (image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


def _frame(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Cut a large part out, in a shape from 1:2 to 16:9, mirrored or not, as photographers frame one scene differently.

    One in four has bars instead, as where a whole image was put into another shape.
    """
    shape = 0.5 * (32 / 9) ** rng.random()  # width over height
    if rng.random() < 0.5:
        image = ImageOps.mirror(image)
    if rng.random() < 0.25:
        return add_bars(image, shape, int(rng.choice([0, 255, 255 * rng.random()])))
    return cut(image, shape, 1 - 0.3 * rng.random(), (rng.random(), rng.random()))


def cut(image: Image.Image, shape: float, share: float = 1.0, place: tuple[float, float] = (0.5, 0.5)) -> Image.Image:
    """Cut a part of another shape out of an image.

    Args:
        image: The image.
        shape: Width over height of the part.
        share: Its sides, over those of the largest part of this shape.
        place: How far right and down it lies, from 0 to 1.
    """
    width = min(image.width, image.height * shape) * share
    height = width / shape
    left, top = place[0] * (image.width - width), place[1] * (image.height - height)
    right, bottom = max(left + 8, left + width), max(top + 8, top + height)
    return image.crop((int(left), int(top), int(right), int(bottom)))


def add_bars(image: Image.Image, shape: float, level: int = 0) -> Image.Image:
    """Put the whole image in the middle of one of another shape (width over height), between bars of a grey level."""
    size = max(image.width, round(image.height * shape)), max(image.height, round(image.width / shape))
    laid = Image.new("RGB", size, (level, level, level))
    laid.paste(image, ((size[0] - image.width) // 2, (size[1] - image.height) // 2))
    return laid


def _shrink(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    factor = (48 + 100 * rng.random()) / max(image.size)
    return image.resize((max(8, int(image.width * factor)), max(8, int(image.height * factor))))


def _compress(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(10 + 60 * rng.random()))
    return Image.open(buffer).convert("RGB")


def _blur(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(max(image.size) * (0.004 + 0.012 * rng.random())))


def _tilt(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    width, height = image.size
    turned = image.rotate(40 * rng.random() - 20, Image.Resampling.BICUBIC)
    return turned.crop((width // 6, height // 6, width - width // 6, height - height // 6))


def _relight(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    light = (np.asarray(image) / 255) ** (2 ** (2 * rng.random() - 1)) * (0.5 + rng.random())
    return _image_of(light * (1 + 0.3 * (rng.random(3) - 0.5)) * 255)


def _add_noise(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image)
    return _image_of(pixels + rng.standard_normal(pixels.shape) * (5 + 20 * rng.random()))


def _image_of(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


VIEWS: dict[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "whole": lambda image, _: image,
    "crop": _crop,
    "framed": _frame,
    "small": _shrink,
    "jpeg": _compress,
    "grey": lambda image, _: image.convert("L").convert("RGB"),
    "blurred": _blur,
    "turned": lambda image, rng: image.rotate(90 * int(1 + 3 * rng.random()), expand=True),
    "tilted": _tilt,
    "light": _relight,
    "noisy": _add_noise,
}
"""Functions that make a view of an image, by name."""

FRAMINGS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "whole": lambda image: image,
    "mirrored": ImageOps.mirror,
    "square, top": lambda image: cut(image, 1, 1, (0.5, 0)),
    "square, middle": lambda image: cut(image, 1),
    "square, bottom": lambda image: cut(image, 1, 1, (0.5, 1)),
    "4:3, upper": lambda image: cut(image, 4 / 3, 1, (0.5, 0.1)),
    "3:4": lambda image: cut(image, 3 / 4),
    "1:2": lambda image: cut(image, 1 / 2),
    "zoomed, upper": lambda image: cut(image, image.width / image.height, 0.75, (0.5, 0)),
    "bars, square": lambda image: add_bars(image, 1),
    "bars, 16:9": lambda image: add_bars(image, 16 / 9, 255),
}
"""The same image as others would frame it, always alike, by name: to measure on."""
