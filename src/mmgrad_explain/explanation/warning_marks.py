"""Which maps are drawn with a mark: those that failed a check, and those that come with a warning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgrad_explain.images.marks import Mark

if TYPE_CHECKING:
    from mmgrad_explain.explanation.map_check import MapCheck
    from mmgrad_explain.explanation.maps import ExplainedMaps
    from mmgrad_explain.notes import NoteKind

REASONS: dict[NoteKind, str] = {
    "empty-map": "Empty map: nothing raises the score",
    "flat-map": "Flat map: it points nowhere",
    "lost-text": "Text not understood by the model",
    "absent-thing": "What the text is about was not found in the image",
    "unfamiliar-image": "Image unlike the model's training images",
    "unknown-words": "Words unknown to the model",
    "cut-text": "Text cut: the model did not read all of it",
    "weak-calibration": "Calibration found no map better than one that knows nothing",
    "knows-no-score": "No explanation: this method does not know the score",
    "caution": "No trained model, or one to be used with caution",
    "image-values": "Image values were scaled by guess",
}
"""The kinds of notes that mark a picture, the gravest first, and what the mark says."""
_MOST = 2  # reasons in one mark


def mark_of(
    explanation: ExplainedMaps, index: int = 0, *, target: bool = False, check: MapCheck | None = None
) -> Mark | None:
    """Return the mark of one map: why it is not to be trusted as it is.

    Args:
        explanation: The maps.
        index: Which sample.
        target: The target's map.
        check: What its check found; None takes the one that the explanation remembers.

    Returns:
        The reasons of the check and of the notes, two at most; None where there are none.
    """
    check = check or explanation.check_of(index, target=target)
    kinds = {note.kind for note in explanation.notes_of(index)}
    if "lost-text" in kinds:
        kinds.discard("unknown-words")  # which says less
    reasons = [text for kind, text in REASONS.items() if kind in kinds]
    failed = None if check is None else check.mark()
    if failed is not None:
        reasons = [failed.text, *reasons]
    if not reasons:
        return None
    first, *others = reasons[:_MOST]
    text = "; ".join([first, *(reason[0].lower() + reason[1:] for reason in others)])
    return Mark("doubtful" if failed is None else failed.level, text)
