"""Where a map is bright, measured once and told in words by parts of one whole, which add up to 100%.

The parts are the brightest region, other regions that are at least half as bright, what lies around these, and what
lies further away.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np

from mmgrad_explain.explanation.regions import bright_regions
from mmgrad_explain.explanation.sides import call_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mmgrad_explain.explanation.regions import Region
    from mmgrad_explain.explanation.result import Explanation

_WIDE = 2 / 3  # a box that covers more of a side than this reaches across the picture
_LARGE = 33  # percent of the picture: a map that is bright in more of it singles out no place
_AWAY = 33  # percent of a map: where more lies away from its bright places, or from the first, these are not all of it
_AROUND = 0.1  # what is nearer to a region than this part of the longer side lies around it
_MOST_PLACES = 3  # where other regions lie are named
_NOISE = 0.01  # of a map's peak: what lowers the score by less is not counted
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DARK_IN_SHORT = {
    "empty": "the map is empty: no part of the picture raises the score",
    "flat": "the map is flat: no place of the picture counts more than another",
    "outside": "the whole map lies outside the picture, on the margin that was added",
}
_DARK = {
    "empty": (
        "The map is empty. Wherever the picture counts at all, the score would fall if more were seen of what is "
        "there; a map keeps only places that raise the score, and so nothing is left. That is an answer too: seen "
        "through this layer, no part of the picture speaks for this score."
    ),
    "flat": (
        "The map is flat: seen through this layer, no place of the picture counts more than another for this score, so "
        "the map points nowhere. That is an answer too."
    ),
    "outside": (
        "The whole map lies outside the picture, on the margin that was added to fit it into the model's input."
    ),
}


@dataclass(frozen=True)
class BrightPlaces:
    """Where a map is bright, measured once for all that is said of it.

    Attributes:
        size: (H, W) of the map.
        regions: The brightest first; none where the map is dark everywhere.
        reach: How far from a region's box, in pixels, counts as around it.
        around: Share of the map that lies in the regions or around them.
        around_first: The same of the brightest region alone.
        reason: Why it is dark everywhere: ``"empty"``, ``"flat"`` or ``"outside"``; empty where it is not.
    """

    size: tuple[int, int]
    regions: tuple[Region, ...]
    reach: int
    around: float
    around_first: float
    reason: str


def bright_places(explanation: Explanation, index: int = 0, *, target: bool = False) -> BrightPlaces:
    """Find the bright places of one map, on the picture's own pixels.

    Raises:
        InputError: as :meth:`~mmgrad_explain.attention.Explanation.heatmap`.
    """
    heat = explanation.heatmap(index, target=target)
    regions = tuple(bright_regions(heat))
    reach = max(1, round(_AROUND * max(heat.shape)))
    reason = "" if regions else _reason(explanation, index, call=call_of(explanation, target=target))
    around = _share_around(heat, regions, reach)
    around_first = around if len(regions) < 2 else _share_around(heat, regions[:1], reach)
    return BrightPlaces((heat.shape[0], heat.shape[1]), regions, reach, around, around_first, reason)


def _share_around(heat: NDArray[np.float32], regions: Sequence[Region], reach: int) -> float:
    """The share of a map in the regions' boxes, each made larger by ``reach`` pixels on all sides."""
    if not regions:
        return 0.0
    away = heat.copy()
    for left, top, right, bottom in (region.box for region in regions):
        away[max(0, top - reach) : bottom + reach, max(0, left - reach) : right + reach] = 0
    return 1 - float(away.sum(dtype=np.float64) / heat.sum(dtype=np.float64))


def _reason(explanation: Explanation, index: int, *, call: int) -> str:
    """Why a map is dark everywhere."""
    grid = explanation.calls[call][index]
    if bool(grid.max() > grid.min()):
        return "outside"
    signed = [calls[call][index] for calls in explanation.signed.values() if call < len(calls)]
    return "empty" if any(bool((one.max() <= 0) & (one.min() < 0)) for one in signed) else "flat"


def where_in_short(places: BrightPlaces) -> str:
    """Say in one line where a map is brightest, or why nowhere."""
    if not places.regions:
        return _DARK_IN_SHORT[places.reason]
    first = places.regions[0]
    return f"{percent(first.share)} of the map lies in its brightest region, {place_in_words(first.box, *places.size)}"


def where_in_words(explanation: Explanation, index: int, places: BrightPlaces, *, target: bool) -> str:
    """Say where a map is bright and how much of it is there, or why it is bright nowhere.

    Args:
        explanation: The maps.
        index: Which sample.
        places: Of this map, from :func:`bright_places`.
        target: The target's map.
    """
    if not places.regions:
        return _DARK[places.reason]
    height, width = places.size
    first, *others = places.regions
    groups = _by_place(others, width, height)
    groups[_MOST_PLACES:] = [("elsewhere", *_summed(groups[_MOST_PLACES:]))] if groups[_MOST_PLACES:] else []
    shares = [first.share, *(share for _, _, share in groups)]
    shares += [max(0.0, places.around - sum(shares)), max(0.0, 1 - places.around)]
    whole = _whole_percents(shares)
    said = [in_percent(part, share) for part, share in zip(whole, shares, strict=True)]
    left, top, right, bottom = first.box
    pixels = pixels_of(explanation, target=target)
    where = (
        f"The map is brightest {place_in_words(first.box, width, height)}. What hangs together there and is at least "
        f"half as bright as the brightest point lies in a box of {right - left} x {bottom - top} (x {left} to {right}, "
        f"y {top} to {bottom}, of {width} x {height} {pixels}), covers {percent(first.area)} of the picture, and holds "
        f"{said[0]} of the whole map (an even map would have {percent(first.area)} there)."
    )
    sentences = [
        where,
        _others(groups, said[1:-2], len(others)),
        _rest(said[-2:], _counted(places.reach, pixels.partition(" ")[0]), many=bool(others)),
        _verdict(places, whole[-1]),
        _cut_off(explanation, index, call=call_of(explanation, target=target)),
    ]
    return " ".join(filter(None, sentences))


def _by_place(regions: Sequence[Region], width: int, height: int) -> list[tuple[str, int, float]]:
    """In which parts of the picture regions lie: the part in words, how many are there, their share of the map."""
    found: dict[str, list[float]] = {}
    for region in regions:
        found.setdefault(place_in_words(region.box, width, height), []).append(region.share)
    groups = [(place, len(shares), sum(shares)) for place, shares in found.items()]
    return sorted(groups, key=lambda group: -group[2])


def _summed(groups: Sequence[tuple[str, int, float]]) -> tuple[int, float]:
    return sum(count for _, count, _ in groups), sum(share for _, _, share in groups)


def _others(groups: Sequence[tuple[str, int, float]], shares: Sequence[str], count: int) -> str:
    """The regions beside the brightest one."""
    if count == 0:
        return "No other place is half as bright."
    if count == 1:
        return f"One other place is at least half as bright: it is {groups[0][0]} and holds {shares[0]}."
    many = f"{_number(count).capitalize()} other places are at least half as bright"
    if len(groups) == 1:
        return f"{many}, {'both' if count == 2 else 'all'} {groups[0][0]}: they hold {shares[0]}."
    parts = [f"{_number(some)} {place} ({share})" for (place, some, _), share in zip(groups, shares, strict=True)]
    return f"{many}: {listed(parts)}."


def _rest(said: Sequence[str], reach: str, *, many: bool) -> str:
    """What is left of the map, fainter than its bright regions."""
    near, away = said
    place, box = ("these places", "their boxes") if many else ("this place", "its box")
    around = f"lies around {place}, up to {reach} from {box}"
    if near == away == "0%":
        return f"Nothing of the map lies outside {place}."
    if away == "0%":
        return f"The rest, {near}, is fainter and {around}."
    if near == "0%":
        return f"The rest, {away}, is fainter and lies more than {reach} from {box}."
    return f"The rest is fainter: {near} {around}, and {away} further away."


def _verdict(places: BrightPlaces, away: int) -> str:
    """What the shares come to: by the same numbers that were said, so that it never speaks against them."""
    first, *others = places.regions
    height, width = places.size
    area = sum(region.area for region in places.regions)
    if round(100 * area) > _LARGE:
        return (
            f"So the map is bright over a large part of the picture ({percent(area)}) and singles out no small place."
        )
    if away > _AWAY:
        which = "bright places" if others else "bright place"
        return f"So the map has more than its {which}: a good part of it ({away}%) is faint and lies elsewhere."
    near = round(100 * places.around_first)
    if others and 100 - near > _AWAY:
        return f"So the map does not have one place but {'two' if len(others) == 1 else 'several'}."
    which = ", which reaches far across the picture" if _reaches_across(first.box, width, height) else ""
    if others:
        return f"So the map has one main place{which}: {near}% of the map lies in it and around it."
    return f"So the map has {'one place' if which else 'one clear place'}{which}."


def _cut_off(explanation: Explanation, index: int, *, call: int) -> str:
    """How much of the grid is dark because more of what is there would lower the score."""
    layers = [calls[call][index] for calls in explanation.signed.values() if call < len(calls)]
    if len(layers) != 1:  # several are cut before they become one map
        return ""
    below = float((layers[0] < -_NOISE * layers[0].abs().max()).double().mean())
    if below == 0:
        return ""
    return (
        f"In {percent(below)} of the map's cells the score would fall if more were seen of what is there: a map shows "
        "only what raises the score, and leaves these dark."
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what if count > 1 else what.removesuffix('s')}"


def _number(count: int) -> str:
    return _NUMBERS[count] if count < len(_NUMBERS) else f"{count:,}"


def _whole_percents(shares: Sequence[float]) -> list[int]:
    """Give shares that add up to 1 as whole percent that add up to 100."""
    ends = [0, *(round(100 * end) for end in accumulate(shares))]
    return [end - start for start, end in pairwise(ends)]


def place_in_words(box: tuple[int, int, int, int], width: int, height: int) -> str:
    """Say where a region lies in a picture: by the thirds that its box has its centre in, or right across.

    Args:
        box: (left, top, right, bottom) in pixels, right and bottom exclusive.
        width: Of the picture, in pixels.
        height: Likewise.
    """
    left, top, right, bottom = box
    across, down = (right - left) > _WIDE * width, (bottom - top) > _WIDE * height
    side = ("left", "", "right")[min(2, int(1.5 * (left + right) / width))]
    level = ("upper", "", "lower")[min(2, int(1.5 * (top + bottom) / height))]
    if _reaches_across(box, width, height):
        return "in a region that reaches across most of the picture"
    if across:
        return f"right across the {level or 'middle'} {'part ' if level else ''}of the picture"
    if down:
        return f"all down the {side or 'middle'} {'side ' if side else ''}of the picture"
    if level and side:
        return f"in the {level} {side} of the picture"
    if level:
        return f"in the {level} part of the picture, halfway across"
    return f"in the {side} part of the picture, halfway down" if side else "in the middle of the picture"


def _reaches_across(box: tuple[int, int, int, int], width: int, height: int) -> bool:
    return box[2] - box[0] > _WIDE * width and box[3] - box[1] > _WIDE * height


def pixels_of(explanation: Explanation, *, target: bool) -> str:
    """Say what the numbers of a map's places count."""
    if (explanation.target_placements if target else explanation.placements) is not None:
        return "pixels of the picture"
    return "pixels of the model's input" if explanation.input_size is not None else "cells of the map"


def percent(share: float) -> str:
    """Give a share in [0, 1] as whole percent, in words where it is nearly nothing or nearly all."""
    return in_percent(round(100 * share), share)


def in_percent(whole: int, share: float) -> str:
    """Give a share that was rounded to whole percent, in words where that would be 0% or 100% and is not."""
    if whole == 0 and share > 1e-6:
        return "less than 1%"
    return "more than 99%" if whole == 100 and share < 1 - 1e-6 else f"{whole}%"


def listed(parts: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
