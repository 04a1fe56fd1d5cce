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
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from mmgrad_explain.composers.embedding import embed_images, embed_query
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.data.batches.facts import match_facts
from mmgrad_explain.data.edits.colour_names import COLOUR_WORDS
from mmgrad_explain.metrics.first_hits import share_of_right_hits
from mmgrad_explain.metrics.report import confidence_half_width, environment_line, format_number, markdown_table
from mmgrad_explain.training.config_file import load_config
from mmgrad_explain.training.sources.photo_facts import FactNumbers
from mmgrad_explain.training.sources.photo_folder import PhotoFolder

sys.path.insert(0, str(Path(__file__).parent))
from photos import generated_folder

if TYPE_CHECKING:
    import numpy.typing as npt


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
    add("--model", default="clothing", help="bundled name, model folder or hub id (default: %(default)s)")
    add("--config", default="clothing", help="config of its training: what is held out (default: %(default)s)")
    add("--holdout", type=float, metavar="SHARE", help="of the photographs (default: the config's)")
    add("--queries", type=int, default=4, help="of each label and colour (default: %(default)s)")
    add("--seed", type=int, default=40_000, help="of the queries (default: %(default)s)")
    add("--quick", action="store_true", help="generated images, as a test of the whole path")
    return made


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    options = parser().parse_args(argv)
    settings = load_config(options.config).sources["photos"]
    if options.quick:
        options.labels = [generated_folder(Path(tempfile.mkdtemp()) / "labelled", 12)]
        options.holdout, options.queries = 0.99, 1
        settings = replace(settings, alike=())
    if options.labels is None:
        raise SystemExit("search.py: give --labels FOLDER")
    share = settings.holdout if options.holdout is None else options.holdout
    photos = PhotoFolder(options.labels[0], more=options.labels[1:], twins=options.twins, holdout=share, held_out=True)
    numbers = FactNumbers(photos.names, settings.alike)
    facts = np.stack([numbers.of_labels(*photos[i]) for i in range(len(photos))])
    labels = [i for i, name in enumerate(photos.names) if i and name not in settings.exclude]
    composer = load_composer(options.model)
    images = [Image.fromarray(photos[i][0]) for i in range(len(photos))]
    gallery = torch.cat([embed_images(composer, images[i : i + 16]) for i in range(0, len(images), 16)])
    shares: dict[str, list[float]] = {}
    chances = []
    for index, label, colour in draw_queries(numbers, facts, labels, options.queries, options.seed):
        query, _ = embed_query(composer, images[index], f"make the {photos.names[label]} {colour}")
        asks = torch.from_numpy(numbers.ask(label, colour))[None]
        right, wrong = match_facts(asks, torch.from_numpy(facts))
        searched = (right | wrong) & (torch.arange(len(photos)) != index)
        shares.setdefault(photos.names[label], []).append(
            float(share_of_right_hits((query @ gallery.T)[None], right, searched))
        )
        chances.append(float((right & searched).sum() / searched.sum()))
    every = torch.tensor([share for of in shares.values() for share in of])
    print(f"{environment_line()}\n")
    print(f"{composer.name}: {len(every)} queries among {len(photos)} photographs; of the first hits")
    print(
        f"{float(every.mean()):.3f} ± {confidence_half_width(every):.3f} are right, by chance {np.mean(chances):.3f}.\n"
    )
    rows = [[name, str(len(of)), format_number(float(np.mean(of)))] for name, of in sorted(shares.items())]
    print(markdown_table(["label", "queries", "right hits"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
