"""The figures of a benchmark's rankings, by its protocol. Pure functions on tensors; names are looked up once.

:func:`score_rankings` takes similarities in chunks of queries, so that a gallery of a hundred thousand images needs no
whole similarity matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics.report import mean_of_known
from mmgrad_explain.metrics.retrieval import average_precision, best_ranks, recall_at, soft_recall, target_ranks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from torch import Tensor

    from mmgrad_explain.metrics.protocols import Protocol


@dataclass(frozen=True)
class RankingQueries:
    """``Q`` queries with their right answers, as indices into the gallery.

    Attributes:
        reference: The reference image, ``(Q,)``; -1 where it is not in the gallery.
        target: The one target, ``(Q,)``; -1 where it is not known.
        relevant: All right answers of each query.
        group: The images of each query's group; empty where there are none.
        soft: Graded targets of each query, as indices and scores.
        size: How many images the gallery has.
    """

    reference: Tensor
    target: Tensor
    relevant: Sequence[Tensor]
    group: Sequence[Tensor]
    soft: Sequence[tuple[Tensor, Tensor]]
    size: int

    @classmethod
    def from_names(
        cls,
        gallery: Sequence[str],
        *,
        references: Sequence[str],
        targets: Sequence[str | None],
        relevant: Sequence[Sequence[str]],
        groups: Sequence[Sequence[str]] = (),
        soft: Sequence[Mapping[str, float]] = (),
    ) -> RankingQueries:
        """Look names up in a gallery.

        Args:
            gallery: Names of all images to choose from, each once.
            references: The reference of each query; it need not be in the gallery.
            targets: The target, or None.
            relevant: All right answers.
            groups: The group; when empty no query has one.
            soft: Scores of images; images outside the gallery cannot be retrieved and are left out.

        Raises:
            InputError: A target, a right answer or a member of a group is not in the gallery.
        """
        place = {name: index for index, name in enumerate(gallery)}

        def find(names: Iterable[str], what: str) -> Tensor:
            missing = [name for name in names if name not in place]
            if missing:
                raise InputError(f"{what} {missing[0]!r} is not in the gallery of {len(place)} images")
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
        """Mark the images of the gallery that may be answers, ``(rows, G)`` bool.

        Args:
            rows: Which queries.
            exclude_reference: Whether a query's reference is none.
            group: Whether only the images of the query's group are.
        """
        reference = self.reference[rows]
        allowed = torch.full((len(reference), self.size), not group)
        if group:
            for row, members in zip(allowed, self.group[rows], strict=True):
                row[members] = True
        if exclude_reference:
            known = (reference >= 0).nonzero()[:, 0]
            allowed[known, reference[known]] = False
        return allowed


@dataclass(frozen=True)
class _Chunk:
    """Some of the queries with their similarities to the gallery, ``(q, G)``."""

    protocol: Protocol
    queries: RankingQueries
    rows: slice
    similarity: Tensor

    def candidates(self, *, group: bool = False) -> Tensor:
        return self.queries.candidates(self.rows, exclude_reference=self.protocol.exclude_reference, group=group)


def _mean_average_precision(chunk: _Chunk, ks: tuple[int, ...]) -> Tensor:
    return average_precision(chunk.similarity, chunk.queries.relevant[chunk.rows], ks, chunk.candidates())


def _recall(chunk: _Chunk, ks: tuple[int, ...], *, group: bool = False) -> Tensor:
    candidates = chunk.candidates(group=group)
    if chunk.protocol.soft:
        return soft_recall(chunk.similarity, chunk.queries.soft[chunk.rows], ks, candidates)
    if chunk.protocol.any_relevant:
        rank = best_ranks(chunk.similarity, chunk.queries.relevant[chunk.rows], candidates)
    else:
        rank = target_ranks(chunk.similarity, chunk.queries.target[chunk.rows], candidates)
    return torch.stack([recall_at(rank, k) for k in ks], 1)


RANKING_FIGURES: Mapping[str, Callable[[_Chunk, tuple[int, ...]], Tensor]] = {
    "mAP": _mean_average_precision,
    "R": _recall,
    "R_subset": partial(_recall, group=True),
}
"""How each figure of a protocol is computed: ``(q, len(ks))`` for a chunk of queries and the values of K.

To add one, write its function here and name it in the ``cutoffs`` of the protocols that report it."""


def score_rankings(protocol: Protocol, queries: RankingQueries, chunks: Iterable[Tensor]) -> dict[str, Tensor]:
    """Compute the protocol's figures of every query.

    Args:
        protocol: How to score.
        queries: ``Q`` queries.
        chunks: Their similarities to the gallery, ``(q, G)`` each, on the CPU, in the order of the queries.

    Returns:
        For each figure (``"R@10"``, ``"R_subset@1"``, ``"mAP@5"``), ``(Q,)`` float in [0, 1]; NaN where no target is
        known.

    Raises:
        InputError: A similarity is NaN, a query has no group though the protocol ranks within groups, or the chunks
            do not have the shape of the queries.
    """
    if "R_subset" in protocol.cutoffs and not all(map(len, queries.group)):
        raise InputError(f"{protocol.name}: R_subset needs a group of images with every query")
    parts: list[dict[str, Tensor]] = []
    start, total = 0, len(queries.reference)
    for similarity in chunks:
        rows = slice(start, start + len(similarity))
        start = rows.stop
        if start > total or similarity.shape[1:] != (queries.size,):
            raise InputError(f"similarities of {total} queries to {queries.size} images do not fit {similarity.shape}")
        chunk = _Chunk(protocol, queries, rows, similarity)
        parts.append(
            {
                f"{name}@{k}": values
                for name, ks in protocol.cutoffs.items()
                for k, values in zip(ks, RANKING_FIGURES[name](chunk, ks).T, strict=True)
            }
        )
    if start != total or not parts:
        raise InputError(f"there are similarities of {start} queries, not of {total}")
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def summarize(protocol: Protocol, parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, float]]:
    """Take means over queries, then over the parts, then the protocol's averages.

    Args:
        protocol: How the figures were computed.
        parts: The figures of each part, from :func:`score_rankings`, for example of FashionIQ's categories.

    Returns:
        The figures of each part, as shares in [0, 1]; with several parts also their unweighted ``"mean"``.
    """
    rows = {part: {name: mean_of_known(values) for name, values in figures.items()} for part, figures in parts.items()}
    if len(rows) > 1:
        names = next(iter(rows.values()))
        rows["mean"] = {name: sum(row[name] for row in rows.values()) / len(parts) for name in names}
    for row in rows.values():
        row |= {name: sum(row[figure] for figure in of) / len(of) for name, of in protocol.averages.items()}
    return rows
