"""Say which images of a triplet show the edited object: an added one is only in the target, a removed one is not."""

_OBJECT_IN = {"add": "target", "remove": "reference"}


def find_object_side(edit: str) -> str:
    """Return ``"reference"``, ``"target"`` or ``"both"``: the images that show the object of an edit of this kind."""
    return _OBJECT_IN.get(edit, "both")


def is_on_target_only(edit: str) -> bool:
    """Return whether only the target shows the object, so that a map of the edit is judged there."""
    return find_object_side(edit) == "target"
