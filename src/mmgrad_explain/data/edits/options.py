"""Options of edited photographs, checked when they are made; importing them loads nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from mmgrad_explain.errors import InputError, did_you_mean

EDIT_KINDS = ("recolour", "darken", "brighten", "gray", "pattern", "blur", "remove", "add", "swap")
"""Every kind of edit. ``add`` is ``remove`` with reference and target exchanged."""


@dataclass(frozen=True)
class EditOptions:
    """Which edits are made of a photograph.

    Attributes:
        seed: Together with the photograph's name, it decides everything.
        size: Longest side of the images, in pixels; smaller photographs keep their size.
        edits_per_image: Largest number of triplets of a photograph.
        kinds: Kinds of edit, from :data:`EDIT_KINDS`.
        min_area: Smallest object, as a share of the image, 0 to 1.
        max_area: Largest object, likewise.
        min_change: Smallest mean colour difference inside the mask, CIE76; 0.6 of it for ``blur`` and ``pattern``.
    """

    seed: int = 0
    size: int = 384
    edits_per_image: int = 4
    kinds: tuple[str, ...] = EDIT_KINDS
    min_area: float = 0.008
    max_area: float = 0.6
    min_change: float = 10.0

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in EDIT_KINDS:
                hint = did_you_mean(kind, EDIT_KINDS)
                raise InputError(f"kinds: there is no edit {kind!r}: {hint}use {', '.join(EDIT_KINDS)}")
        if not self.kinds:
            raise InputError("kinds is empty: name at least one edit")
        if self.seed < 0:
            raise InputError(f"seed must not be negative, got {self.seed}")
        if not 32 <= self.size <= 4096:
            raise InputError(f"size must be between 32 and 4096 pixels, got {self.size}")
        if not 1 <= self.edits_per_image <= 32:
            raise InputError(f"edits_per_image must be between 1 and 32, got {self.edits_per_image}")
        if not 0 <= self.min_area < self.max_area <= 1:
            raise InputError(f"areas must be 0 <= min_area < max_area <= 1, got {self.min_area} and {self.max_area}")
        if not 0 <= self.min_change <= 60:
            raise InputError(f"min_change must be between 0 and 60, got {self.min_change}")


@dataclass(frozen=True)
class OutputOptions:
    """How triplets become files.

    Attributes:
        format: ``"jpg"`` or ``"png"``.
        folds: Number of parts that the photographs are divided into.
        source: The data set's name, for the records.
        licence: Name of the licence of photographs without one in the data set.
    """

    format: str = "jpg"
    folds: int = 5
    source: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        if self.folds < 1:
            raise InputError(f"folds must be at least 1, got {self.folds}")
        if self.format not in ("jpg", "png"):
            raise InputError(f"format must be 'jpg' or 'png', not {self.format!r}")
