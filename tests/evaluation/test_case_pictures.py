"""Pictures of cases: the region is outlined, the map is on it, and only the worst are kept."""

import io

import numpy as np
from PIL import Image

from mmgrad_explain.evaluation.case_pictures import SIDE, CasePicture, WorstCases, draw_case


def pixels(jpeg):
    return np.asarray(Image.open(io.BytesIO(jpeg))).astype(int)


def test_a_case_shows_region_and_map():
    image = Image.fromarray(np.full((60, 120, 3), 90, np.uint8))
    mask = np.zeros((60, 120), bool)
    mask[10:50, 20:60] = True
    heat = np.zeros((60, 120), np.float32)
    heat[20:40, 80:110] = 7
    found = draw_case(image, mask, {"m": heat, "dead": np.zeros_like(heat)})
    assert (found.width, found.height) == (SIDE, SIDE // 2)
    plain, drawn, dead = pixels(found.image), pixels(found.maps["m"]), pixels(found.maps["dead"])
    edge = (SIDE * 20 // 120, SIDE // 4)
    assert plain[edge[1], edge[0] - 1 : edge[0] + 2].max() > 180  # the white line
    assert abs(plain[SIDE // 4, SIDE * 40 // 120] - 90).max() < 12  # inside, the image
    bright = drawn[SIDE // 4, SIDE * 95 // 120]
    assert bright[0] - bright[2] > 60  # the hot end of the colours
    assert abs(dead - plain).max() < 12


def test_only_the_worst_are_kept_and_come_first():
    kept, picture = WorstCases(3), CasePicture(1, 1, b"", {})
    for number, goodness in enumerate([0.9, 0.1, 0.5, 0.3, 0.8, 0.2]):
        if kept.wants(goodness):
            kept.add(number, goodness, picture)
    assert list(kept.pictures()) == [1, 5, 3]
    assert not kept.wants(0.9)
    assert not WorstCases(0).wants(-1)
