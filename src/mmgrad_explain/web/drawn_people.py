"""Drawn people in a street: example images for a model of clothes, so that no photograph has to ship."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 240, 360
_FINE = 3  # drawn this many times larger, then shrunk
_COLOURS = {
    "red": (178, 34, 40), "blue": (48, 72, 150), "green": (46, 112, 66), "yellow": (214, 180, 62),
    "white": (228, 226, 222), "black": (34, 33, 36), "gray": (128, 128, 130), "brown": (110, 76, 50),
    "pink": (214, 140, 160), "orange": (210, 112, 44), "purple": (104, 62, 128),
}  # fmt: skip
_SKIN, _HAIR = (214, 172, 146), (62, 44, 34)

# Outlines in hundredths of the width and of the height.
_SHAPES = {
    "trousers": [(41, 50), (59, 50), (61, 70), (60, 91), (53, 91), (50, 60), (47, 91), (40, 91), (39, 70)],
    "skirt": [(41, 48), (59, 48), (67, 70), (33, 70)],
    "shirt": [(44, 21), (56, 21), (64, 26), (70, 48), (65, 50), (60, 34), (60, 51), (40, 51), (40, 34), (35, 50),
              (30, 48), (36, 26)],
    "dress": [(44, 21), (56, 21), (63, 26), (66, 38), (61, 39), (59, 33), (59, 44), (68, 73), (32, 73), (41, 44),
              (41, 33), (39, 39), (34, 38), (37, 26)],
    "coat": [(43, 20), (57, 20), (66, 25), (73, 50), (66, 52), (62, 36), (65, 68), (51, 68), (50, 24), (49, 68),
             (35, 68), (38, 36), (34, 52), (27, 50), (34, 25)],
    "shoes": [(39, 90), (47, 90), (47, 94), (35, 94), (35, 92)],
}  # fmt: skip


@dataclass(frozen=True)
class DrawnPerson:
    """A drawn person.

    Attributes:
        garments: Name and colour of each garment, in the order in which they are put on; a colour may begin with
            "striped ".
        seed: Seed of the street behind the person.
    """

    garments: tuple[tuple[str, str], ...]
    seed: int = 0

    def wearing(self, garment: str, colour: str) -> DrawnPerson:
        """Return the same person with one garment in another colour.

        Raises:
            InputError: The person does not wear it.
        """
        if garment not in dict(self.garments):
            raise InputError(f"garment {garment!r}: the figure wears {', '.join(dict(self.garments))}")
        changed = tuple((name, colour if name == garment else old) for name, old in self.garments)
        return DrawnPerson(changed, self.seed)

    def draw(self) -> Image.Image:
        """Draw the person, 240 x 360 pixels; the same each time."""
        rng = np.random.default_rng(self.seed)
        picture = _draw_street(rng)
        draw = ImageDraw.Draw(picture)
        draw.ellipse(_scale([(28, 91), (72, 97)]), fill=(84, 82, 80))
        for side in (1, -1):
            _draw_polygon(draw, [(50 + side * x, y) for x, y in ((2, 66), (9, 66), (9, 92), (4, 92))], _SKIN)
            _draw_polygon(
                draw, [(50 + side * x, y) for x, y in ((13, 26), (18, 30), (21, 53), (17, 54), (11, 36))], _SKIN
            )
        _draw_polygon(draw, [(47, 17), (53, 17), (55, 23), (45, 23)], _SKIN)
        draw.ellipse(_scale([(43, 5), (57, 21)]), fill=_HAIR)
        draw.ellipse(_scale([(44.5, 8), (55.5, 20)]), fill=_SKIN)
        for garment, colour in self.garments:
            _put_on(picture, garment, colour)
        lit = np.asarray(picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS), np.float32)
        across = np.linspace(1.06, 0.9, WIDTH, dtype=np.float32)[None, :, None]
        grain = rng.standard_normal((HEIGHT, WIDTH, 1)).astype(np.float32) * 3
        return Image.fromarray(np.clip(lit * across + grain, 0, 255).astype(np.uint8))


def _draw_street(rng: np.random.Generator) -> Image.Image:
    """Draw a wall of bricks with a door, out of focus, and a pavement."""
    wall = Image.new("RGB", (WIDTH * _FINE, HEIGHT * _FINE), tuple(int(v) for v in rng.integers(120, 190, 3)))
    draw = ImageDraw.Draw(wall)
    for row in range(18):
        for column in range(-1, 9):
            tone = [int(v) for v in (rng.normal(0, 9) + np.array([158, 136, 122]))]
            left = column * 12 + 6 * (row % 2)
            draw.rectangle(_scale([(left + 0.4, row * 4.5 + 0.3), (left + 11.6, row * 4.5 + 4.2)]), fill=tuple(tone))
    left = int(rng.integers(2, 16))
    draw.rectangle(_scale([(left, 12), (left + 24, 81)]), fill=tuple(int(v) for v in rng.integers(40, 110, 3)))
    draw.rectangle(_scale([(0, 81), (100, 100)]), fill=(142, 140, 138))
    for line in range(5):
        draw.line(_scale([(line * 25 - 5, 100), (line * 20 + 10, 81)]), fill=(118, 116, 114), width=_FINE)
    return wall.filter(ImageFilter.GaussianBlur(2.5 * _FINE))


def _put_on(picture: Image.Image, garment: str, colour: str) -> None:
    """Draw a garment with folds, and with stripes where its colour has them."""
    mask = Image.new("L", picture.size)
    draw = ImageDraw.Draw(mask)
    _draw_polygon(draw, _SHAPES[garment], 255)
    if garment == "shoes":
        _draw_polygon(draw, [(100 - x, y) for x, y in _SHAPES[garment]], 255)
    name = colour.removeprefix("striped ")
    y, x = np.mgrid[: picture.height, : picture.width].astype(np.float32) / _FINE
    folds = 1 + 0.1 * np.sin(x / 5 + 1.5 * np.sin(y / 40)) + 0.06 * np.sin(y / 17 + x / 9)
    cloth = np.array(_COLOURS[name], dtype=np.float32) * folds[..., None]
    if name != colour:
        cloth = np.where((y % 12 < 5)[..., None], np.array(_COLOURS["white"], dtype=np.float32), cloth)
    picture.paste(Image.fromarray(np.clip(cloth, 0, 255).astype(np.uint8)), (0, 0), mask)


def _scale(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(x * WIDTH * _FINE / 100, y * HEIGHT * _FINE / 100) for x, y in points]


def _draw_polygon(
    draw: ImageDraw.ImageDraw, points: Sequence[tuple[float, float]], fill: int | tuple[int, int, int]
) -> None:
    draw.polygon(_scale(points), fill=fill)
