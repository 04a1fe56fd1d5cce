"""The contact sheet: every triplet is on it, and damage is said."""

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.data.contact_sheet import choose_evenly, draw_contact_sheet
from mmgrad_explain.data.triplets import Triplet
from mmgrad_explain.errors import InputError


@pytest.fixture
def triplets(tmp_path):
    mask = np.zeros((40, 30), np.uint8)
    mask[10:20, 5:25] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    Image.new("RGB", (30, 40), (0, 0, 255)).save(tmp_path / "reference.png")
    Image.new("RGB", (30, 40), (255, 0, 0)).save(tmp_path / "target.png")
    return [
        Triplet(str(i), "reference.png", "make the dress red " * (1 + 4 * i), "target.png", "mask.png", "dress",
                "recolour", folder=tmp_path)
        for i in range(5)
    ]  # fmt: skip


def test_all_are_shown(triplets):
    sheet = draw_contact_sheet(triplets, columns=2, height=64)
    assert sheet.mode == "RGB"
    pixels = np.asarray(sheet).astype(int)
    blue = (np.abs(pixels - (0, 0, 255)).sum(2) < 30).sum()
    red = (np.abs(pixels - (255, 0, 0)).sum(2) < 30).sum()
    assert red == pytest.approx(5 * 64 * 48, rel=0.05)
    assert blue == pytest.approx(5 * 64 * 48 * (1 + 200 / 1200), rel=0.1)  # the reference, and the object on its mask
    assert (pixels.sum(2) < 150).sum() > 200  # letters
    wide = draw_contact_sheet(triplets[:1], columns=9, height=64)
    assert wide.width == sheet.width // 2
    assert sheet.height == 3 * wide.height


def test_wide_pictures_are_shown_whole_in_less_height(triplets):
    folder = triplets[0].folder
    for name in ("reference", "target", "mask"):
        with Image.open(folder / f"{name}.png") as image:
            image.resize((400, 40)).save(folder / f"{name}.png")
    assert draw_contact_sheet(triplets[:1], height=64).width < 3 * 64 * 1.2 + 30


def test_spread_takes_from_all_over(triplets):
    assert [t.id for t in choose_evenly(triplets, 2)] == ["0", "2"]
    assert choose_evenly(triplets, 9) == triplets


def test_refusals(triplets):
    with pytest.raises(InputError, match="triplets is empty"):
        draw_contact_sheet([])
    with pytest.raises(InputError, match="columns must be at least 1 and height at least 32, got 0 and 160"):
        draw_contact_sheet(triplets, columns=0)
    (triplets[0].folder / "target.png").unlink()
    with pytest.raises(InputError, match="no such file"):
        draw_contact_sheet(triplets)
