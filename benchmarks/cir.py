"""Composed retrieval between photographs: trained without a loss on maps, and with it by three kinds of masks.

    python benchmarks/cir.py --photos FOLDER --model openai/clip-vit-base-patch32     # twelve runs into runs/cir
    python benchmarks/cir.py --photos FOLDER --trunk FILE --detector FOLDER2 --twins FILE --table README.md
    python benchmarks/cir.py --photos FOLDER --trunk FILE --tune                      # on a split of the training part
    python benchmarks/cir.py --quick                                                  # the figures mean nothing

Photographs with labelled garments (``photos/``, ``labels/``, ``labels.json``) become a set in FashionIQ's layout: two
different photographs whose garments differ as two captions say. On it the same model is trained with equal seeds,
initial weights and steps:

- ``none``: retrieval alone;
- ``self``: no masks: maps of both captions agree, and those of mirrored images;
- ``pseudo``: masks that ``data masks`` makes without the labels, with ``--detector`` of the boxes of a small detector
  that was trained on the labels of other photographs;
- ``true``: masks by the labels.

Prints a Markdown table: recall by FashionIQ's protocol on held-out photographs, and pointing on the true masks, mean
and spread over the seeds. Finished runs are kept. With ``--tune`` the held-out photographs are left out, and a part of
the others takes their place: weights are chosen on it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.data.batches.batch import encode_batch
from mmgrad_explain.data.cir.formats import read_cir
from mmgrad_explain.data.masks.cache import load_masks
from mmgrad_explain.errors import InputError
from mmgrad_explain.evaluation.composed_retrieval import evaluate_cir
from mmgrad_explain.evaluation.maps import MapKind
from mmgrad_explain.metrics.report import environment_line, markdown_table, mean_and_spread
from mmgrad_explain.training.config_file import load_config
from mmgrad_explain.training.held_out_figures import evaluate_batches
from mmgrad_explain.training.sources.cir import CirSource, CirSourceOptions

sys.path.insert(0, str(Path(__file__).parent))
from photographs.card import write_tables
from photographs.detector import TRUNK, GarmentDetector, write_detections
from photographs.edited import generated_folder, labelled
from photographs.pairs import CATEGORY, write_set
from testbed.remembered import remembered_trunks
from testbed.runs import train_if_missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.data.batches.batch import TripletBatch
    from mmgrad_explain.training.config import TrainingConfig

KIND = MapKind("shift", "gradcam")
"""The maps that are judged, whatever was trained."""
FIGURES = {"R@10": "R@10", "R@50": "R@50", "pointing": "pointing", "energy": "energy in mask"}
PLAIN = (
    "sources.scenes=", "dense={weight: 0.0, first: 0.0}", "retrieval={memory: 0, change: 0.0}", "ema=0.99",
    "grounding={pooling: 0, context: 0, contrast: 0, share: 1.0, warm_start: 0.2, ramp: 0.1}",
)  # fmt: skip
SCRATCH = (*PLAIN, "model.sizes.image_size=96")
ON_TRUNK = (
    *PLAIN, f"model.sizes={json.dumps({**TRUNK, 'image_size': 192, 'embed_dim': 128})}",
    "model.freeze=[network.visual]", "optimizer={lr: 1.0e-3, weight_decay: 0.1, warmup: 30}", "workers=0",
)  # fmt: skip
SELF = ("selfeq", "mirror", "texts")
"""Terms of the grounding loss that need no masks."""
DETECTIONS = "detections.json"
_TOGETHER = 32  # images


def variants(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return what differs between the runs: the source's options, and those of the grounding loss."""
    true = {"set": "jsonl", "masks": ["given"]}
    return {
        "none": {"source": {"masks": ["none"]}, "grounding": {"weight": 0.0}},
        "self": {
            "source": {"masks": ["self"]},
            "grounding": {"weight": 0.0, **dict.fromkeys(options.self_terms, options.self_weight)},
        },
        "pseudo": {"source": {"masks": options.pseudo}, "grounding": {"weight": options.weight}},
        "true": {"source": true, "grounding": {"weight": options.weight}},
    }


def config_of(options: argparse.Namespace, data: Path, name: str, seed: int) -> TrainingConfig:
    """Return the options of a run."""
    of = variants(options)[name]
    source = {"kind": "cir", "set": "fashioniq", "folder": str(data), "categories": [CATEGORY], "captions": "orders"}
    source |= {"pictures": options.pictures, "edits": 2, "holdout": 0.0, **of["source"]}
    if source["set"] != "fashioniq":
        source["categories"] = []
    if options.model:
        base, changes = "clip", ["sources.triplets=", f"model.path={json.dumps(options.model)}"]
    elif options.trunk:
        base, changes = "reference", [*ON_TRUNK, f"model.backbone_weights={json.dumps(str(options.trunk))}"]
    else:
        base, changes = "tiny", list(SCRATCH)
    if options.quick:
        changes += ["model.sizes.image_size=32", "device=cpu"]
    return load_config(
        base,
        [
            *changes, f"seed={seed}", f"steps={options.steps}", f"sources.pairs={json.dumps(source)}",
            *(f"grounding.{key}={value}" for key, value in of["grounding"].items()),
            "evaluation={every: 0, batches: 1, maps: 0, best: null}", f"save_every={max(1, options.steps // 4)}",
            "tensorboard=false", *options.set,
        ],
    )  # fmt: skip


def held_out_batches(composer: Composer, data: Path) -> Iterator[TripletBatch]:
    """Give all held-out queries with their true masks; some references of the last batch come a second time."""
    options = CirSourceOptions("jsonl", str(data), masks=("given",), pictures=_TOGETHER, edits=100, holdout=0.0)
    encoder: Any = composer.processor
    source = CirSource(data, int(encoder.image_size), options, held_out=True)
    for step in range(-(-len(source) // min(_TOGETHER, len(source)))):
        yield encode_batch(source.batch(0, step), encoder)


def measure(model: Path, data: Path) -> dict[str, float]:
    """Measure a trained model."""
    composer = load_composer(model)
    found = evaluate_cir(composer, read_cir("fashioniq", data, ["val"], [CATEGORY]), baselines=False)
    maps = evaluate_batches(composer, held_out_batches(composer, data), KIND)
    return {**found.figures["model"][f"{CATEGORY}.val"], **maps}


def count_masks(options: argparse.Namespace, data: Path) -> str:
    """Say how many captions the pseudo masks are of."""
    settings = CirSourceOptions("fashioniq", str(data), masks=tuple(options.pseudo)).settings
    part = f"{CATEGORY}.train"
    found = load_masks(read_cir("fashioniq", data, ["train"], [CATEGORY]), [part], settings).summarize()
    ways = ", ".join(way.partition(":")[0] for way in options.pseudo)
    return f"pseudo masks ({ways}) of {found['with a mask']} of {found['captions']} captions"


def make_set(options: argparse.Namespace, out: Path) -> dict[str, int]:
    """Write the set if it is not there; return the number of queries of each split."""
    file = out / "queries.json"
    inner = options.holdout if options.tune else 0.0
    asked = {
        "photos": [str(one) for one in options.photos], "queries": options.queries, "holdout": options.holdout,
        "inner": inner,
    }  # fmt: skip
    if file.exists():
        known: dict[str, Any] = json.loads(file.read_text())
        if known["asked"] != asked:
            raise InputError(f"{out} holds a set of other photographs: choose another --runs")
        return known["found"]  # type: ignore[no-any-return]
    photographs = labelled(
        options.photos, config="clothing", twins=options.twins or "",
        holdout=0.3 if options.quick else options.holdout, plain=options.quick,
    )  # fmt: skip
    found = write_set(out, photographs, options.queries, seed=0, inner=inner)
    if options.detector is not None:
        found["detector"] = detect(options, out, photographs.settings.synonyms)
    file.write_text(json.dumps({"asked": asked, "found": found}))
    return found


def detect(options: argparse.Namespace, out: Path, synonyms: dict[str, Any]) -> int:
    """Train a detector on other photographs and run it on those of the set; return how many it was trained on."""
    known = {image.stem for folder in options.photos for image in (folder / "photos").iterdir()}
    twins = json.loads(Path(options.twins).read_text()) if options.twins else []
    known |= {name for of in twins if known & set(of) for name in of}
    detector = GarmentDetector(options.trunk, options.detector, options.twins or "", known)
    write_detections(out / DETECTIONS, sorted((out / "images").iterdir()), detector, synonyms)
    return detector.count


def run(options: argparse.Namespace) -> str:
    """Train what is missing, and measure; return the table."""
    data = options.runs / "set"
    found = make_set(options, data)
    if options.detector is not None:
        options.pseudo = [f"detections:{data / DETECTIONS}"]
    rows = []
    figures_of: dict[str, list[dict[str, float]]] = {}
    for seed in range(1, options.seeds + 1):
        for name in options.only or variants(options):
            folder = options.runs / f"{name}-{seed}"
            model = train_if_missing(config_of(options, data, name, seed), folder, f"{name}, seed {seed}")
            figures_of.setdefault(name, []).append(measured(model, data))
    for name, figures in figures_of.items():
        rows.append([name, *(mean_and_spread([one.get(key, float("nan")) for one in figures]) for key in FIGURES)])
    return "\n\n".join(
        (
            markdown_table(["masks", *FIGURES.values()], rows),
            f"{found['train']} queries to train on, {found['val']} held out among "
            f"{len((data / 'gallery.val.txt').read_text().split())} photographs; {count_masks(options, data)}"
            + (f", the detector trained on {found['detector']} other photographs" if "detector" in found else "")
            + f"; {options.steps} steps of {options.pictures} references, seeds 1 to {options.seeds}; "
            f"{model_name(options)}; {environment_line()}",
        )
    )


def model_name(options: argparse.Namespace) -> str:
    """Return what is trained, in words."""
    if options.model:
        return str(options.model)
    return f"a network on a frozen trunk ({options.trunk.name})" if options.trunk else "a network from scratch"


def measured(model: Path, data: Path) -> dict[str, float]:
    """Return the figures of a model, which are kept beside it."""
    file = model.parent / "figures.json"
    if not file.exists():
        file.write_text(json.dumps(measure(model, data)))
    found: dict[str, float] = json.loads(file.read_text())
    return found


def main(argv: list[str] | None = None) -> int:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--photos", action="append", type=Path, metavar="FOLDER", help="photographs with labels, may be repeated")
    add("--twins", metavar="FILE", help="JSON lists of names of photographs that are there twice")
    add("--holdout", type=float, default=0.2, help="share of the photographs that are held out (0.2)")
    add("--queries", type=int, default=4, help="differences drawn for each photograph (4)")
    add("--model", metavar="NAME", help="a CLIP to put a combiner on; without, a small network from scratch")
    add("--trunk", type=Path, metavar="FILE", help="weights of an ImageNet MobileNetV2 for a network on a frozen trunk")
    add("--detector", type=Path, metavar="FOLDER", help="labelled photographs that teach a detector for pseudo masks")
    add("--pseudo", action="append", metavar="HOW", help="ways to make pseudo masks (clipseg, segments)")
    add("--weight", type=float, default=1.0, help="grounding.weight with masks (1.0)")
    add("--self-terms", nargs="+", default=list(SELF), metavar="TERM", help=f"terms without masks ({' '.join(SELF)})")
    add("--self-weight", type=float, default=1.0, help="weight of each term without masks (1.0)")
    add("--only", action="append", metavar="MASKS", help="only these of none, self, pseudo, true, may be repeated")
    add("--tune", action="store_true", help="hold out a part of the photographs that are trained on")
    add("--table", action="append", default=[], type=Path, metavar="PAGE", help="pages to put the table into")
    add("--steps", type=int, default=1000, help="optimizer steps of a run (1000)")
    add("--pictures", type=int, default=32, help="reference images in a batch (32)")
    add("--seeds", type=int, default=3, help="runs of each kind (3)")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="change an option of all runs")
    add("--runs", type=Path, default=Path("runs/cir"), help="folder of the set and the runs (runs/cir)")
    add("--quick", action="store_true", help="a few steps on generated images: a test of the path")
    options = parser.parse_args(argv)
    if options.quick:
        with tempfile.TemporaryDirectory() as folder:
            options.photos, options.runs = [generated_folder(Path(folder) / "photos", 20, lacking=0.4)], Path(folder)
            options.pseudo, options.steps, options.pictures, options.seeds = ["segments"], 1, 4, 1
            print(run(options))
        return 0
    if not options.photos:
        parser.error("--photos: name a folder of photographs with labels")
    if options.detector and not options.trunk:
        parser.error("--detector: needs the weights of its trunk (--trunk)")
    options.pseudo = options.pseudo or ["clipseg", "segments"]
    with remembered_trunks():
        table = run(options)
    print(table)
    for page in options.table:
        write_tables(page, "cir.py", table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
