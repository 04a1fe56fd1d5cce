"""Benchmarks that a run measures on the way: published splits of the composed-retrieval sets that it trains on.

A benchmark is named by source and split, ``cirr.val``, and a figure of it by both and the figure as it is printed,
without the at sign and in lower case: ``cirr.val.r1``, ``fashioniq.val.r10``, ``cirr.val.r_subset1``,
``shoes.eval.average``. Of several categories it is the mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from mmgrad_explain.data.cir.formats import FORMATS, read_cir
from mmgrad_explain.errors import InputError, did_you_mean
from mmgrad_explain.metrics.protocols import PROTOCOLS
from mmgrad_explain.training.sources.cir_options import CirOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from mmgrad_explain.composers.base import Composer


WITH_SERVER = ("cirr", "circo")
"""Sets whose test targets are kept by a server; a test holds it equal to what the evaluation can write."""


class Benchmark(NamedTuple):
    """A split of a source.

    Attributes:
        source: Name of the source in the config.
        split: The split, as the config names it.
        options: The source's.
    """

    source: str
    split: str
    options: CirOptions

    @property
    def name(self) -> str:
        """Source and split."""
        return f"{self.source}.{self.split}"

    def figures(self) -> list[str]:
        """List the names of the figures that its protocol has; records of one's own may have fewer."""
        protocol = PROTOCOLS[FORMATS[self.options.set].protocol]
        own = [f"{name}@{k}" for name, ks in protocol.cutoffs.items() for k in ks]
        grouped = [f"R_subset@{k}" for k in (1, 2, 3)] if self.options.set == "jsonl" else []
        return [add_benchmark(self.name, figure) for figure in (*own, *grouped, *protocol.averages)]


def add_benchmark(benchmark: str, figure: str) -> str:
    """Put the name of a benchmark before that of a figure as a protocol prints it."""
    return f"{benchmark}.{figure.lower().replace('@', '')}"


def benchmark_of(figure: str) -> str:
    """Return the benchmark in the name of a figure; empty where it is of no benchmark."""
    return figure.rpartition(".")[0]


def find_benchmarks(sources: Mapping[str, Any], names: Iterable[str]) -> list[Benchmark]:
    """Find benchmarks by their names.

    Args:
        sources: Options of the sources, by name.
        names: Such as ``cirr.val``.

    Raises:
        InputError: There is no such source of composed retrieval, or no such split to be held out.
    """
    sets = {name: options for name, options in sources.items() if isinstance(options, CirOptions)}
    found = []
    for name in names:
        source, _, split = name.rpartition(".")
        if source not in sets:
            hint = did_you_mean(source, sets)
            raise InputError(
                f"evaluation: benchmark {name!r}: there is no source {source!r} of kind cir: {hint}name SOURCE.SPLIT "
                f"of {', '.join(sets) or 'a source of this kind'}"
            )
        known = FORMATS[sets[source].set] if sets[source].set else FORMATS["jsonl"]
        official, trained = (known.other_names.get(one, one) for one in (split, sets[source].split))
        others = [one for one in known.splits if one != trained]
        if official == trained or (known.splits and official not in others):
            raise InputError(
                f"evaluation: benchmark {name!r}: {sets[source].set or 'the set'} has no split {split!r} to be held "
                f"out: use {', '.join(others) or 'another one than that which is trained on'}"
            )
        found.append(Benchmark(source, split, sets[source]))
    return found


class BenchmarkSets:
    """The data of a run's benchmarks, read once.

    Args:
        benchmarks: Which.

    Raises:
        InputError: Something that the evaluation needs is missing, or no target is public.
    """

    def __init__(self, benchmarks: Sequence[Benchmark]) -> None:
        self._sets = {}
        for one in benchmarks:
            data = read_cir(one.options.set, one.options.folder, [one.split], one.options.categories)
            data.require()
            if not any(query.target for queries in data.queries.values() for query in queries):
                raise InputError(f"evaluation: benchmark {one.name!r}: its targets are not public: take another split")
            self._sets[one.name] = data

    def measure(self, composer: Composer) -> dict[str, float]:
        """Measure all figures of all benchmarks, by the name of each."""
        from mmgrad_explain.evaluation.composed_retrieval import evaluate_cir

        found: dict[str, float] = {}
        for name, data in self._sets.items():
            parts = evaluate_cir(composer, data, baselines=False).figures["model"]
            figures = parts["mean"] if len(parts) > 1 else next(iter(parts.values()))
            found |= {add_benchmark(name, figure): value for figure, value in figures.items()}
        return found


def write_submissions(composer: Composer, benchmarks: Sequence[Benchmark], folder: Path) -> list[Path]:
    """Write the files for the servers that keep the targets of test splits.

    Args:
        composer: The trained model.
        benchmarks: The test splits.
        folder: Where to; made if needed, and files in it are replaced.

    Raises:
        InputError: Something that the evaluation needs is missing, or a file breaks a rule of its server.
    """
    from mmgrad_explain.evaluation.composed_retrieval import evaluate_cir
    from mmgrad_explain.evaluation.submission import write_submission

    written = []
    for one in benchmarks:
        data = read_cir(one.options.set, one.options.folder, [one.split], one.options.categories)
        found = evaluate_cir(composer, data, submit=True, baselines=False)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in found.submissions.items():
            write_submission(content, folder / name, overwrite=True)
            written.append(folder / name)
    return written
