"""A folder of small labelled photographs."""

import json

import numpy as np
import pytest
from PIL import Image

NAMES = ["null", "coat", "bag", "skin", "shoes"]


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory):
    """Twelve pictures, 40x60: a blue coat, a green bag, skin, yellow shoes, in other places each time."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "photos").mkdir()
    (folder / "labels").mkdir()
    (folder / "labels.json").write_text(json.dumps(NAMES))
    rng = np.random.default_rng(0)
    for number in range(12):
        pixels = rng.integers(110, 150, (60, 40, 3), dtype=np.uint8)
        labels = np.zeros((60, 40), np.uint8)
        shift = int(rng.integers(0, 8))
        for label, color, rows, columns in (
            (1, (40, 60, 170), (14, 38), (6 + shift, 26 + shift)),
            (2, (40, 150, 60), (30, 42), (26 + shift // 2, 36 + shift // 2)),
            (3, (210, 170, 150), (4, 13), (12 + shift, 20 + shift)),
            (4, (220, 200, 60), (50, 58), (8 + shift, 24 + shift)),
        ):
            place = (slice(*rows), slice(*columns))
            pixels[place] = np.clip(np.array(color) + rng.integers(-20, 20, pixels[place].shape), 0, 255)
            labels[place] = label
        Image.fromarray(pixels).save(folder / "photos" / f"{number:03}.png")
        Image.fromarray(labels).save(folder / "labels" / f"{number:03}.png")
    return folder
