"""Search of photographs for a garment in a colour: of the first hits, the share that shows it.

    python benchmarks/search.py --labels FOLDER FOLDER     # photographs with label masks that training keeps out
    python benchmarks/search.py --quick                    # generated images: the figures mean nothing

For every label and colour that a photograph shows, other photographs with that label in another colour are searched
with "make the LABEL COLOUR", as `index` and `retrieve` do. Of the first n hits, n the number of photographs with that
label in that colour but at most 8, the share is given that is among them. What a photograph shows is read from its
labels, and the colours from the pixels; photographs of which it cannot be said are passed over. Prints a table.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from mmgrad_explain.composers.bundled import choose_by_images
from mmgrad_explain.composers.embedding import embed_images, embed_query
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.data.batches.facts import match_facts
from mmgrad_explain.data.edits.colour_names import COLOUR_WORDS
from mmgrad_explain.metrics.first_hits import share_of_right_hits
from mmgrad_explain.metrics.report import confidence_half_width, environment_line, format_number, markdown_table
from mmgrad_explain.training.sources.photo_facts import FactNumbers

sys.path.insert(0, str(Path(__file__).parent))
from photographs.edited import generated_folder, labelled

if TYPE_CHECKING:
    import numpy.typing as npt
    from photographs.edited import Labelled

AUTO = "auto"
"""The model is chosen by the photographs, as `index` chooses it."""


@dataclass(frozen=True)
class Search:
    """What a search finds.

    Attributes:
        model: Its name.
        photographs: How many are searched.
        shares: Of each label's queries, the share of right photographs in the first hits.
        chance: What a random order reaches.
    """

    model: str
    photographs: int
    shares: dict[str, list[float]]
    chance: float

    @property
    def every(self) -> torch.Tensor:
        """The shares of all queries."""
        return torch.tensor([share for of in self.shares.values() for share in of])


def measure_search(model: str, labels_of: Labelled, *, queries: int, seed: int) -> Search:
    """Search the photographs that training keeps out.

    Args:
        model: The model, or :data:`AUTO`.
        labels_of: The photographs.
        queries: Of each label and colour.
        seed: Of the queries.
    """
    photos, settings = labels_of.held_out(), labels_of.settings
    numbers = FactNumbers(photos.names, settings.alike)
    facts = np.stack([numbers.of_labels(*photos[i]) for i in range(len(photos))])
    labels = [i for i, name in enumerate(photos.names) if i and name not in settings.exclude]
    images = [Image.fromarray(photos[i][0]) for i in range(len(photos))]
    composer = choose_by_images(images).composer if model == AUTO else load_composer(model)
    gallery = torch.cat([embed_images(composer, images[i : i + 16]) for i in range(0, len(images), 16)])
    shares: dict[str, list[float]] = {}
    chances = []
    for index, label, colour in draw_queries(numbers, facts, labels, queries, seed):
        query, _ = embed_query(composer, images[index], f"make the {photos.names[label]} {colour}")
        asks = torch.from_numpy(numbers.ask(label, colour))[None]
        right, wrong = match_facts(asks, torch.from_numpy(facts))
        searched = (right | wrong) & (torch.arange(len(photos)) != index)
        shares.setdefault(photos.names[label], []).append(
            float(share_of_right_hits((query @ gallery.T)[None], right, searched))
        )
        chances.append(float((right & searched).sum() / searched.sum()))
    return Search(composer.name, len(photos), shares, float(np.mean(chances)))


def draw_queries(
    numbers: FactNumbers, facts: npt.NDArray[np.int8], labels: list[int], most: int, seed: int
) -> list[tuple[int, int, str]]:
    """Draw photographs that show a label in another colour than some other photograph: photograph, label, colour."""
    rng = np.random.default_rng(seed)
    queries = []
    for label in labels:
        known = facts[:, numbers.colours(label)]
        for number, colour in enumerate(COLOUR_WORDS):
            others = np.flatnonzero((facts[:, label] == 1) & (known[:, number] == 0))
            if (known[:, number] == 1).any():
                queries += [(int(i), label, colour) for i in rng.permutation(others)[:most]]
    return queries


def parser() -> argparse.ArgumentParser:
    """Make the parser of the options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add("--labels", type=Path, nargs="+", metavar="FOLDER", help="photographs with label masks")
    add("--twins", default="", metavar="FILE", help="names of photographs that are there twice")
    add("--model", default="clothing", help=f"bundled name, model folder, hub id or {AUTO} (default: %(default)s)")
    add("--config", default="clothing", help="config of its training: what is held out (default: %(default)s)")
    add("--holdout", type=float, metavar="SHARE", help="of the photographs (default: the config's)")
    add("--queries", type=int, default=4, help="of each label and colour (default: %(default)s)")
    add("--seed", type=int, default=40_000, help="of the queries (default: %(default)s)")
    add("--quick", action="store_true", help="generated images, as a test of the whole path")
    return made


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    options = parser().parse_args(argv)
    if options.quick:
        options.labels = [generated_folder(Path(tempfile.mkdtemp()) / "labelled", 12)]
        options.holdout, options.queries = 0.99, 1
    if options.labels is None:
        raise SystemExit("search.py: give --labels FOLDER")
    photos = labelled(
        options.labels, config=options.config, twins=options.twins, holdout=options.holdout, plain=options.quick
    )
    found = measure_search(options.model, photos, queries=options.queries, seed=options.seed)
    every = found.every
    print(f"{environment_line()}\n")
    print(f"{found.model}: {len(every)} queries among {found.photographs} photographs; of the first hits")
    print(f"{float(every.mean()):.3f} ± {confidence_half_width(every):.3f} are right, by chance {found.chance:.3f}.\n")
    rows = [[name, str(len(of)), format_number(float(np.mean(of)))] for name, of in sorted(found.shares.items())]
    print(markdown_table(["label", "queries", "right hits"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
