"""A composer on photographs: every figure of a model's card, against floors that know nothing.

    python benchmarks/photos.py --labels FOLDER FOLDER --twins FILE   # label masks: edited here with a fixed seed
    python benchmarks/photos.py --triplets FOLDER FOLDER              # sets as `mmgrad-explain data edits` makes
    python benchmarks/photos.py --model clothing --labels ... --triplets ... --captions FILE --card README.md
    python benchmarks/photos.py --quick                               # generated images: the figures mean nothing

``--labels`` takes folders with ``photos/``, ``labels/`` and ``labels.json``; of their photographs those are used that
training keeps out. Their edits are measured with the plain texts of training, with texts that are worded as no text of
training is, for small objects alone, and with the bundled model that is chosen for each image and text. The photographs
are searched as benchmarks/search.py does. ``--captions`` counts the words that the model knows. Maps are judged on the
images' own pixels. Where something is added, its place is judged on the target image, and counted by itself. Intervals
are of 95 %, of photographs drawn again. Prints Markdown tables; ``--card`` writes them into a card, between markers.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain._system.files import atomic_file
from mmgrad_explain.composers.load import BUNDLED, load_composer
from mmgrad_explain.errors import InputError
from mmgrad_explain.evaluation.maps import IMAGE_ONLY, MapKind, default_kind
from mmgrad_explain.evaluation.triplets import evaluate_triplets, floor_figures, triplet_faithfulness
from mmgrad_explain.metrics.intervals import bootstrap_interval
from mmgrad_explain.metrics.map_figures import MAP_FIGURES
from mmgrad_explain.metrics.report import (
    confidence_half_width,
    environment,
    environment_line,
    format_number,
    markdown_table,
    mean_of_known,
)

sys.path.insert(0, str(Path(__file__).parent))
from photographs.card import write_tables
from photographs.chosen import CHOSEN, evaluate_chosen
from photographs.edited import edits_of_objects, generated_folder, labelled
from photographs.wording import find_known_words, read_captions, word_freely
from search import AUTO, measure_search

if TYPE_CHECKING:
    from photographs.edited import Labelled

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.evaluation.figures import TripletFigures
    from mmgrad_explain.evaluation.triplet_inputs import PhotoTriplet

SIDES = ("deletion", "insertion")
COLUMNS = {figure.name: figure.heading for figure in MAP_FIGURES}
PLAIN = "edited photographs"
FREE = "the same, worded freely"
ITSELF = "worded freely, model chosen by itself"


class Measured:
    """The figures of one set of triplets, of one map.

    Args:
        triplets: The set.
        found: The figures.
        name: The map's name in them.
        floors: Figures of maps that know nothing.
    """

    def __init__(
        self, triplets: list[PhotoTriplet], found: TripletFigures, name: str, floors: dict[str, TripletFigures]
    ) -> None:
        self.triplets, self.found, self.name, self.floors = triplets, found, name, floors

    def row(self, title: str, rows: torch.Tensor | None = None) -> list[str]:
        """Write the figures of some triplets (``(N,)`` bool), or of all that are measured on their reference."""
        rows = ~self.found.on_target if rows is None else rows & ~self.found.on_target
        images = [triplet.reference_name for triplet in self.triplets]
        maps = self.found.maps[self.name]
        measured = [(maps[figure], rows, range(len(rows))) for figure in ("pointing", "energy", "iou", "dead")]
        pairs = self.found.contrast_of
        contrast = (self.found.contrast[self.name], rows[pairs], pairs.tolist())
        recall = [] if self.found.recall is None else [(self.found.recall, rows, range(len(rows)))]
        cells = [
            bootstrap_interval(values[chosen], [images[i] for i, taken in zip(of, chosen, strict=True) if taken])
            for values, chosen, of in [measured[0], contrast, *measured[1:], *recall]
        ]
        chance = mean_of_known(self.floors["best fixed point"].maps["best fixed point"]["pointing"][rows])
        written = [cell.describe() for cell in cells] + ["–"] * (6 - len(cells) - 1)
        return [title, f"{int(rows.sum())} of {len(set(images))}", *written, format_number(chance)]


HEADER = [
    "figures of", "triplets of photographs", "pointing", "contrast", "energy", "IoU", "dead maps", "R@1",
    "pointing of the best fixed point",
]  # fmt: skip


def measure(composer: Composer, triplets: list[PhotoTriplet], kinds: list[MapKind]) -> Measured:
    """Evaluate one model on triplets; the first kind of map is the one that is reported."""
    found = evaluate_triplets(composer, triplets, kinds=kinds)
    return Measured(triplets, found, kinds[0].name, floor_figures(triplets))


def measure_chosen(triplets: list[PhotoTriplet]) -> tuple[Measured, str]:
    """Evaluate the model that is chosen for each triplet, and say how often each one is."""
    found, counts = evaluate_chosen(triplets)
    said = ", ".join(f"{name} {count}" for name, count in counts.most_common())
    return Measured(triplets, found, CHOSEN, floor_figures(triplets)), said


def is_small(triplets: list[PhotoTriplet], share: float) -> torch.Tensor:
    """Find the triplets whose edited object covers less than a share of its image, ``(N,)`` bool."""
    return torch.tensor([float(triplet.mask.mean()) < share for triplet in triplets])


class Report:
    """Measures what the options ask for, and collects tables and figures."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.chooses = options.model == AUTO
        self.composer = None if self.chooses else load_composer(options.model)
        self.rows: list[list[str]] = []
        self.more: list[str] = []
        self.details: list[str] = []
        self.result: dict[str, Any] = {"environment": environment(), "model": options.model}

    def kinds(self) -> list[MapKind]:
        """The default map of the model, and maps of other scores."""
        assert self.composer is not None  # noqa: S101
        names = (IMAGE_ONLY, "similarity", "pair")
        return list(dict.fromkeys([default_kind(self.composer), *(MapKind(name, "gradcam") for name in names)]))

    def add(self, title: str, triplets: list[PhotoTriplet], *, detailed: bool = False) -> None:
        """Measure a set of triplets."""
        if self.composer is None:
            measured, said = measure_chosen(triplets)
            self.more.append(f"Models chosen by themselves, {title}: {said}.")
        else:
            kinds = self.kinds() if detailed else self.kinds()[:1]
            measured = measure(self.composer, triplets, kinds)
            if detailed:
                self._describe(title, measured, kinds)
        self.rows.append(measured.row(title))
        small = is_small(triplets, self.options.small)
        if small.any():
            self.rows.append(measured.row(f"{title}: objects below {100 * self.options.small:g} %", small))

    def add_labelled(self, photos: Labelled) -> None:
        """Measure edits of labelled photographs."""
        of = self.options
        edited = photos.edit(of.pictures, of.edits, of.min_area, of.size, of.seed)
        free = word_freely(edited.triplets, edited.nouns, of.seed)
        self.add(PLAIN, edited.triplets, detailed=True)
        self.add(FREE, free)
        if self.composer is not None and of.model in BUNDLED:
            measured, said = measure_chosen(free)
            self.rows.append(measured.row(ITSELF))
            self.more.append(f"Models chosen by themselves: {said}.")
        said = {self._search(model, photos) for model in ([of.model, AUTO] if of.model in BUNDLED else [of.model])}
        self.more += sorted(said)

    def _search(self, model: str, photos: Labelled) -> str:
        """Search the photographs, and say what is found; equal for the model that is named and chosen."""
        try:
            found = measure_search(model, photos, queries=self.options.queries, seed=self.options.seed)
        except InputError as error:  # the photographs do not tell which model to take
            return f"Search without a model's name: {error}."
        every = found.every
        return (
            f'Search with `{found.model}`, "make the LABEL COLOUR": of {len(every)} queries among {found.photographs} '
            f"photographs {float(every.mean()):.3f} ± {confidence_half_width(every):.3f} of the first hits are right, "
            f"by chance {found.chance:.3f}."
        )

    def add_captions(self, files: list[Path]) -> None:
        """Count the words that the model knows."""
        assert self.composer is not None  # noqa: S101
        known = find_known_words(self.composer, read_captions(files))
        missing = ", ".join(f"{word} {count}" for word, count in known.missing[:20])
        self.more.append(
            f"Words: {known.share:.3f} ± {known.half_width:.3f} of the {sum(known.lengths)} running words of "
            f"{len(known.lengths)} captions are known or leave the reading as it is ({known.in_vocabulary:.3f} are in "
            f"the vocabulary); {known.whole:.3f} of the captions have no other word. The most frequent others: "
            f"{missing or 'none'}."
        )

    def _describe(self, title: str, measured: Measured, kinds: list[MapKind]) -> None:
        """Tables of all kinds of maps, of kinds of edits, and of faithfulness; not for the card."""
        found, name = measured.found, measured.name
        figures = {**measured.floors, **{kind.name: found for kind in kinds}}
        images = {triplet.reference_name for triplet in measured.triplets}
        recall, siblings = (
            mean_of_known(values) for values in (found.recall, found.sibling_recall) if values is not None
        )
        self.details.append(
            f"{title}: default map {name}; {len(measured.triplets)} triplets of {len(images)} images, "
            f"{len(found.contrast_of)} contrast pairs, {len(found.notices)} notes of the composer on the texts.\n"
        )
        self.details.append(tables(figures, on_target=False))
        if bool(found.on_target.any()):
            added = int(found.on_target.sum())
            self.details.append(f"\nAdded objects, on the target ({added}):\n\n{tables(figures, on_target=True)}")
        self.details.append(
            f"\nR@1 {recall:.3f} in a gallery of {found.gallery}, among an image's own {siblings:.3f}.\n"
        )
        by_edit = found.by_edit(found.maps[name]["pointing"])
        rows = [[edit, str(found.edits.count(edit)), format_number(value)] for edit, value in by_edit.items()]
        self.details.append(markdown_table(["edit", "triplets", "pointing"], rows) + "\n")
        result: dict[str, Any] = {
            "R@1": recall, "siblings": siblings, "gallery": found.gallery, "by_edit": by_edit,
            "maps": {key: of.means(key, ~of.on_target) for key, of in figures.items()},
        }  # fmt: skip
        if self.options.faithfulness and self.composer is not None:
            kept = [one for one in measured.triplets if not one.on_target][: self.options.faithfulness]
            table, result["faithfulness"] = faithfulness_table(self.composer, kept, kinds[:2])
            heading = "gain over shuffled maps, and rank correlation with random weights"
            self.details.append(f"Faithfulness on {len(kept)}: {heading}:\n\n{table}\n")
        self.result[title] = result

    def card(self) -> str:
        """What a card shows."""
        gallery = next((of["gallery"] for of in self.result.values() if isinstance(of, dict) and "gallery" in of), None)
        lines = [f"{environment_line()}; seed {self.options.seed}."]
        lines += [] if gallery is None else [f"R@1 of edited photographs in a gallery of {gallery}."]
        parts = [" ".join(lines), markdown_table(HEADER, self.rows)] if self.rows else [" ".join(lines)]
        return "\n\n".join([*parts, *(["\n".join(f"- {line}" for line in self.more)] if self.more else [])])


def tables(figures: dict[str, TripletFigures], *, on_target: bool) -> str:
    """Write a row for each map, floors first, over the triplets of one side."""
    rows = []
    for name, of in figures.items():
        chosen = of.on_target if on_target else ~of.on_target
        means = of.means(name, chosen)
        rows.append([name, *(format_number(means[column]) for column in COLUMNS)])
    return markdown_table(["map", *COLUMNS.values()], rows)


def faithfulness_table(composer: Composer, triplets: list[PhotoTriplet], kinds: list[MapKind]) -> tuple[str, Any]:
    """Measure the faithfulness of maps; give it as a table and as figures."""
    found = {
        kind.name: {
            **{
                f"{score} {side}": mean_of_known(getattr(of, score)[side])
                for score in ("retrieval", "shift")
                for side in SIDES
            },
            "randomized": mean_of_known(of.randomized),
        }
        for kind, of in triplet_faithfulness(composer, triplets, kinds=kinds).items()
    }
    header = list(next(iter(found.values())))
    rows = [[name, *map(format_number, values.values())] for name, values in found.items()]
    return markdown_table(["map", *header], rows), found


def parser() -> argparse.ArgumentParser:
    """Make the parser of the options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add("--triplets", type=Path, nargs="+", default=[], metavar="FOLDER", help="triplet sets")
    add("--labels", type=Path, nargs="+", metavar="FOLDER", help="photographs with label masks")
    add("--twins", default="", metavar="FILE", help="names of photographs that are there twice")
    add("--captions", type=Path, nargs="+", default=[], metavar="FILE", help="captions, in the layout of FashionIQ")
    add("--model", default="reference", help=f"bundled name, model folder, hub id or {AUTO} (default: %(default)s)")
    add("--fold", type=int, help="one fold of the triplet sets (default: all)")
    add("--objects", nargs="+", default=[], metavar="CLASS", help="only edits of these, of the triplet sets")
    add("--pictures", type=int, default=80, help="photographs of --labels (default: %(default)s)")
    add("--edits", type=int, default=4, help="edits of each (default: %(default)s)")
    add(
        "--min-area",
        type=float,
        default=0.004,
        help="smallest edited object, share of the image (default: %(default)s)",
    )
    add("--small", type=float, default=0.015, help="below this share an object is small (default: %(default)s)")
    add("--size", type=int, default=256, help="their side, pixels (default: %(default)s)")
    add("--config", default="clothing", help="config of its training: what is held out (default: %(default)s)")
    add("--holdout", type=float, metavar="SHARE", help="of the photographs (default: the config's)")
    add("--queries", type=int, default=4, help="searches of each label and colour (default: %(default)s)")
    add("--seed", type=int, default=40_000, help="of the edits, texts and searches (default: %(default)s)")
    add("--faithfulness", type=int, default=0, metavar="N", help="test faithfulness on N triplets (default: 0)")
    add("--card", type=Path, metavar="FILE", help="write the figures into a card, between its markers")
    add("--json", type=Path, metavar="FILE", help="also write the figures as JSON")
    add("--quick", action="store_true", help="generated images, as a test of the whole path")
    return made


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    options = parser().parse_args(argv)
    if options.quick:
        folder = Path(tempfile.mkdtemp())
        options.labels, options.holdout = [generated_folder(folder / "labelled")], 0.99
        options.pictures, options.edits, options.size, options.faithfulness, options.queries = 4, 3, 64, 4, 1
        options.captions = [folder / "captions.json"]
        options.captions[0].write_text(json.dumps([{"captions": ["is a red star", "has longer sleeves"]}]))
    if not options.labels and not options.triplets and not options.captions:
        raise InputError("give --labels FOLDER, --triplets FOLDER or --captions FILE")
    if options.captions and options.model == AUTO:
        raise InputError("--captions: name a --model, whose words are counted")
    report = Report(options)
    if options.labels:
        photos = labelled(
            options.labels, config=options.config, twins=options.twins, holdout=options.holdout, plain=options.quick
        )
        report.add_labelled(photos)
    for folder in options.triplets:
        triplets = edits_of_objects(folder, options.objects, options.fold)
        if not triplets:
            raise InputError(f"--objects: {folder} has no edit of {', '.join(options.objects)}")
        report.add(f"edits in {folder.name}", triplets, detailed=True)
    if options.captions:
        report.add_captions(options.captions)
    card = report.card()
    print(f"{options.model}: {card}\n")
    print("\n".join(report.details))
    if options.card:
        write_tables(options.card, "photos.py", card)
    if options.json:
        report.result["card"] = card
        with atomic_file(options.json, overwrite=True) as stream:
            stream.write(json.dumps(report.result, indent=1).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
