"""Which things a modifier text speaks of."""

import pytest

from mmgrad_explain.data.masks.spoken_things import find_things, is_known_thing


@pytest.mark.parametrize(
    ("text", "things"),
    [
        ("is solid black with no sleeves", ("sleeves",)),
        ("is strapless and has a red collar", ("straps", "collar")),
        ("is a tank top", ("top",)),
        ("Has the woman's dog on a leash, and a second dog", ("dog", "leash")),
        ("change the mosque to a store front", ("mosque",)),
        ("show them on top of it", ()),
        ("make the shoes green and the dog bigger.", ("shoes", "dog")),
        ("is a long sleeve black dress", ("dress",)),
        ("are sky blue", ()),
        ("has more sleeve and longer sleeves", ("sleeve",)),
        ("is darker", ()),
        ("the shoe is flat, wordy and fun", ("shoe",)),
        ("one of the two is scary", ()),
        ("is more colourful, less revealing and a different style", ()),
        ("", ()),
    ],
)
def test_things_are_found_and_looks_are_not(text, things):
    assert find_things(text) == things


def test_plurals_of_known_things_are_known():
    assert is_known_thing("sleeves")
    assert not is_known_thing("darker")
