"""Which images of a triplet show the object of an edit."""

import pytest

from mmgrad_explain.data.edit_sides import find_object_side, is_on_target_only, names_side
from mmgrad_explain.data.edits.options import EDIT_KINDS
from mmgrad_explain.data.scenes.planning import EDITS


@pytest.mark.parametrize(
    ("edit", "side"), [("add", "target"), ("remove", "reference"), ("recolour", "both"), ("swap", "both")]
)
def test_the_side_of_an_edit(edit, side):
    assert find_object_side(edit) == side
    assert is_on_target_only(edit) is (side == "target")


@pytest.mark.parametrize("kinds", [EDITS, EDIT_KINDS])
def test_of_all_kinds_only_what_is_added_is_new(kinds):
    assert [kind for kind in kinds if is_on_target_only(kind)] == ["add"]


def test_texts_that_name_a_side():
    assert names_side("Make the leftmost star red.")
    assert names_side("remove it, to the Right of the ring")
    assert not names_side("a brighter dress with a high collar")
