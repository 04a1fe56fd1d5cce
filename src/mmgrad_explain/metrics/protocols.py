"""How each benchmark of composed retrieval is scored: a :class:`Protocol` says which figures and what is ranked.

:func:`~mmgrad_explain.metrics.rankings.score_rankings` computes the figures. No torch is needed here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Protocol:
    """How a benchmark is scored.

    Attributes:
        name: Name of the benchmark.
        cutoffs: The values of K of each figure, by its name in
            :data:`~mmgrad_explain.metrics.rankings.RANKING_FIGURES`: ``{"R": (1, 5)}`` for R@1 and R@5. They are
            reported in this order.
        exclude_reference: Whether the reference image is removed from the ranking.
        any_relevant: Whether recall counts any right answer, not only the one target.
        soft: Whether recall counts graded targets, not the one target.
        has_soft_targets: Whether the benchmark has graded targets.
        averages: Further figures, each the mean of some of the others.
        gallery: What is ranked, in words.
    """

    name: str
    cutoffs: Mapping[str, tuple[int, ...]]
    exclude_reference: bool = False
    any_relevant: bool = False
    soft: bool = False
    has_soft_targets: bool = False
    averages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    gallery: str = "all images of the split"

    def describe(self) -> str:
        """Describe the protocol in a sentence that is shown with its figures."""
        figures = ", ".join(f"{name}@{','.join(map(str, ks))}" for name, ks in self.cutoffs.items())
        target = "the one target"
        if self.any_relevant:
            target = "any right answer"
        if self.soft:
            target = "soft targets (best score among the retrieved, at least 0)"
        removed = "removed" if self.exclude_reference else "kept"
        means = "".join(f"; {name} is the mean of {' and '.join(of)}" for name, of in self.averages.items())
        order = ", in mAP the wrong image goes first" if "mAP" in self.cutoffs else ""
        return (
            f"{self.name}: {figures}; recall of {target}; gallery: {self.gallery}, the reference {removed}; "
            f"a tie counts half a place{order}{means}"
        )


PROTOCOLS = {
    "cirr": Protocol(
        "CIRR", {"R": (1, 5, 10, 50), "R_subset": (1, 2, 3)}, exclude_reference=True,
        has_soft_targets=True, averages={"average": ("R@5", "R_subset@1")},
    ),
    "fashioniq": Protocol("FashionIQ", {"R": (10, 50)}, averages={"average": ("R@10", "R@50")}),
    "shoes": Protocol(
        "Shoes", {"R": (1, 10, 50)}, exclude_reference=True, averages={"average": ("R@1", "R@10", "R@50")},
    ),
    "circo": Protocol(
        "CIRCO", {"mAP": (5, 10, 25, 50), "R": (5, 10, 25, 50)}, gallery="all images of COCO's list"
    ),
    "lasco": Protocol("LaSCo", {"R": (1, 5, 10, 50)}, gallery="the split's corpus"),
    "fashion200k": Protocol(
        "Fashion200K", {"R": (1, 10, 50)}, exclude_reference=True, any_relevant=True
    ),
    "jsonl": Protocol("triplets", {"R": (1, 5, 10, 50)}, exclude_reference=True, any_relevant=True),
}  # fmt: skip
"""The protocols by name; a format of data names its own. ``dataclasses.replace`` makes variants."""

ASPECT_FIGURE = "mAP@10"
"""The figure that is also reported by semantic aspect, where queries have one (CIRCO)."""

GALLERIES = {
    "original": "the gallery that the benchmark ranks",
    "queries": "references and targets of the split (VAL split)",
}
"""What can be ranked, in words: all images of the benchmark's gallery, or only those that its queries name."""


def choose_protocol(
    name: str, *, soft: bool = False, gallery: str = "original", exclude_reference: bool | None = None
) -> Protocol:
    """Choose a protocol, or make a variant of it.

    Args:
        name: A key of :data:`PROTOCOLS`.
        soft: Whether recall counts CIRR's soft targets.
        gallery: A name from :data:`GALLERIES`.
        exclude_reference: Whether the reference is removed from the ranking; as is usual for the benchmark when None.

    Raises:
        InputError: There is no such gallery, or the benchmark has no soft targets.
    """
    if gallery not in GALLERIES:
        raise InputError(f"gallery {gallery!r}: there are {' and '.join(GALLERIES)}")
    protocol = PROTOCOLS[name]
    if soft and not protocol.has_soft_targets:
        known = " and ".join(other for other, of in PROTOCOLS.items() if of.has_soft_targets)
        raise InputError(f"soft targets: only {known} has them")
    return replace(
        protocol,
        soft=soft,
        gallery=protocol.gallery if gallery == "original" else GALLERIES[gallery],
        exclude_reference=protocol.exclude_reference if exclude_reference is None else exclude_reference,
    )
