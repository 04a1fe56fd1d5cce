"""Which images of a triplet show the object of an edit: what is added is new in the target, what is removed is gone."""

_OBJECT_IN = {"add": "target", "remove": "reference"}


def find_object_side(edit: str) -> str:
    """Return ``"reference"``, ``"target"`` or ``"both"``: the images that show the object of an edit of this kind."""
    return _OBJECT_IN.get(edit, "both")


def is_on_target_only(edit: str) -> bool:
    """Return whether only the target shows the object, so that a map of the edit is judged there."""
    return find_object_side(edit) == "target"
