"""Describe in words where a map is bright. The shares that are named add up to 100%."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from mmgrad_explain.explanation.sides import call_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmgrad_explain.explanation.bright_places import BrightPlaces
    from mmgrad_explain.explanation.heatmaps import Heatmaps
    from mmgrad_explain.explanation.regions import Region

_WIDE = 2 / 3  # a box that covers more of a side than this reaches across the image
_LARGE = 33  # percent of the image: a map that is bright in more of it singles out no place
_AWAY = 33  # percent of a map: where more lies away from its bright places, these do not describe the map
_MOST_PLACES = 3  # how many places of other regions are named
_NOISE = 0.01  # fraction of a map's maximum: smaller negative values are not counted
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DARK_BRIEFLY = {
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


def describe_places_briefly(places: BrightPlaces) -> str:
    """Describe in one line where a map is brightest, or why it is dark everywhere."""
    if not places.regions:
        return _DARK_BRIEFLY[places.reason]
    first = places.regions[0]
    return (
        f"{format_percent(first.share)} of the map lies in its brightest region, {name_place(first.box, *places.size)}"
    )


def describe_places(explanation: Heatmaps, index: int, places: BrightPlaces, *, target: bool) -> str:
    """Describe where a map is bright and how much of it lies there, or why it is dark everywhere.

    Args:
        explanation: The maps.
        index: Which sample.
        places: The bright places of this map.
        target: The target's map.
    """
    if not places.regions:
        return _DARK[places.reason]
    height, width = places.size
    first, *others = places.regions
    groups = _group_by_place(others, width, height)
    groups[_MOST_PLACES:] = [("elsewhere", *_add_up(groups[_MOST_PLACES:]))] if groups[_MOST_PLACES:] else []
    shares = [first.share, *(share for _, _, share in groups)]
    shares += [max(0.0, places.around - sum(shares)), max(0.0, 1 - places.around)]
    whole = _round_to_percents(shares)
    named = [format_whole_percent(part, share) for part, share in zip(whole, shares, strict=True)]
    left, top, right, bottom = first.box
    pixels = name_unit(explanation, target=target)
    where = (
        f"The map is brightest {name_place(first.box, width, height)}. What hangs together there and is at least "
        f"half as bright as the brightest point lies in a box of {right - left} x {bottom - top} (x {left} to {right}, "
        f"y {top} to {bottom}, of {width} x {height} {pixels}), covers {format_percent(first.area)} of the "
        f"picture, and holds {named[0]} of the whole map (an even map would have {format_percent(first.area)} there)."
    )
    sentences = [
        where,
        _describe_others(groups, named[1:-2], len(others)),
        _describe_rest(named[-2:], _format_count(places.reach, pixels.partition(" ")[0]), many=bool(others)),
        _conclude(places, whole[-1]),
        _describe_cut_off(explanation, index, call=call_of(explanation, target=target)),
    ]
    return " ".join(filter(None, sentences))


def _group_by_place(regions: Sequence[Region], width: int, height: int) -> list[tuple[str, int, float]]:
    """Group regions by the part of the image that they lie in: its name, how many there are, their share of the map."""
    found: dict[str, list[float]] = {}
    for region in regions:
        found.setdefault(name_place(region.box, width, height), []).append(region.share)
    groups = [(place, len(shares), sum(shares)) for place, shares in found.items()]
    return sorted(groups, key=lambda group: -group[2])


def _add_up(groups: Sequence[tuple[str, int, float]]) -> tuple[int, float]:
    return sum(count for _, count, _ in groups), sum(share for _, _, share in groups)


def _describe_others(groups: Sequence[tuple[str, int, float]], shares: Sequence[str], count: int) -> str:
    """Describe the regions other than the brightest one."""
    if count == 0:
        return "No other place is half as bright."
    if count == 1:
        return f"One other place is at least half as bright: it is {groups[0][0]} and holds {shares[0]}."
    many = f"{_spell_number(count).capitalize()} other places are at least half as bright"
    if len(groups) == 1:
        return f"{many}, {'both' if count == 2 else 'all'} {groups[0][0]}: they hold {shares[0]}."
    parts = [f"{_spell_number(some)} {place} ({share})" for (place, some, _), share in zip(groups, shares, strict=True)]
    return f"{many}: {join_with_and(parts)}."


def _describe_rest(shares: Sequence[str], reach: str, *, many: bool) -> str:
    """Describe the rest of the map, which is fainter than its bright regions."""
    near, away = shares
    place, box = ("these places", "their boxes") if many else ("this place", "its box")
    around = f"lies around {place}, up to {reach} from {box}"
    if near == away == "0%":
        return f"Nothing of the map lies outside {place}."
    if away == "0%":
        return f"The rest, {near}, is fainter and {around}."
    if near == "0%":
        return f"The rest, {away}, is fainter and lies more than {reach} from {box}."
    return f"The rest is fainter: {near} {around}, and {away} further away."


def _conclude(places: BrightPlaces, away: int) -> str:
    """Conclude from the rounded shares that were named, so that the conclusion agrees with them."""
    first, *others = places.regions
    height, width = places.size
    area = sum(region.area for region in places.regions)
    if round(100 * area) > _LARGE:
        return (
            f"So the map is bright over a large part of the picture ({format_percent(area)}) and singles out no small "
            "place."
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


def _describe_cut_off(explanation: Heatmaps, index: int, *, call: int) -> str:
    """Describe how many cells are dark because their negative values were cut off."""
    layers = [calls[call][index] for calls in explanation.signed.values() if call < len(calls)]
    if len(layers) != 1:  # the maps of several layers are cut off before they are fused
        return ""
    below = float((layers[0] < -_NOISE * layers[0].abs().max()).double().mean())
    if below == 0:
        return ""
    return (
        f"In {format_percent(below)} of the map's cells the score would fall if more were seen of what is there: a map "
        "shows only what raises the score, and leaves these dark."
    )


def _format_count(count: int, what: str) -> str:
    return f"{count} {what if count > 1 else what.removesuffix('s')}"


def _spell_number(count: int) -> str:
    return _NUMBERS[count] if count < len(_NUMBERS) else f"{count:,}"


def _round_to_percents(shares: Sequence[float]) -> list[int]:
    """Round shares that add up to 1 to whole percents that add up to 100."""
    ends = [0, *(round(100 * end) for end in accumulate(shares))]
    return [end - start for start, end in pairwise(ends)]


def name_place(box: tuple[int, int, int, int], width: int, height: int) -> str:
    """Name the part of an image that a region lies in: by the thirds that hold the centre of its box, or right across.

    Args:
        box: (left, top, right, bottom) in pixels, right and bottom exclusive.
        width: Of the image, in pixels.
        height: Of the image, in pixels.
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


def name_unit(explanation: Heatmaps, *, target: bool) -> str:
    """Name the unit of the coordinates on a map."""
    if (explanation.target_placements if target else explanation.placements) is not None:
        return "pixels of the picture"
    return "pixels of the model's input" if explanation.input_size is not None else "cells of the map"


def format_percent(share: float) -> str:
    """Write a share in [0, 1] as whole percent, in words where it is nearly nothing or nearly all."""
    return format_whole_percent(round(100 * share), share)


def format_whole_percent(whole: int, share: float) -> str:
    """Write a share that was rounded to whole percent, in words where it is not quite 0% or 100%."""
    if whole == 0 and share > 1e-6:
        return "less than 1%"
    return "more than 99%" if whole == 100 and share < 1 - 1e-6 else f"{whole}%"


def join_with_and(parts: list[str]) -> str:
    """Join parts as ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
