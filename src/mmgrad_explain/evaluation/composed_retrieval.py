"""A composer on a benchmark of composed retrieval, by the benchmark's own protocol, beside two baselines.

Many queries of the public benchmarks can be answered from the picture or from the text alone (arXiv 2605.14787 reports
32 to 84 % of them), so that both are always measured as well, with the same model:

- *image only*: the query is the reference picture's own embedding;
- *text only*: the query is the text's embedding, or, of a model that embeds no text alone, the text composed with a
  plain grey picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from mmgrad_explain.attention.undisturbed import undisturbed
from mmgrad_explain.composers.dual_encoder import TwoTowerOutput
from mmgrad_explain.composers.embedding import pictures_alone, prepared, run
from mmgrad_explain.data.cir.formats import FORMATS
from mmgrad_explain.data.triplets import read_pixels
from mmgrad_explain.errors import InputError
from mmgrad_explain.evaluation.submission import CIRCO_LENGTH, CIRR_LENGTHS, circo_submission, cirr_submission
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.metrics.composed_retrieval import best_first
from mmgrad_explain.metrics.protocols import PROTOCOLS, Questions, judge, summarize
from mmgrad_explain.metrics.report import mean_of
from mmgrad_explain.notes import texts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.data.cir.records import CirSet, CirTriplet
    from mmgrad_explain.metrics.protocols import Protocol as CirProtocol

METHODS = ("model", "image only", "text only")
"""What is ranked beside the model, as floors."""

GALLERIES = ("original", "queries")
"""``original``: what the benchmark ranks; ``queries``: references and targets alone (FashionIQ's VAL split)."""
ROWS = 256
_SUBMISSIONS = {"cirr": ("cirr_{}_recall.json", "cirr_{}_recall_subset.json"), "circo": ("circo_{}.json",)}
_GREY = (127, 127, 127)


class Progress(Protocol):
    """Is told how far an evaluation has come."""

    def __call__(self, what: str, done: int, of: int) -> None:
        """So many of so many pictures or queries are embedded."""


@dataclass(frozen=True)
class CirEvaluation:
    """What was measured.

    Attributes:
        protocol: How, in words.
        figures: By method (:data:`METHODS`), part and figure (``"R@10"``), as shares in [0, 1]; several parts have a
            ``"mean"``. NaN where no target is known.
        aspects: CIRCO's ``mAP@10`` of the model by semantic aspect; empty of other sets.
        counts: Of each part, its queries, those with a target, and the pictures it ranks.
        notices: What the model had to say about the texts, each once.
        submissions: What the servers' files hold, by file name, where asked for.
    """

    protocol: str
    figures: Mapping[str, Mapping[str, Mapping[str, float]]]
    aspects: Mapping[str, float]
    counts: Mapping[str, Mapping[str, int]]
    notices: Sequence[str] = ()
    submissions: Mapping[str, Any] = field(default_factory=dict)


def protocol_of(
    name: str, *, soft: bool = False, gallery: str = "original", exclude_reference: bool | None = None
) -> CirProtocol:
    """A format's protocol, or a variant of it.

    Args:
        name: Of the format.
        soft: Whether Recall counts CIRR's soft targets.
        gallery: One of :data:`GALLERIES`.
        exclude_reference: Whether the reference is taken out of the ranking; as is usual for the set when None.

    Raises:
        InputError: There is no such gallery, or no soft targets in this format.
    """
    if gallery not in GALLERIES:
        raise InputError(f"gallery {gallery!r}: there are {' and '.join(GALLERIES)}")
    if soft and name != "cirr":
        raise InputError("soft targets: only cirr has them")
    protocol = PROTOCOLS[FORMATS[name].protocol]
    return replace(
        protocol,
        soft=soft,
        gallery=protocol.gallery if gallery == "original" else "references and targets of the split (VAL split)",
        exclude_reference=protocol.exclude_reference if exclude_reference is None else exclude_reference,
    )


def evaluate_cir(
    composer: Composer,
    data: CirSet,
    *,
    soft: bool = False,
    gallery: str = "original",
    exclude_reference: bool | None = None,
    batch: int = 32,
    submit: bool = False,
    progress: Progress | None = None,
) -> CirEvaluation:
    """Embed the pictures and queries of a set, rank, and score; all parts of the set count, so read one split.

    Args:
        composer: The model, on whatever device; comes back as it was.
        data: One split, complete.
        soft: See :func:`protocol_of`.
        gallery: See :func:`protocol_of`.
        exclude_reference: See :func:`protocol_of`.
        batch: Pictures that go through the model together.
        submit: Also make what CIRR's or CIRCO's server takes, of the whole gallery.
        progress: Is told how far it has come.

    Raises:
        InputError: Something is missing that evaluation needs, no target is public and nothing is to be submitted, a
            picture cannot be read, or the set has no server.
    """
    data.require()
    _check_parts(data)
    protocol = protocol_of(data.name, soft=soft, gallery=gallery, exclude_reference=exclude_reference)
    if submit and gallery != "original":
        raise InputError("a submission needs the original gallery")
    if not (submit and submission_files(data)) and not any(
        query.target for queries in data.queries.values() for query in queries
    ):
        instead = "make a submission, or take another split" if data.name in _SUBMISSIONS else "take another split"
        raise InputError(f"the targets of this split are not public: {instead}")
    if all(query.group for queries in data.queries.values() for query in queries):
        protocol = replace(protocol, subset_recalls=protocol.subset_recalls or (1, 2, 3))
    ranked = {part: _gallery(data, part, gallery) for part in data.queries}
    parts: dict[str, dict[str, dict[str, Tensor]]] = {method: {} for method in METHODS}
    notices: dict[str, None] = {}
    submissions: dict[str, Any] = {}
    with undisturbed(composer, {}), torch.no_grad():
        embedder = _Embedder(composer, data, batch, progress)
        pictures = embedder.pictures(ranked)
        for part, queries in data.queries.items():
            embedded = embedder.queries(part, pictures, notices)
            names = ranked[part]
            matrix = torch.stack([pictures[name] for name in names])
            questions = _questions(queries, names)
            for method in METHODS:
                parts[method][part] = judge(protocol, questions, _similarities(embedded[method], matrix))
            if submit:
                again = partial(_similarities, embedded["model"], matrix)
                submissions |= _submissions(data.name, part, queries, names, questions, again)
    return CirEvaluation(
        protocol.describe(),
        {method: summarize(protocol, found) for method, found in parts.items()},
        _aspects(data, parts["model"]),
        {
            part: {
                "queries": len(queries),
                "with target": sum(query.target is not None for query in queries),
                "gallery": len(ranked[part]),
            }
            for part, queries in data.queries.items()
        },
        list(notices),
        submissions,
    )


def submission_files(data: CirSet) -> list[str]:
    """The names of the files that the set's server takes, of every part.

    Raises:
        InputError: It has no server.
    """
    if data.name not in _SUBMISSIONS:
        raise InputError(f"{data.name} has no server: a submission can be made for {' and '.join(_SUBMISSIONS)}")
    return [name.format(part) for part in data.queries for name in _SUBMISSIONS[data.name]]


class _Embedder:
    """Runs the composer over pictures and queries, in batches."""

    def __init__(self, composer: Composer, data: CirSet, batch: int, progress: Progress | None) -> None:
        self.composer = composer
        self.data = data
        self.batch = batch
        self.progress = progress

    def pictures(self, ranked: Mapping[str, Sequence[str]]) -> dict[str, Tensor]:
        """Unit embeddings ``(D,)`` of every picture that is ranked or is a reference."""
        references = [query.reference for queries in self.data.queries.values() for query in queries]
        names = list(dict.fromkeys([*(name for gallery in ranked.values() for name in gallery), *references]))
        found: dict[str, Tensor] = {}
        for some in self._batches("pictures", names):
            images = [self._open(name) for name in some]
            rows = [
                pictures_alone(self.composer, inputs.tensors)
                for inputs in prepared(self.composer, images, ["picture"] * len(some))
            ]
            found |= zip(some, F.normalize(torch.cat(rows).float(), dim=-1).cpu(), strict=True)
        return found

    def queries(self, part: str, pictures: Mapping[str, Tensor], notices: dict[str, None]) -> dict[str, Tensor]:
        """Unit embeddings ``(Q, D)`` of a part's queries, by method."""
        composed, worded = list[Tensor](), list[Tensor]()
        queries = self.data.queries[part]
        for some in self._batches(f"queries of {part}", queries):
            texts = [query.text for query in some]
            for inputs in prepared(self.composer, [self._open(query.reference) for query in some], texts):
                notices.update(dict.fromkeys(texts_of(inputs.notices)))
                output = run(self.composer, inputs.tensors)
                composed.append(output.embedding)
                if isinstance(output, TwoTowerOutput):
                    worded.append(output.text)
            if len(worded) < len(composed):
                grey = [Image.new("RGB", (64, 64), _GREY)] * len(some)
                worded += [run(self.composer, one.tensors).embedding for one in prepared(self.composer, grey, texts)]
        model, text = (F.normalize(torch.cat(rows).float(), dim=-1).cpu() for rows in (composed, worded))
        own = torch.stack([pictures[query.reference] for query in queries])
        return dict(zip(METHODS, (model, own, text), strict=True))

    def _open(self, name: str) -> Image.Image:
        return open_image(read_pixels(self.data.images.path(name)))

    def _batches(self, what: str, items: Sequence[Any]) -> Iterator[list[Any]]:
        for start in range(0, len(items), self.batch):
            yield list(items[start : start + self.batch])
            if self.progress is not None:
                self.progress(what, min(start + self.batch, len(items)), len(items))


def _check_parts(data: CirSet) -> None:
    """Raise InputError where there is nothing to ask, or nothing to rank; of a training split that is no finding."""
    empty = [part for part, queries in data.queries.items() if not queries or not data.images.galleries[part]]
    for part in empty or ([] if data.queries else [data.name]):
        what = "has a gallery without a picture" if data.queries.get(part) else "has no query"
        raise InputError(f"{part} {what}: take another split or category, or fetch its files again ({data.root})")


def _gallery(data: CirSet, part: str, gallery: str) -> tuple[str, ...]:
    if gallery == "original":
        return data.images.galleries[part]
    used = [image for query in data.queries[part] for image in (query.reference, *query.relevant, *query.group)]
    return tuple(dict.fromkeys(used))


def _questions(queries: Sequence[CirTriplet], gallery: Sequence[str]) -> Questions:
    return Questions.of(
        gallery,
        references=[query.reference for query in queries],
        targets=[query.target for query in queries],
        relevant=[query.relevant for query in queries],
        groups=[query.group for query in queries],
        soft=[query.soft for query in queries],
    )


def _similarities(queries: Tensor, gallery: Tensor) -> Iterator[Tensor]:
    for start in range(0, len(queries), ROWS):
        yield queries[start : start + ROWS] @ gallery.T


def _aspects(data: CirSet, figures: Mapping[str, Mapping[str, Tensor]]) -> dict[str, float]:
    """CIRCO's mAP@10 of the queries that ask for something."""
    found: dict[str, list[Tensor]] = {}
    for part, queries in data.queries.items():
        for index, query in enumerate(queries):
            for aspect in query.aspects:
                found.setdefault(aspect, []).append(figures[part]["mAP@10"][index])
    return {aspect: mean_of(torch.stack(values)) for aspect, values in sorted(found.items())}


def _submissions(
    name: str,
    part: str,
    queries: Sequence[CirTriplet],
    gallery: Sequence[str],
    questions: Questions,
    similarities: Callable[[], Iterator[Tensor]],
) -> dict[str, Any]:
    """The files for a set's server, by name."""
    files = [file.format(part) for file in _SUBMISSIONS[name]]

    def rankings(length: int, *, exclude_reference: bool, group: bool = False) -> dict[str, list[str]]:
        found: list[list[str]] = []
        for chunk in similarities():
            rows = slice(len(found), len(found) + len(chunk))
            own = questions.candidates(rows, exclude_reference=exclude_reference, group=group)
            found += [[gallery[i] for i in row.tolist()] for row in best_first(chunk, length, own)]
        return {query.id: names for query, names in zip(queries, found, strict=True)}

    if name == "circo":
        answers = rankings(CIRCO_LENGTH, exclude_reference=False)
        return {files[0]: circo_submission(answers, [query.id for query in queries])}
    references = {query.id: query.reference for query in queries}
    groups = {query.id: query.group for query in queries}
    whole = rankings(CIRR_LENGTHS["recall"], exclude_reference=True)
    subset = rankings(CIRR_LENGTHS["recall_subset"], exclude_reference=True, group=True)
    return {
        files[0]: cirr_submission("recall", whole, references, groups),
        files[1]: cirr_submission("recall_subset", subset, references, groups),
    }
