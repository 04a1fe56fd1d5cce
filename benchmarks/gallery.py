"""How long a gallery of 100,000 vectors takes to build and to search, and how much of an exact search it finds.

    python benchmarks/gallery.py                                 # 100,000 vectors of length 512, flat and hnsw
    python benchmarks/gallery.py --gallery http://host:19530     # the same on a Milvus server
    python benchmarks/gallery.py --quick                         # few vectors: the figures mean nothing

The vectors are unit vectors around random centres, like those of images of some kinds; a query is near one of them.
The rows are written as `mmgrad-explain index` writes them. The exact search is torch's, over all vectors. Nothing is
embedded: that time depends on the model.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np
import torch

from mmgrad_explain.gallery.store import INDEXES, Entry, GalleryStore
from mmgrad_explain.metrics.report import environment_line, markdown_table

BATCH = 1000
CENTRES = 500


def vectors_of(count: int, dim: int, queries: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Make unit vectors ``(count, dim)``, and queries ``(queries, dim)`` near some of them."""
    random = torch.Generator().manual_seed(seed)
    centres = torch.randn(CENTRES, dim, generator=random)
    rows = centres[torch.randint(CENTRES, (count,), generator=random)] + 0.7 * torch.randn(count, dim, generator=random)
    near = rows[torch.randint(count, (queries,), generator=random)] + 0.7 * torch.randn(queries, dim, generator=random)
    return torch.nn.functional.normalize(rows, dim=-1), torch.nn.functional.normalize(near, dim=-1)


def measure(place: str, index: str, rows: torch.Tensor, queries: torch.Tensor, k: int) -> list[str]:
    """Measure one row of the table."""
    exact = torch.cat([(some @ rows.T).topk(k).indices for some in queries.split(16)])
    entries = [Entry(f"/pictures/{i:08d}.jpg", 1, 1, f"{i:064d}") for i in range(len(rows))]
    with GalleryStore(place, collection=f"benchmark_{uuid.uuid4().hex}", create=True) as store:
        store.make({"dim": rows.shape[1], "index": index})
        start = time.perf_counter()
        for first in range(0, len(rows), BATCH):
            store.put(entries[first : first + BATCH], rows[first : first + BATCH].numpy())
        store.flush()
        built = time.perf_counter()
        store.search(queries[0].numpy(), k)
        ready = time.perf_counter()
        known = store.rows()
        read = time.perf_counter()
        times, right = [], 0
        for query, answers in zip(queries, exact.tolist(), strict=True):
            asked = time.perf_counter()
            found = store.search(query.numpy(), k)
            times.append(time.perf_counter() - asked)
            right += len({entries[i].path for i in answers} & {entry.path for entry, _ in found})
        if len(known) != len(rows):
            raise RuntimeError(f"the gallery has {len(known)} rows of {len(rows)}")
        store.drop()
    return [
        index, f"{len(rows):,}", f"{built - start:.1f}", f"{ready - built:.1f}", f"{read - ready:.1f}",
        f"{1000 * float(np.median(times)):.0f}", f"{1000 * float(np.quantile(times, 0.95)):.0f}",
        f"{right / exact.numel():.4f}",
    ]  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--gallery", help="a Milvus server (default: Milvus Lite in a temporary folder)")
    add("--count", type=int, default=100_000, help="how many vectors (default: %(default)s)")
    add("--dim", type=int, default=512, help="their length (default: %(default)s)")
    add("--queries", type=int, default=100, help="how many (default: %(default)s)")
    add("-k", type=int, default=10, help="hits of a query (default: %(default)s)")
    add("--seed", type=int, default=0, help="of the vectors (default: %(default)s)")
    add("--quick", action="store_true", help="2,000 vectors, 5 queries")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    count, queries = (2000, 5) if options.quick else (options.count, options.queries)
    vectors, asked = vectors_of(count, options.dim, queries, options.seed)
    with tempfile.TemporaryDirectory() as folder:
        place = options.gallery or str(Path(folder) / "gallery.db")
        rows = [measure(place, index, vectors, asked, options.k) for index in INDEXES]
    header = [
        "index",
        "vectors",
        "build s",
        "first query s",
        "list rows s",
        "query ms",
        "95 % ms",
        f"recall@{options.k}",
    ]
    sys.stdout.write(markdown_table(header, rows) + "\n")
    where = options.gallery or "Milvus Lite"
    sys.stdout.write(f"{where}, length {options.dim}, {queries} queries, seed {options.seed}; {environment_line()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
