"""The bright regions of a map, against a slow flood fill."""

import numpy as np
import pytest

from mmgrad_explain.explanation.regions import Region, bright_regions, brightest_region


def slow(heat, level=0.5):
    """Flood fill, one cell at a time."""
    start = np.unravel_index(heat.argmax(), heat.shape)
    todo, inside = [start], {start}
    while todo:
        y, x = todo.pop()
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                cell = (y + dy, x + dx)
                fits = 0 <= cell[0] < heat.shape[0] and 0 <= cell[1] < heat.shape[1]
                if fits and cell not in inside and heat[cell] >= level * heat.max():
                    inside.add(cell)
                    todo.append(cell)
    ys, xs = [c[0] for c in inside], [c[1] for c in inside]
    share = sum(float(heat[c]) for c in inside) / float(heat.sum(dtype=np.float64))
    return inside, share, (min(xs), min(ys), max(xs) + 1, max(ys) + 1)


@pytest.mark.parametrize("seed", range(30))
def test_equals_a_flood_fill(seed):
    rng = np.random.default_rng(seed)
    heat = rng.random((int(rng.integers(1, 30)), int(rng.integers(1, 30)))).astype(np.float32) ** 3
    inside, share, box = slow(heat, 0.3)
    region = brightest_region(heat, 0.3)
    assert region.box == box
    assert region.share == pytest.approx(share, rel=1e-5)
    assert region.area == pytest.approx(len(inside) / heat.size)


@pytest.mark.parametrize("seed", range(30))
def test_all_regions_are_found_once(seed):
    rng = np.random.default_rng(seed)
    heat = rng.random((int(rng.integers(1, 30)), int(rng.integers(1, 30)))).astype(np.float32) ** 3
    left, level, total, expected = heat.copy(), 0.3 * float(heat.max()), float(heat.sum(dtype=np.float64)), []
    while left.max() >= level:
        inside, _, box = slow(left, level / float(left.max()))
        cells = tuple(np.array(sorted(inside)).T)
        expected.append((float(heat[cells].sum(dtype=np.float64)) / total, box, len(inside) / heat.size))
        left[cells] = 0
    first, *others = bright_regions(heat, 0.3)
    assert first == brightest_region(heat, 0.3)
    assert [one.share for one in others] == sorted((one.share for one in others), reverse=True)
    found = [(one.share, one.box, one.area) for one in (first, *others)]
    for mine, theirs in zip(
        sorted(found, key=lambda one: one[1]), sorted(expected, key=lambda one: one[1]), strict=True
    ):
        assert mine == (pytest.approx(theirs[0], rel=1e-4), theirs[1], pytest.approx(theirs[2]))


def test_a_spiral_is_followed_to_its_end():
    heat = np.zeros((9, 9), np.float32)
    heat[0, :] = heat[:, 8] = heat[8, :] = heat[2:, 0] = heat[2, 0:7] = heat[2:7, 6] = heat[6, 2:7] = 1
    assert brightest_region(heat) == Region(1.0, (0, 0, 9, 9), np.count_nonzero(heat) / 81)


def test_only_the_peaks_own_region_counts():
    heat = np.zeros((4, 6), np.float32)
    heat[1, 1], heat[1, 4] = 1.0, 0.8
    region = brightest_region(heat)
    assert region.box == (1, 1, 2, 2)
    assert region.share == pytest.approx(1 / 1.8)


def test_it_is_ready_for_json():
    assert Region(0.5, (1, 2, 3, 4), 0.1).to_dict() == {"share": 0.5, "box": [1, 2, 3, 4]}


def test_an_empty_map_has_none():
    assert brightest_region(np.zeros((3, 3), np.float32)) is None
    assert bright_regions(np.zeros((3, 3), np.float32)) == []
