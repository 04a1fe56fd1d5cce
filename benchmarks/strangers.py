"""Which map is right on models that were trained without the grounding loss: every method and layer that applies.

    python benchmarks/strangers.py --cache FOLDER           # trains what is not in the cache, then measures
    python benchmarks/strangers.py --cache FOLDER --train   # only trains
    python benchmarks/strangers.py --quick                  # toy size, as a test of the path; the figures mean nothing

The models (:mod:`testbed.models`): a relation network, TIRG, CLIP, a CLIP without residuals around attention, a
CLIP that reads the mean of its patches, SigLIP, a matcher of one transformer, LLaVA. Each is trained on drawn scenes
in minutes of one core, with fixed seeds, and given to MMGrad as a plain module. Masks are exact. Settings are chosen on
the scenes of seed 20001 and reported on those of 20002. Prints Markdown tables; ``--json`` writes all figures.

*All multiplied* is the geometric mean of the maps of the layers listed. *Calibrated* is what ``calibrate`` chooses by
its own candidates on calls without masks, measured on all other calls. Columns: *pointing*, *energy*, *IoU* of
sentences about one object (95 % interval by bootstrap over scenes); *2*, *3*, *4*: pointing at any of so many named
objects; *contrast*: of two texts about one image, the map of each is brighter in its own region; *occlusion*: rank
correlation with the fall of the score when a cell of an 8 x 8 grid is blurred; *deletion*, *insertion*: gain over
shuffled cells, in shares of the score that blurring the whole image takes; *two texts*: rank correlation of the maps of
two texts about one image (low is good); *random weights*: rank correlation with the maps of randomized weights (low is
good); *cost*: time over that of a plain forward.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

from testbed.measure import Judge
from testbed.models import STRANGERS, TRAINING_SEED, Stranger, checkpoint, draw, prepare, shorten
from testbed.sheets import Sheet, make_sheet

from mmgrad_explain._system.files import atomic_file
from mmgrad_explain.attention.methods.named import METHODS
from mmgrad_explain.errors import MMGradError
from mmgrad_explain.metrics.report import MISSING, environment, environment_line, format_number, markdown_table

CHOOSE_SEED, REPORT_SEED = 20_001, 20_002
FIGURES = {
    "energy": "energy", "iou": "IoU", "pointing 2": "2", "pointing 3": "3", "pointing 4": "4", "contrast": "contrast",
    "occlusion": "occlusion", "deletion": "deletion", "insertion": "insertion", "texts": "two texts",
    "randomized": "random weights", "dead": "dead maps", "cost": "cost",
}  # fmt: skip
AS_IT_COMES = "as it comes"
CALIBRATION_CALLS = 24
CALIBRATED = f"calibrated on {CALIBRATION_CALLS} calls"
FLOORS = ("random map", "centre Gaussian")


def main(argv: list[str] | None = None) -> int:
    """Train, measure and print."""
    options = _parser().parse_args(argv)
    torch.set_num_threads(options.threads)
    if options.quick:
        options.cache = Path(tempfile.mkdtemp())
        options.scenes, options.faithful, options.steps = 2, 2, 1
    chosen = [STRANGERS[name] for name in options.models]
    if options.quick:
        chosen = [shorten(one) for one in chosen]
    results: dict[str, Any] = {
        "environment": environment(),
        "seeds": {"training": TRAINING_SEED, "held out": options.seed},
        "scenes": options.scenes,
        "models": {},
    }
    print(f"{environment_line()}; {options.scenes} held-out scenes of seed {options.seed}")
    methods = options.methods
    for number, stranger in enumerate(chosen):
        if options.quick:  # every model and every method once
            options.methods = methods[number :: len(chosen)]
        model, seconds = prepare(stranger, options.cache, quick=options.quick)
        if options.train:
            continue
        data = draw(stranger, options.seed, options.scenes, options.cache, masks=True)
        sheet = make_sheet(stranger, model, data, options.seed)
        rows = Rows(stranger, model, sheet, options)
        found = rows.measure()
        results["models"][stranger.name] = {
            "kind": stranger.kind, "settings": asdict(stranger), "seconds": seconds, "task": sheet.task,
            "calls": len(sheet.images), "rows": found, "refused": rows.refused,
            "layers": rows.known["layers"], "uneven": rows.known["uneven"],
        }  # fmt: skip
        print(_describe(stranger, seconds, sheet) + "\n\n" + _table(found) + "\n")
        for label, layer in rows.known["layers"].items():
            print(
                f"- {label}: `{layer}`; its gradient differs from place to place by {rows.known['uneven'][layer]:.2f}"
            )
        if rows.refused:
            print(f"- do not apply: {', '.join(rows.refused)}")
        sys.stdout.flush()
        if options.json:
            with atomic_file(options.json, overwrite=True) as stream:
                stream.write(json.dumps(results, indent=1).encode())
    if not options.train:
        print("\n## The default\n\n" + _defaults(results["models"]))
        print("\n## Pointing and energy of every method\n\n" + _summary(results["models"]))
    return 0


class Rows:
    """Measures every method and layer of one model; rows that were measured before are read from the cache."""

    def __init__(self, stranger: Stranger, model: torch.nn.Module, sheet: Sheet, options: argparse.Namespace) -> None:
        self.model = model
        self.sheet = sheet
        self.options = options
        name = f"{checkpoint(stranger, options.cache).stem}-{options.seed}-{options.scenes}-{options.faithful}"
        self.file = options.cache / f"rows-{name}-{options.steps}.json"
        kept = json.loads(self.file.read_text()) if self.file.exists() else {}
        self.known: dict[str, Any] = {} if options.fresh else kept
        self.refused: dict[str, str] = {}
        self._judge: Judge | None = None

    @property
    def judge(self) -> Judge:
        """What measures the rows; made when the first one is not known yet."""
        if self._judge is None:
            of = self.options
            self._judge = Judge(self.model, self.sheet, faithful=of.faithful, steps=of.steps, short=of.quick)
        return self._judge

    def measure(self) -> dict[str, dict[str, Any]]:
        """Measure all rows, in the order of the table."""
        if "floors" not in self.known:
            self._keep("floors", self.judge.floors())
        if "layers" not in self.known:
            found = self.judge.layers()
            self._keep("layers", dict(list(found.items())[:1]) if self.options.quick else found)
        if "uneven" not in self.known:
            layers = self.known["layers"].values()
            self._keep("uneven", {layer: self.judge.unevenness(layer) for layer in layers})
        rows = dict(self.known["floors"])
        self._add(rows, AS_IT_COMES, None, None, "")
        if not self.options.quick:
            if CALIBRATED not in self.known:
                self._keep(CALIBRATED, self.judge.calibrated(CALIBRATION_CALLS))
            rows[CALIBRATED] = self.known[CALIBRATED]
        for method in self.options.methods:
            if METHODS[method]().needs.layers:
                for label, layer in self.known["layers"].items():
                    self._add(rows, f"{method}, {label}", method, layer, label)
                if not self.options.quick:
                    every = list(self.known["layers"].values())
                    self._add(rows, f"{method}, all multiplied", method, every, "all multiplied")
            else:
                self._add(rows, method, method, None, "")
        return rows

    def _add(
        self, rows: dict[str, Any], name: str, method: str | None, layer: str | list[str] | None, label: str
    ) -> None:
        if name not in self.known:
            try:
                found = {"method": method or "", "layer": label, **self.judge.row(method, layer)}
            except MMGradError as error:
                found = {"refused": f"{type(error).__name__}: {error}"}
            self._keep(name, found)
        if "refused" in self.known[name]:
            self.refused[name] = self.known[name]["refused"]
        else:
            rows[name] = self.known[name]

    def _keep(self, name: str, value: Any) -> None:
        self.known[name] = value
        sys.stderr.write(f"{self.file.stem}: {name}\n")
        with atomic_file(self.file, overwrite=True) as stream:
            stream.write(json.dumps(self.known).encode())


def _describe(stranger: Stranger, seconds: float, sheet: Sheet) -> str:
    task = "; ".join(f"{name} {value:.2f} (chance {chance:.2f})" for name, (value, chance) in sheet.task.items())
    covered = float(sheet.masks[sheet.named == 1].float().mean())
    return (
        f"\n## {stranger.name}: {stranger.kind}\n\n{task}. Trained in {seconds / 60:.0f} min of one core; "
        f"{len(sheet.images)} calls; an object covers {covered:.3f} of the image."
    )


def _table(rows: dict[str, dict[str, Any]]) -> str:
    heads = {key: head for key, head in FIGURES.items() if any(key in row for row in rows.values())}
    lines = []
    for name, row in rows.items():
        lines.append([name, _with_interval(row), *(_cell(row.get(key)) for key in heads)])
    return markdown_table(["map", "pointing", *heads.values()], lines)


def _cell(value: float | None) -> str:
    return MISSING if value is None else format_number(value, 2)


def _defaults(models: dict[str, Any]) -> str:
    """Make the table of the default: beside it Grad-CAM at the layer that MMGrad finds."""
    lines = []
    for name, of in models.items():
        default, usual = of["rows"][AS_IT_COMES], _find_row(of, "gradcam", of_best=False)
        made_by = default["made by"].split(" at ")[0]
        where = f", at {len(default['layers'])} layers" if len(default["layers"]) > 1 else ""
        lines.append([of["kind"], name, f"`{made_by}`{where}", *(_with_interval(row) for row in (default, usual))])
    return markdown_table(["kind", "model", "default", "its pointing", "Grad-CAM at the layer found"], lines)


def _with_interval(row: dict[str, Any] | None) -> str:
    if row is None:
        return MISSING
    low, high = row["interval"]
    return f"{row['pointing']:.2f} [{low:.2f}, {high:.2f}]"


def _summary(models: dict[str, Any]) -> str:
    """Make the tables of the documentation: a row a method, a column a model, pointing and energy in each cell.

    Weightings are taken at the layer that MMGrad finds by itself. "Best layer" is the best of all layers listed, as no
    user can choose it.
    """
    rows = [*FLOORS, AS_IT_COMES, CALIBRATED]
    weightings = ("gradcam", "layercam", "hirescam")
    methods = [name for name in METHODS if name in weightings or not METHODS[name]().needs.layers]
    lines = []
    for name in [*rows, *methods]:
        for of_best in (False, True) if name in weightings else (False,):
            cells = [_find_row(of, name, of_best=of_best) for of in models.values()]
            if any(cells):
                label = "**the default**" if name == AS_IT_COMES else name if name in rows else f"`{name}`"
                lines.append([f"{label}, best layer" if of_best else label, *(_pair(cell) for cell in cells)])
    tasks = ["its own task (chance)"]
    for of in models.values():
        value, chance = next(iter(of["task"].values()))
        tasks.append(f"{value:.2f} ({chance:.2f})")
    heads = [f"{name}: {of['kind']}" for name, of in models.items()]
    return markdown_table(["", *heads], [tasks, *lines])


def _find_row(of: dict[str, Any], name: str, *, of_best: bool) -> dict[str, Any] | None:
    """Find the row of a method; of a weighting that at the first layer, or at the best one."""
    if name in of["rows"]:
        found: dict[str, Any] = of["rows"][name]
        return found
    at_layers = [of["rows"].get(f"{name}, {label}") for label in of["layers"]]
    known = [row for row in at_layers if row is not None]
    if not known:
        return None
    return max(known, key=lambda row: row["pointing"]) if of_best else at_layers[0]


def _pair(row: dict[str, Any] | None) -> str:
    return MISSING if row is None else f"{row['pointing']:.2f} {row['energy']:.2f}"


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add("--cache", type=Path, default=Path("strangers-cache"), help="folder of checkpoints (default: %(default)s)")
    add("--models", nargs="+", choices=list(STRANGERS), default=list(STRANGERS), help="default: all")
    add("--methods", nargs="+", choices=list(METHODS), default=list(METHODS), help="default: all")
    add("--seed", type=int, default=REPORT_SEED, help="of the held-out scenes (default: %(default)s)")
    add("--scenes", type=int, default=80, help="held-out scenes (default: %(default)s)")
    add("--faithful", type=int, default=32, help="calls to measure faithfulness on (default: %(default)s)")
    add("--steps", type=int, default=5, help="of deletion and insertion (default: %(default)s)")
    add("--threads", type=int, default=1, help="cores (default: %(default)s)")
    add("--json", type=Path, metavar="FILE", help="also write all figures")
    add("--train", action="store_true", help="only train what is not in the cache")
    add("--fresh", action="store_true", help="measure again what was measured before")
    add("--quick", action="store_true", help="toy size, as a test of the path")
    return made


if __name__ == "__main__":
    sys.exit(main())
