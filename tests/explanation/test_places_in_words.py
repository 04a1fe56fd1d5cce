"""Each sentence about the bright places of a map, and that no two of them contradict each other for any map."""

import re

import numpy as np
import pytest
import torch

from mmgrad_explain.explanation import Explanation
from mmgrad_explain.explanation.bright_places import find_bright_places
from mmgrad_explain.explanation.places_in_words import (
    describe_places,
    describe_places_briefly,
    format_percent,
    join_with_and,
)
from mmgrad_explain.images.placement import Placement


def made(grid, **known):
    """An explanation with this map, which is its own picture."""
    grid = torch.as_tensor(grid, dtype=torch.float32)[None]
    flat = torch.tensor([bool(grid.max() <= grid.min())])
    facts = {
        "calls": (grid.clamp(min=0),),
        "score": torch.tensor([0.25]),
        "score_name": "image-text",
        "method": "gradcam",
        "layers": {"body": [grid]},
        "signed": {"body": [grid]},
        "layouts": {"body": ("nchw",)},
        "flat": flat,
        "clipped": flat,
    }
    return Explanation(**(facts | known))


def said(grid, **known):
    explanation = made(grid, **known)
    return describe_places(explanation, 0, find_bright_places(explanation), target=False)


def spots(shape, **cells):
    """A map that has these values at places named ``y_x``."""
    grid = np.zeros(shape, np.float32)
    for name, value in cells.items():
        y, x = map(int, name.removeprefix("at").split("_"))
        grid[y, x] = value
    return grid


@pytest.mark.parametrize(
    ("cells", "place"),
    [
        ([(0, 0)], "in the upper left of the picture"),
        ([(0, 4)], "in the upper part of the picture, halfway across"),
        ([(0, 8)], "in the upper right of the picture"),
        ([(4, 0)], "in the left part of the picture, halfway down"),
        ([(4, 4)], "in the middle of the picture"),
        ([(4, 8)], "in the right part of the picture, halfway down"),
        ([(8, 0)], "in the lower left of the picture"),
        ([(8, 4)], "in the lower part of the picture, halfway across"),
        ([(8, 8)], "in the lower right of the picture"),
        ([(0, x) for x in range(9)], "right across the upper part of the picture"),
        ([(4, x) for x in range(9)], "right across the middle of the picture"),
        ([(8, x) for x in range(1, 9)], "right across the lower part of the picture"),
        ([(y, 0) for y in range(9)], "all down the left side of the picture"),
        ([(y, 4) for y in range(9)], "all down the middle of the picture"),
        ([(y, 8) for y in range(9)], "all down the right side of the picture"),
        ([(y, y) for y in range(9)], "in a region that reaches across most of the picture"),
    ],
)
def test_the_place(cells, place):
    grid = np.zeros((9, 9), np.float32)
    for cell in cells:
        grid[cell] = 1
    assert said(grid).startswith(f"The map is brightest {place}. ")
    assert (
        describe_places_briefly(find_bright_places(made(grid)))
        == f"100% of the map lies in its brightest region, {place}"
    )


def after(text):
    """What follows the sentences on the brightest region."""
    return text.partition(" there). ")[2]


def test_one_bright_cell():
    assert said(spots((9, 9), at0_0=3)) == (
        "The map is brightest in the upper left of the picture. What hangs together there and is at least half as "
        "bright as the brightest point lies in a box of 1 x 1 (x 0 to 1, y 0 to 1, of 9 x 9 cells of the map), covers "
        "1% of the picture, and holds 100% of the whole map (an even map would have 1% there). No other place is half "
        "as bright. Nothing of the map lies outside this place. So the map has one clear place."
    )


def test_its_surroundings():
    near = spots((9, 9), at0_0=3, at0_1=1)
    assert after(said(near)) == (
        "No other place is half as bright. The rest, 25%, is fainter and lies around this place, up to 1 cell from its "
        "box. So the map has one clear place."
    )
    away = spots((9, 9), at0_0=3, at5_5=1)
    assert "The rest, 25%, is fainter and lies more than 1 cell from its box. So the map has one" in after(said(away))
    both = spots((9, 9), at0_0=2, at0_1=0.5, at5_5=0.5)
    assert "fainter: 16% lies around this place, up to 1 cell from its box, and 17% further away. So" in said(both)


def test_another_place():
    assert after(said(spots((9, 9), at0_0=3, at8_8=2))) == (
        "One other place is at least half as bright: it is in the lower right of the picture and holds 40%. Nothing of "
        "the map lies outside these places. So the map does not have one place but two."
    )
    little = spots((9, 9), at0_0=3, at0_1=3, at1_0=3, at8_8=2)
    assert said(little).endswith("So the map has one main place: 82% of the map lies in it and around it.")


def test_several_places():
    together = spots((9, 9), at0_0=3, at8_8=2, at6_8=2, at7_3=1)
    assert after(said(together)) == (
        "Two other places are at least half as bright, both in the lower right of the picture: they hold 50%. The "
        "rest, 13%, is fainter and lies more than 1 cell from their boxes. So the map does not have one place but "
        "several."
    )
    three = spots((9, 9), at0_0=3, at8_8=2, at6_8=2, at8_6=2)
    assert "Three other places are at least half as bright, all in the lower right of the picture: they" in said(three)
    grid = np.zeros((24, 24), np.float32)
    grid[::2, ::2] = 1
    grid[0, 0] = 1.5
    assert re.match(r"143 other places are at least half as bright: 16 in the .* \(11%\), 16 in ", after(said(grid)))
    assert " and 95 elsewhere (66%). Nothing of the map lies outside these places." in said(grid)
    assert "ten other places" in said(np.concatenate([spots((1, 2), at0_0=1.5), *[[[1, 0]]] * 10], axis=1)).lower()


def test_most_of_it_is_faint_and_elsewhere():
    grid = np.full((20, 20), 0.2, np.float32)
    grid[0, 0] = 1
    assert after(said(grid)) == (
        "No other place is half as bright. The rest is fainter: 2% lies around this place, up to 2 cells from its box, "
        "and 97% further away. So the map has more than its bright place: a good part of it (97%) is faint and lies "
        "elsewhere."
    )
    grid[0, 19] = 1
    assert said(grid).endswith("more than its bright places: a good part of it (94%) is faint and lies elsewhere.")


def test_a_map_that_is_nearly_even():
    grid = np.linspace(0.9, 1, 100, dtype=np.float32).reshape(10, 10)
    assert "covers 100% of the picture, and holds 100% of the whole map (an even map would have 100% there)" in said(
        grid
    )
    assert said(grid).endswith(
        "So the map is bright over a large part of the picture (100%) and singles out no small place."
    )


def test_a_long_place():
    assert said(np.eye(30, dtype=np.float32)).endswith(
        "So the map has one place, which reaches far across the picture."
    )


def test_what_lowers_the_score_is_described():
    grid = spots((4, 5), at0_0=1, at1_1=-0.5, at1_2=-2, at3_3=-0.001)
    assert said(grid).endswith(
        " In 10% of the map's cells the score would fall if more were seen of what is there: a map shows only what "
        "raises the score, and leaves these dark."
    )
    several = made(grid)
    layers = {"early": [several.calls[0]], "late": [several.calls[0]]}
    assert "would fall" not in said(grid, signed=layers), "these are cut before they become one map"


def test_why_it_is_dark():
    margin = Placement((20, 60), (60, 60), (1.0, 1.0), (20.0, 0.0))
    cases = {
        "empty": ({"grid": -np.ones((2, 3)) - spots((2, 3), at0_0=1)}, "no part of the picture raises the score"),
        "flat": ({"grid": np.ones((2, 3))}, "no place of the picture counts more than another"),
        "outside": ({"grid": spots((6, 6), at0_2=1), "placements": (margin,)}, "on the margin that was added"),
    }
    for reason, (known, why) in cases.items():
        places = find_bright_places(made(**known))
        assert places.reason == reason
        assert why in describe_places_briefly(places)
        assert reason in said(**known)


def test_the_targets_own_map():
    explanation = made(spots((9, 9), at0_0=1))
    other = torch.from_numpy(spots((2, 2), at1_1=1))[None]
    both = made(spots((9, 9), at0_0=1), calls=(*explanation.calls, other))
    places = find_bright_places(both, target=True)
    text = describe_places(both, 0, places, target=True)
    assert "lower right of the picture" in text
    assert "of 2 x 2 cells" in text


def test_percent():
    assert [format_percent(share) for share in (0, 0.004, 0.006, 0.5, 0.994, 0.996, 1)] == [
        "0%", "less than 1%", "1%", "50%", "99%", "more than 99%", "100%",
    ]  # fmt: skip


def test_join_with_and():
    assert [join_with_and(["a", "b", "c"][:count]) for count in (1, 2, 3)] == ["a", "a and b", "a, b and c"]


# ----------------------------------------------------------------------------------------------- whatever the map is


def noise(rng, shape):
    return rng.random(shape) ** rng.choice([0.1, 1, 4, 12])


def blobs(rng, shape):
    y, x = np.mgrid[: shape[0], : shape[1]]
    grid = np.full(shape, rng.choice([0, 0.05, 0.3]))
    for _ in range(rng.integers(1, 6)):
        far = (y - rng.uniform(0, shape[0])) ** 2 + (x - rng.uniform(0, shape[1])) ** 2
        grid = np.maximum(grid, rng.uniform(0.3, 1) * np.exp(-far / rng.uniform(0.3, 2 + shape[0] ** 2 / 8)))
    return grid


def cells(rng, shape):
    grid = np.zeros(shape)
    count = int(rng.integers(1, 5))
    grid[rng.integers(0, shape[0], count), rng.integers(0, shape[1], count)] = rng.uniform(0.1, 1, count)
    return grid


def slopes(rng, shape):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.abs(rng.normal() * y + rng.normal() * x + rng.normal()) + rng.choice([0, 1e3])


def signed(rng, shape):
    return rng.normal(rng.normal(), 1, shape)


RANDOM = (noise, blobs, cells, slopes, signed)
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def number(text):
    return NUMBERS.index(text.lower()) if text.lower() in NUMBERS else int(text.replace(",", ""))


def flooded(heat, level=0.5):
    """The bright regions as sets of cells, that of the peak first, found one cell at a time."""
    left = {tuple(cell) for cell in np.argwhere(heat >= level * heat.max()).tolist()}
    peak, found = np.unravel_index(int(heat.argmax()), heat.shape), []
    while left:
        start = tuple(map(int, peak)) if not found else next(iter(left))
        todo, inside = [start], set()
        while todo:
            y, x = todo.pop()
            if (y, x) in left:
                left.remove((y, x))
                inside.add((y, x))
                todo += [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        found.append(inside)
    return found


def parts(text, pattern):
    """The whole percent that a pattern finds; what is next to nothing or nearly all counts as such."""
    words = {"less than 1%": 0, "more than 99%": 100}
    return [words.get(one) if one in words else int(one.removesuffix("%")) for one in re.findall(pattern, text)]


SHARE = r"((?:less than |more than )?\d+%)"


@pytest.mark.parametrize("kind", RANDOM)
def test_no_sentence_contradicts_another_or_the_map(kind):
    for seed in range(60):
        rng = np.random.default_rng([seed, RANDOM.index(kind)])
        grid = kind(rng, tuple(int(side) for side in rng.integers(2, 26, 2))).astype(np.float32)
        text = said(grid)
        try:
            agree(text, made(grid).heatmap())
        except AssertionError as error:
            error.add_note(f"seed {seed}: {text}")
            raise


def agree(text, heat):
    """Hold what is said of a map against the map, and against itself."""
    if heat.max() <= 0:
        assert re.match("The map is (empty|flat)", text)
        return
    first, *others = flooded(heat)
    total = float(heat.sum(dtype=np.float64))

    # one whole: the brightest region, the others, what lies around them, and what lies further away
    (own,) = parts(text, rf"and holds {SHARE} of the whole map")
    assert own == pytest.approx(100 * sum(float(heat[cell]) for cell in first) / total, abs=0.51)
    told = re.search(r"(\S+) other places? (?:is|are) (?:at least )?half as bright(.*?)\.(?= The rest| Nothing)", text)
    assert number(told[1]) == len(others)
    of_others = parts(told[2], SHARE)
    rest = re.search(r"(?:The rest|Nothing of the map).*?\.(?= So )", text)[0]
    of_rest = parts(rest, SHARE)
    assert own + sum(of_others) + sum(of_rest) == 100
    in_others = 100 * sum(float(heat[cell]) for inside in others for cell in inside) / total
    assert sum(of_others) == pytest.approx(in_others, abs=1.01)
    if len(of_others) > 1:
        assert sum(map(number, re.findall(r"(?:: |, | and )(\S+) (?:in|right|all|elsewhere)\b", told[2]))) == len(
            others
        )

    # the verdict speaks by the same numbers
    area = sum(len(inside) for inside in (first, *others)) / heat.size
    away = of_rest[-1] if re.search(r"further away|more than \d+ cells? from", rest) else 0
    verdict = re.search(r"So the map .*?\.(?= In|$)", text)[0]
    if "bright over a large part" in verdict:
        assert area > 0.33
    elif "is faint and lies elsewhere" in verdict:
        assert f"({away}%)" in verdict
        assert away > 33
    elif "does not have one place" in verdict:
        assert own < 68
        assert ("two" in verdict) == (len(others) == 1)
    else:
        near = parts(verdict, SHARE) or [100 - away]
        assert bool(others) == ("one main place" in verdict)
        assert near[0] >= max(67, own)
        assert near[0] + away <= 100
        assert ("reaches far across" in verdict) == ("reaches across most" in text.partition(". ")[0])
