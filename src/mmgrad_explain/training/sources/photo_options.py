"""How photographs become triplets: the options of :mod:`~mmgrad_explain.training.sources.photos`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mmgrad_explain.errors import InputError, did_you_mean
from mmgrad_explain.training.sources.photo_pairs import PAIR_EDITS

if TYPE_CHECKING:
    from collections.abc import Iterable

PHOTO_EDITS = {"recolour": 6.0, "darken": 1.0, "brighten": 1.0, "gray": 0.5, "pattern": 1.5}
"""The kinds of edits of photographs, and how often each is drawn, relative to the others."""


@dataclass(frozen=True)
class PhotoOptions:
    """How photographs become triplets.

    Attributes:
        pictures: Photographs in a batch.
        edits: Edits of each photograph.
        zoom: Smallest and largest height of a crop, as a share of the photograph's height; above 1 the photograph is
            shown on a larger plain ground.
        focus: How often a crop is placed around one object, all with equal chance, so that small ones appear large.
        min_area: Smallest object that is edited, as a share of the model's input.
        recoloured: How often an object is recoloured in the reference as well.
        light: How much exposure, contrast and colour cast vary; 0 leaves them unchanged.
        kinds: How often each kind of edit is drawn, relative to the others.
        synonyms: Other words for a label's name, each drawn as often as the name itself.
        exclude: Names of labels that are never edited. Names that are not in the default must be labels of the folder.
        holdout: Share of the photographs that are kept from training, for evaluation.
        pairs: Triplets of each photograph whose target is another photograph, and from 1 on facts on every image.
        pair_kinds: How often each kind of difference is drawn, relative to the others.
        alike: Groups of labels that are mixed up: where one is shown, it is not known that another one is not.
        least: Photographs that must show a label for texts to name it, with ``pairs``; rarer ones cannot be learned.
        free: How often a sentence is a freer one, as people type them.
        double: How often a photograph has an edit of two objects at once.
        portrait: How often a crop begins at the top of what is labelled: a head and shoulders.
        beside: How often two photographs are shown side by side, and texts say of whom they speak.
    """

    pictures: int = 20
    edits: int = 4
    zoom: tuple[float, float] = (0.35, 1.25)
    focus: float = 0.5
    min_area: float = 0.004
    recoloured: float = 0.3
    light: float = 1.0
    kinds: dict[str, float] = field(default_factory=lambda: dict(PHOTO_EDITS))
    synonyms: dict[str, tuple[str, ...]] = field(default_factory=dict)
    exclude: tuple[str, ...] = ("null", "skin", "hair", "accessories", "intimate")
    holdout: float = 0.15
    pairs: int = 0
    pair_kinds: dict[str, float] = field(default_factory=lambda: dict(PAIR_EDITS))
    alike: tuple[tuple[str, ...], ...] = ()
    least: int = 5
    free: float = 0.0
    double: float = 0.0
    portrait: float = 0.0
    beside: float = 0.0

    def __post_init__(self) -> None:
        _check_kinds("kinds", self.kinds, PHOTO_EDITS)
        _check_kinds("pair_kinds", self.pair_kinds, PAIR_EDITS)
        if self.pairs < 0 or self.edits < 1 or self.pictures < 1:
            raise InputError("photos: pictures and edits must be at least 1, pairs at least 0")
        for name in ("focus", "recoloured", "free", "double", "portrait", "beside"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"photos.{name} is a share, 0 to 1, got {getattr(self, name)}")


def _check_kinds(option: str, kinds: dict[str, float], known: Iterable[str]) -> None:
    unknown = sorted(set(kinds) - set(known))
    if unknown:
        hint = did_you_mean(unknown[0], known)
        raise InputError(f"{option}: photographs have no edit {unknown[0]!r}: {hint}use {', '.join(known)}")
    if not kinds or min(kinds.values()) < 0 or not sum(kinds.values()) > 0:
        raise InputError(f"{option}: give each kind how often it is drawn, from 0 on, and one of them above 0")
