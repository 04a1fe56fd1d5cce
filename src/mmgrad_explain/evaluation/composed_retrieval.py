"""A composer on a benchmark of composed retrieval, by the benchmark's own protocol, with two baselines.

Many queries of the public benchmarks can be answered from the image or from the text alone (arXiv 2605.14787 reports 32
to 84 % of them). Both baselines are therefore always measured too, with the same composer:

- *image only*: the query is the reference image's own embedding;
- *text only*: the query is the text's embedding; if the composer cannot embed a text alone, it is the text composed
  with a plain grey image.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from mmgrad_explain.attention.running.undisturbed import undisturbed
from mmgrad_explain.composers.embedding import embed_images_alone, prepare_batches, run
from mmgrad_explain.composers.model_capabilities import check_composer
from mmgrad_explain.composers.outputs import check_parts, text_alone
from mmgrad_explain.data.cir.formats import FORMATS
from mmgrad_explain.data.triplets import read_pixels
from mmgrad_explain.errors import InputError
from mmgrad_explain.evaluation.submission import has_server, make_submissions, submission_files
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.metrics.protocols import ASPECT_FIGURE, choose_protocol
from mmgrad_explain.metrics.rankings import RankingQueries, score_rankings, summarize
from mmgrad_explain.metrics.report import mean_of_known
from mmgrad_explain.metrics.similarities import similarities
from mmgrad_explain.notes import texts_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.data.cir.dataset import CirSet, CirTriplet

QUERY_KINDS = ("model", "image only", "text only")
"""The kinds of query: the model's own, and two baselines."""

_ROWS = 256  # queries in a chunk of similarities
_GREY = (127, 127, 127)


class EmbeddingProgress(Protocol):
    """A function that is called after each batch of images or queries."""

    def __call__(self, what: str, done: int, of: int) -> None:
        """Report that ``done`` of ``of`` images or queries are embedded."""


@dataclass(frozen=True)
class CirEvaluation:
    """The result of :func:`evaluate_cir`.

    Attributes:
        protocol: How the figures were computed, in words.
        figures: By kind of query (:data:`QUERY_KINDS`, or the model's alone), part and figure (``"R@10"``), as shares
            in [0, 1]; several parts have a ``"mean"``. NaN where no target is known.
        aspects: CIRCO's ``mAP@10`` of the model by semantic aspect; empty for other sets.
        counts: For each part the number of its queries, of those with a target, and of the images it ranks.
        notices: What the composer noted about the texts, each once.
        submissions: The content of the server's files, by file name, if a submission was requested.
    """

    protocol: str
    figures: Mapping[str, Mapping[str, Mapping[str, float]]]
    aspects: Mapping[str, float]
    counts: Mapping[str, Mapping[str, int]]
    notices: Sequence[str] = ()
    submissions: Mapping[str, Any] = field(default_factory=dict)


def evaluate_cir(
    composer: Composer,
    data: CirSet,
    *,
    soft: bool = False,
    gallery: str = "original",
    exclude_reference: bool | None = None,
    batch: int = 32,
    submit: bool = False,
    baselines: bool = True,
    progress: EmbeddingProgress | None = None,
) -> CirEvaluation:
    """Embed the images and queries of a set, rank, and score.

    Args:
        composer: The composer, on any device; it comes back as it was.
        data: One split, complete; all parts of the set are evaluated.
        soft: See :func:`~mmgrad_explain.metrics.protocols.choose_protocol`.
        gallery: See :func:`~mmgrad_explain.metrics.protocols.choose_protocol`.
        exclude_reference: See :func:`~mmgrad_explain.metrics.protocols.choose_protocol`.
        batch: Images that go through the composer together.
        submit: Whether to also make the files for CIRR's or CIRCO's server; they need the original gallery.
        baselines: Whether to measure the image-only and the text-only query as well.
        progress: Called after each batch.

    Raises:
        InputError: Something that the evaluation needs is missing, no target is public and no submission is made, an
            image cannot be read, or the set has no server.
    """
    check_composer(composer)
    data.require()
    _check_parts(data)
    protocol = choose_protocol(
        FORMATS[data.name].protocol, soft=soft, gallery=gallery, exclude_reference=exclude_reference
    )
    if submit and gallery != "original":
        raise InputError("a submission needs the original gallery")
    if not (submit and submission_files(data)) and not any(
        query.target for queries in data.queries.values() for query in queries
    ):
        instead = "make a submission, or take another split" if has_server(data.name) else "take another split"
        raise InputError(f"the targets of this split are not public: {instead}")
    if all(query.group for queries in data.queries.values() for query in queries):
        cutoffs = {**protocol.cutoffs, "R_subset": protocol.cutoffs.get("R_subset", (1, 2, 3))}
        protocol = replace(protocol, cutoffs=cutoffs)
    galleries = {part: _gallery_names(data, part, gallery) for part in data.queries}
    kinds = QUERY_KINDS if baselines else QUERY_KINDS[:1]
    parts: dict[str, dict[str, dict[str, Tensor]]] = {kind: {} for kind in kinds}
    notices: dict[str, None] = {}
    submissions: dict[str, Any] = {}
    with undisturbed(composer, {}), torch.no_grad():
        embedder = _Embedder(composer, data, batch, progress)
        images = embedder.images(galleries)
        for part, queries in data.queries.items():
            embedded = embedder.queries(part, kinds, images, notices)
            names = galleries[part]
            matrix = torch.stack([images[name] for name in names])
            indices = _look_up(queries, names)
            for kind in kinds:
                parts[kind][part] = score_rankings(protocol, indices, _similarities(embedded[kind], matrix))
            if submit:
                similarities = _similarities(embedded["model"], matrix)
                submissions |= make_submissions(data.name, part, queries, names, indices, similarities)
    return CirEvaluation(
        protocol.describe(),
        {kind: summarize(protocol, found) for kind, found in parts.items()},
        _aspects(data, parts["model"]),
        {
            part: {
                "queries": len(queries),
                "with target": sum(query.target is not None for query in queries),
                "gallery": len(galleries[part]),
            }
            for part, queries in data.queries.items()
        },
        list(notices),
        submissions,
    )


class _Embedder:
    """Runs the composer on images and queries, in batches."""

    def __init__(self, composer: Composer, data: CirSet, batch: int, progress: EmbeddingProgress | None) -> None:
        self.composer = composer
        self.data = data
        self.batch = batch
        self.progress = progress

    def images(self, galleries: Mapping[str, Sequence[str]]) -> dict[str, Tensor]:
        """Return unit embeddings ``(D,)``, or several ``(Q, D)``, of all galleries and references, by name."""
        references = [query.reference for queries in self.data.queries.values() for query in queries]
        names = list(dict.fromkeys([*(name for gallery in galleries.values() for name in gallery), *references]))
        found: dict[str, Tensor] = {}
        for batch in self._batches("images", names):
            images = [self._open(name) for name in batch]
            rows = [
                embed_images_alone(self.composer, inputs.tensors)
                for inputs in prepare_batches(self.composer, images, ["picture"] * len(batch))
            ]
            found |= zip(batch, F.normalize(torch.cat(rows).float(), dim=-1).cpu(), strict=True)
        return found

    def queries(
        self, part: str, kinds: Sequence[str], images: Mapping[str, Tensor], notices: dict[str, None]
    ) -> dict[str, Tensor]:
        """Return unit embeddings ``(Q, D)`` of a part's queries, by kind of query."""
        composed, worded = list[Tensor](), list[Tensor]()
        text_only = QUERY_KINDS[2] in kinds
        queries = self.data.queries[part]
        for batch in self._batches(f"queries of {part}", queries):
            texts = [query.text for query in batch]
            for inputs in prepare_batches(self.composer, [self._open(query.reference) for query in batch], texts):
                notices.update(dict.fromkeys(texts_of(inputs.notices)))
                output = run(self.composer, inputs.tensors)
                check_parts(output, ("embedding",), "to be evaluated")
                composed.append(output.embedding)
                alone = text_alone(output) if text_only else None
                if alone is not None:
                    worded.append(alone)
            if text_only and len(worded) < len(composed):
                grey = [Image.new("RGB", (64, 64), _GREY)] * len(batch)
                worded += [
                    run(self.composer, inputs.tensors).embedding
                    for inputs in prepare_batches(self.composer, grey, texts)
                ]
        pictured = [_one_vector(images[query.reference])[None] for query in queries]
        rows = [composed, pictured, worded]
        return {
            kind: F.normalize(torch.cat(own).float(), dim=-1).cpu()
            for kind, own in zip(QUERY_KINDS, rows, strict=True)
            if kind in kinds
        }

    def _open(self, name: str) -> Image.Image:
        return open_image(read_pixels(self.data.images.path(name)))

    def _batches(self, what: str, items: Sequence[Any]) -> Iterator[list[Any]]:
        for start in range(0, len(items), self.batch):
            yield list(items[start : start + self.batch])
            if self.progress is not None:
                self.progress(what, min(start + self.batch, len(items)), len(items))


def _one_vector(image: Tensor) -> Tensor:
    """Return the vector ``(D,)`` of an image, or the mean of its vectors ``(Q, D)``, for a query of the image only."""
    return image if image.ndim == 1 else image.mean(0)


def _check_parts(data: CirSet) -> None:
    """Raise InputError for a part without queries or gallery; the reader of a training split does not check this."""
    empty = [part for part, queries in data.queries.items() if not queries or not data.images.galleries[part]]
    for part in empty or ([] if data.queries else [data.name]):
        what = "has a gallery without an image" if data.queries.get(part) else "has no query"
        raise InputError(f"{part} {what}: take another split or category, or fetch its files again ({data.root})")


def _gallery_names(data: CirSet, part: str, gallery: str) -> tuple[str, ...]:
    if gallery == "original":
        return data.images.galleries[part]
    used = [image for query in data.queries[part] for image in (query.reference, *query.relevant, *query.group)]
    return tuple(dict.fromkeys(used))


def _look_up(queries: Sequence[CirTriplet], gallery: Sequence[str]) -> RankingQueries:
    return RankingQueries.from_names(
        gallery,
        references=[query.reference for query in queries],
        targets=[query.target for query in queries],
        relevant=[query.relevant for query in queries],
        groups=[query.group for query in queries],
        soft=[query.soft for query in queries],
    )


def _similarities(queries: Tensor, gallery: Tensor) -> Iterator[Tensor]:
    rows = _ROWS if gallery.ndim == 2 else max(1, _ROWS // gallery.shape[1])
    for start in range(0, len(queries), rows):
        yield similarities(queries[start : start + rows], gallery)


def _aspects(data: CirSet, figures: Mapping[str, Mapping[str, Tensor]]) -> dict[str, float]:
    """Take the mean of :data:`ASPECT_FIGURE` over the queries of each semantic aspect."""
    found: dict[str, list[Tensor]] = {}
    for part, queries in data.queries.items():
        for index, query in enumerate(queries):
            for aspect in query.aspects:
                found.setdefault(aspect, []).append(figures[part][ASPECT_FIGURE][index])
    return {aspect: mean_of_known(torch.stack(values)) for aspect, values in sorted(found.items())}
