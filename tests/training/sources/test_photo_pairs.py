"""Differences between photographs."""

import numpy as np
import pytest

from mmgrad_explain.training.sources.photo_facts import FactNumbers
from mmgrad_explain.training.sources.photo_pairs import PAIR_EDITS, PairDrawer, find_middles

NAMES = ["null", "coat", "jacket", "hat"]
NUMBERS = FactNumbers(NAMES)


def facts(**colours):
    """Facts on a photograph with these labels in these colours."""
    shown = NUMBERS.of_tags(colours)
    for name, colour in colours.items():
        shown = NUMBERS.painted(shown, NAMES.index(name), colour)
    return shown


TABLE = np.stack(
    [
        facts(coat="red"),
        facts(coat="green"),
        facts(jacket="blue", hat="black"),
        facts(coat="red", hat="white"),
        NUMBERS.of_tags(["hat"]),
    ]
)


def draw(kind, index=0, things=(1,), tries=20):
    middles = np.array([0.5, 0.4, 0.45, 0.1])
    drawer = PairDrawer(NUMBERS, TABLE, middles, np.array([False, True, True, True]), {kind: 1.0})
    rng = np.random.default_rng(0)
    return [drawer.draw(rng, index, TABLE[index], list(things)) for _ in range(tries)]


@pytest.mark.parametrize("kind", PAIR_EDITS)
def test_the_other_photograph_is_what_is_asked_for_and_the_reference_is_not(kind):
    found = [pair for index in range(4) for pair in draw(kind, index, np.flatnonzero(TABLE[index, 1:4] == 1) + 1)]
    found = [pair for pair in found if pair is not None]
    assert found
    for pair in found:
        asked = pair.asks != -1
        assert asked.any()
        assert (TABLE[pair.other, asked] == pair.asks[asked]).all()


def test_kinds():
    assert {(pair.other, pair.colour) for pair in draw("recolour")} == {(1, "green")}
    assert {pair.other for pair in draw("remove")} == {2, 4}
    assert {pair.come for pair in draw("add")} == {2, 3}
    assert {(pair.gone, pair.come) for pair in draw("replace")} == {(1, 2)}  # a hat sits elsewhere
    assert draw("recolour", things=(), tries=1) == [None]
    everywhere = np.stack([facts(coat="red", hat="black"), facts(coat="green"), facts(coat="blue")])
    drawer = PairDrawer(NUMBERS, everywhere, np.full(4, 0.5), np.array([False, True, True, True]), {"remove": 1.0})
    assert drawer.draw(np.random.default_rng(0), 0, everywhere[0], [1]) is None
    assert drawer.draw(np.random.default_rng(0), 0, everywhere[0], [3]) is not None
    colours = {pair.colour for pair in draw("add") if pair.come == 3}
    assert colours <= {"black", "white", None}
    assert len(colours) > 1


def test_where_labels_are():
    labels = np.zeros((10, 4), np.uint8)
    labels[4:6] = 2
    assert find_middles(labels) == [(0, 0.5), (2, 0.5)]
