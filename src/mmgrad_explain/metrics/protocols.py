"""How each benchmark of composed retrieval is scored. Pure tensors; what is read from files is turned into indices.

A :class:`Protocol` is a value: which figures, what is ranked, what is removed. :func:`judge` takes one and similarities
in chunks of queries, so that a gallery of a hundred thousand pictures needs no matrix of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics.composed_retrieval import (
    average_precision,
    best_ranks,
    recall_at,
    soft_recall,
    target_ranks,
)
from mmgrad_explain.metrics.report import mean_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor


@dataclass(frozen=True)
class Protocol:
    """How a benchmark is scored.

    Attributes:
        name: Of the benchmark.
        recalls: K of Recall@K over the gallery.
        subset_recalls: K of Recall_subset@K, among the query's own group.
        precisions: K of mAP@K.
        exclude_reference: Whether the reference picture is taken out of the ranking.
        any_relevant: Whether Recall@K counts any right answer, not the named target alone.
        soft: Whether Recall counts graded targets instead of the one target.
        averages: Further figures, each the mean of some of the others.
        gallery: What is ranked, in words.
    """

    name: str
    recalls: tuple[int, ...] = ()
    subset_recalls: tuple[int, ...] = ()
    precisions: tuple[int, ...] = ()
    exclude_reference: bool = False
    any_relevant: bool = False
    soft: bool = False
    averages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    gallery: str = "all pictures of the split"

    def describe(self) -> str:
        """The protocol in a sentence, to stand beside its figures."""
        figures = [
            f"{name}@{','.join(map(str, ks))}"
            for name, ks in (("mAP", self.precisions), ("R", self.recalls), ("R_subset", self.subset_recalls))
            if ks
        ]
        target = "the one target"
        if self.any_relevant:
            target = "any right answer"
        if self.soft:
            target = "soft targets (best score among the retrieved, at least 0)"
        removed = "removed" if self.exclude_reference else "kept"
        means = "".join(f"; {name} is the mean of {' and '.join(of)}" for name, of in self.averages.items())
        order = ", in mAP the wrong picture goes first" if self.precisions else ""
        return (
            f"{self.name}: {', '.join(figures)}; recall of {target}; gallery: {self.gallery}, the reference {removed}; "
            f"a tie counts half a place{order}{means}"
        )


PROTOCOLS = {
    "cirr": Protocol(
        "CIRR", (1, 5, 10, 50), (1, 2, 3), exclude_reference=True, averages={"average": ("R@5", "R_subset@1")}
    ),
    "fashioniq": Protocol("FashionIQ", (10, 50), averages={"average": ("R@10", "R@50")}),
    "shoes": Protocol("Shoes", (1, 10, 50), exclude_reference=True, averages={"average": ("R@1", "R@10", "R@50")}),
    "circo": Protocol("CIRCO", (5, 10, 25, 50), precisions=(5, 10, 25, 50), gallery="all pictures of COCO's list"),
    "lasco": Protocol("LaSCo", (1, 5, 10, 50), gallery="the split's corpus"),
    "fashion200k": Protocol("Fashion200K", (1, 10, 50), exclude_reference=True, any_relevant=True),
    "jsonl": Protocol("triplets", (1, 5, 10, 50), exclude_reference=True, any_relevant=True),
}
"""The protocol of each format. ``dataclasses.replace`` makes variants."""


@dataclass(frozen=True)
class Questions:
    """What is asked of a ranking, as indices into the gallery, of ``Q`` queries.

    Attributes:
        reference: The reference picture, ``(Q,)``; -1 where it is not in the gallery.
        target: The one target, ``(Q,)``; -1 where it is not known.
        relevant: All right answers of each query.
        group: The pictures of each query's group; empty where there are none.
        soft: Graded targets of each query, as indices and scores.
        size: Pictures in the gallery.
    """

    reference: Tensor
    target: Tensor
    relevant: Sequence[Tensor]
    group: Sequence[Tensor]
    soft: Sequence[tuple[Tensor, Tensor]]
    size: int

    @classmethod
    def of(
        cls,
        gallery: Sequence[str],
        *,
        references: Sequence[str],
        targets: Sequence[str | None],
        relevant: Sequence[Sequence[str]],
        groups: Sequence[Sequence[str]] = (),
        soft: Sequence[Mapping[str, float]] = (),
    ) -> Questions:
        """Look names up in a gallery.

        Args:
            gallery: Names of all pictures to choose from, each once.
            references: Of each query, the reference; it need not be in the gallery.
            targets: The target, or None.
            relevant: All right answers.
            groups: The group; none of any query when empty.
            soft: Scores of pictures; those that are not in the gallery cannot be retrieved and are left out.

        Raises:
            InputError: A target, a right answer or a member of a group is not in the gallery.
        """
        place = {name: index for index, name in enumerate(gallery)}

        def find(names: Iterable[str], what: str) -> Tensor:
            lost = [name for name in names if name not in place]
            if lost:
                raise InputError(f"{what} {lost[0]!r} is not in the gallery of {len(place)} pictures")
            return torch.tensor([place[name] for name in names], dtype=torch.long)

        count = len(references)
        scores = [{n: s for n, s in of.items() if n in place} for of in soft or [{}] * count]
        return cls(
            torch.tensor([place.get(name, -1) for name in references], dtype=torch.long),
            torch.tensor([-1 if t is None else int(find([t], "target")) for t in targets], dtype=torch.long),
            [find(dict.fromkeys(names), "target") for names in relevant],
            [find(names, "group member") for names in groups or [()] * count],
            [(find(of, ""), torch.tensor(list(of.values()), dtype=torch.float64)) for of in scores],
            len(place),
        )

    def candidates(self, rows: slice, *, exclude_reference: bool, group: bool = False) -> Tensor:
        """Which pictures of the gallery may be answers, ``(rows, G)`` bool."""
        reference = self.reference[rows]
        allowed = torch.full((len(reference), self.size), not group)
        if group:
            for row, members in zip(allowed, self.group[rows], strict=True):
                row[members] = True
        if exclude_reference:
            known = (reference >= 0).nonzero()[:, 0]
            allowed[known, reference[known]] = False
        return allowed


def judge(protocol: Protocol, questions: Questions, chunks: Iterable[Tensor]) -> dict[str, Tensor]:
    """The figures of every query.

    Args:
        protocol: How to score.
        questions: ``Q`` queries.
        chunks: Their similarities to the gallery, ``(q, G)`` each, on the CPU, in the order of the queries.

    Returns:
        For each figure (``"R@10"``, ``"R_subset@1"``, ``"mAP@5"``), ``(Q,)`` float64; NaN where no target is known.

    Raises:
        InputError: A similarity is NaN, a query has no group though the protocol ranks within groups, or the chunks
            have another shape than the questions.
    """
    if protocol.subset_recalls and not all(map(len, questions.group)):
        raise InputError(f"{protocol.name}: R_subset needs a group of pictures with every query")
    parts: list[dict[str, Tensor]] = []
    start, total = 0, len(questions.reference)
    for chunk in chunks:
        rows = slice(start, start + len(chunk))
        start = rows.stop
        if start > total or chunk.shape[1:] != (questions.size,):
            raise InputError(f"similarities of {total} queries to {questions.size} pictures do not fit {chunk.shape}")
        parts.append(_judge_rows(protocol, questions, rows, chunk))
    if start != total or not parts:
        raise InputError(f"there are similarities of {start} queries, not of {total}")
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _judge_rows(protocol: Protocol, questions: Questions, rows: slice, similarity: Tensor) -> dict[str, Tensor]:
    figures: dict[str, Tensor] = {}
    allowed = questions.candidates(rows, exclude_reference=protocol.exclude_reference)
    relevant = questions.relevant[rows]
    if protocol.precisions:
        found = average_precision(similarity, relevant, protocol.precisions, allowed)
        figures |= {f"mAP@{k}": found[:, i] for i, k in enumerate(protocol.precisions)}
    rankings = [("R", protocol.recalls, allowed)]
    if protocol.subset_recalls:
        own = questions.candidates(rows, exclude_reference=protocol.exclude_reference, group=True)
        rankings.append(("R_subset", protocol.subset_recalls, own))
    for name, ks, candidates in rankings:
        if protocol.soft:
            found = soft_recall(similarity, questions.soft[rows], ks, candidates)
            figures |= {f"{name}@{k}": found[:, i] for i, k in enumerate(ks)}
            continue
        if protocol.any_relevant:
            rank = best_ranks(similarity, relevant, candidates)
        else:
            rank = target_ranks(similarity, questions.target[rows], candidates)
        figures |= {f"{name}@{k}": recall_at(rank, k) for k in ks}
    return figures


def summarize(protocol: Protocol, parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, float]]:
    """Means over queries, then over the parts, then the protocol's averages.

    Args:
        protocol: How the figures were made.
        parts: The figures of each part (:func:`judge`), such as FashionIQ's categories.

    Returns:
        The figures of each part, as shares in [0, 1], and with several parts their unweighted ``"mean"``.
    """
    rows = {part: {name: mean_of(values) for name, values in figures.items()} for part, figures in parts.items()}
    if len(rows) > 1:
        names = next(iter(rows.values()))
        rows["mean"] = {name: sum(row[name] for row in rows.values()) / len(parts) for name in names}
    for row in rows.values():
        row |= {name: sum(row[figure] for figure in of) / len(of) for name, of in protocol.averages.items()}
    return rows
