"""Say which images of a triplet show the edited object, and whether a text names a side of the image.

An added object is only in the target, a removed one only in the reference.
"""

import re

SIDES = frozenset({"left", "right", "leftmost", "rightmost"})
"""Words that mean another place in a mirrored image."""

_OBJECT_IN = {"add": "target", "remove": "reference"}


def find_object_side(edit: str) -> str:
    """Return ``"reference"``, ``"target"`` or ``"both"``: the images that show the object of an edit of this kind."""
    return _OBJECT_IN.get(edit, "both")


def is_on_target_only(edit: str) -> bool:
    """Return whether only the target shows the object, so that a map of the edit is judged there."""
    return find_object_side(edit) == "target"


def names_side(text: str) -> bool:
    """Return whether a text names the left or the right, so that it means something else of a mirrored image."""
    return not SIDES.isdisjoint(re.findall(r"\w+", text.lower()))
