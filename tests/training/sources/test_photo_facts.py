"""Facts on photographs by labels and pixels."""

import numpy as np
import pytest

from mmgrad_explain.data.batches.batch import IGNORE
from mmgrad_explain.training.sources.photo_facts import FactNumbers

NAMES = ["null", "coat", "bag", "purse", "hat"]


@pytest.fixture
def numbers():
    return FactNumbers(NAMES, [("bag", "purse")])


@pytest.fixture
def photo():
    """A red coat and a small blue bag on gray."""
    image, labels = np.full((60, 40, 3), 128, np.uint8), np.zeros((60, 40), np.uint8)
    image[10:40, 5:30], labels[10:40, 5:30] = (200, 20, 30), 1
    image[45:53, 30:38], labels[45:53, 30:38] = (30, 60, 200), 2
    return image, labels


def test_labels_and_colours(numbers, photo):
    facts = numbers.of_labels(*photo)
    assert len(facts) == numbers.count == 5 * 12
    assert facts[:5].tolist() == [1, 1, 1, -1, 0]  # a bag may be called a purse
    assert numbers.colour_of(facts, 1) == "red"
    assert numbers.colour_of(facts, 2) == "blue"
    assert numbers.colour_of(facts, 4) is None
    assert not facts[numbers.colours(4)].any()


def test_tags_have_no_colours(numbers):
    facts = numbers.of_tags({"null", "coat"})
    assert facts[:5].tolist() == [1, 1, 0, 0, 0]
    assert (facts[numbers.colours(1)] == -1).all()


def test_what_is_cut_off_is_not_shown(numbers, photo):
    facts = numbers.of_labels(*photo)
    view = photo[1][:42]
    seen = numbers.in_view(facts, photo[1], view)
    assert seen[:5].tolist() == [1, 1, 0, -1, 0]
    assert not seen[numbers.colours(2)].any()
    assert seen[numbers.colours(1)].tolist() == facts[numbers.colours(1)].tolist()
    assert numbers.in_view(facts, photo[1], np.full((8, 8), IGNORE, np.uint8)) is facts
    tiny = photo[1].copy()
    tiny[45:53, 30:38] = 0
    tiny[45:48, 30:38] = 2  # an object this small may be lost by scaling
    assert numbers.in_view(facts, tiny, tiny[:42])[2] == -1


def test_edits_and_asks(numbers, photo):
    facts = numbers.of_labels(*photo)
    assert numbers.colour_of(numbers.painted(facts, 1, "green"), 1) == "green"
    assert numbers.colour_of(numbers.changed(facts, 1), 1) is None
    grayed = numbers.changed(facts, 1, grays=True)[numbers.colours(1)]
    assert sorted(grayed.tolist()) == [-1] * 3 + [0] * 8
    asks = numbers.ask(2, "green", without=1)
    assert (asks != -1).sum() == 3
    assert asks[2] == 1
    assert asks[1] == 0
    assert (numbers.ask() == -1).all()
