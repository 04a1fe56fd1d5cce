"""The result of a calibration: a ranking with intervals, and the best kind of map, ready to use."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.files import atomic_file
from mmgrad_explain._system.user_files import parse_json, read_text, reading
from mmgrad_explain._system.weight_hash import update_by_weights
from mmgrad_explain.attention.calibration.agreement import Agreement
from mmgrad_explain.attention.methods.fused import Fused, Part
from mmgrad_explain.attention.methods.named import METHODS, ensure_method
from mmgrad_explain.attention.methods.noted import Noted
from mmgrad_explain.attention.mmgrad import MultiModalGradAttention
from mmgrad_explain.attention.running.modules import find_layers, unwrap
from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics.report import markdown_table
from mmgrad_explain.notes import Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from torch import nn

    from mmgrad_explain.attention.methods.base import Method

_WEAK = Note(
    "weak-calibration",
    "when this model was calibrated, no map agreed clearly better than maps that know nothing: do not trust the map; "
    "take method 'occlusion', or calibrate on more inputs",
)
_FORMAT = "mmgrad_explain.calibration/1"


@dataclass(frozen=True)
class CalibrationRow:
    """One kind of map.

    Attributes:
        method: Name of the method.
        layer: Dotted name of the layer; None for a method that finds its own place.
        agreement: With the reference.
        tied: Whether it cannot be told from the best one on these samples.
    """

    method: str
    layer: str | None
    agreement: Agreement
    tied: bool

    @property
    def name(self) -> str:
        """Such as ``layercam at layer3``."""
        return self.method if self.layer is None else f"{self.method} at {self.layer}"


@dataclass(frozen=True)
class Calibration:
    """Kinds of maps of one model, ranked by their agreement with a causal reference.

    Attributes:
        rows: The kinds of maps, the best first.
        floors: The agreement of maps that know nothing, by name.
        chosen: Method and layer of what :attr:`mmgrad` takes; several are fused by their geometric mean.
        agreement: Its agreement with the reference.
        beats_floors: Whether it agrees better than every floor by more than the 95 % interval of the difference.
        reference: Name of the reference.
        score: Name of the score.
        samples: How many samples it was measured on.
        refused: Name of each method that does not fit the model, to the reason.
        model: Identity of the model: its class, and a hash of its weights.
        versions: Versions of the package, torch and Python.
        ready: The MMGrad of the best kind of map; None for a calibration that was loaded without a model.
    """

    rows: tuple[CalibrationRow, ...]
    floors: dict[str, Agreement]
    chosen: tuple[tuple[str, str | None], ...]
    agreement: Agreement
    beats_floors: bool
    reference: str
    score: str
    samples: int
    refused: dict[str, str]
    model: dict[str, str]
    versions: dict[str, str]
    ready: MultiModalGradAttention | None = field(default=None, repr=False, compare=False)

    @property
    def layers(self) -> list[str] | None:
        """Dotted names of the target layers; None where the method finds its own place."""
        return list(dict.fromkeys(layer for _, layer in self.chosen if layer is not None)) or None

    @property
    def method(self) -> Method:
        """The method, fused where several kinds of maps are tied.

        Where it does not beat the floors, its maps come with a note, which marks them in pictures.

        Raises:
            InputError: a method has no name in METHODS.
        """
        if self.ready is not None and self.ready.settings.method is not None:
            return self.ready.settings.method
        parts = tuple(Part(ensure_method(name), layer) for name, layer in self.chosen)
        return join_parts(parts, beats_floors=self.beats_floors)

    @property
    def mmgrad(self) -> MultiModalGradAttention:
        """The best kind of map, ready to use.

        Raises:
            InputError: the calibration was loaded without its model.
        """
        if self.ready is None:
            raise InputError("calibration: it was loaded without a model: Calibration.load(path, model), or use(model)")
        return self.ready

    @property
    def verdict(self) -> str:
        """What the ranking says, in one or two sentences."""
        names = " and ".join(name if layer is None else f"{name} at {layer}" for name, layer in self.chosen)
        of = self.agreement
        figures = f"{of.mean:.2f} [{of.low:.2f}, {of.high:.2f}]"
        if not self.beats_floors:
            floor = max(self.floors, key=lambda name: self.floors[name].mean)
            together = ", fused," if len(self.chosen) > 1 else ","
            return (
                f"No map agrees with {self.reference} clearly better than a map that knows nothing. The best, {names}"
                f"{together} has {figures}, the {floor} {self.floors[floor].mean:.2f}. Do not trust gradient maps of "
                f"this model: take {self.reference!r} itself, or calibrate on more inputs."
            )
        tied = sum(row.tied for row in self.rows)
        fused = "fused by their geometric mean, agree" if len(self.chosen) > 1 else "agrees"
        text = f"{names} {fused} best with {self.reference}: {figures} over {self.samples} samples."
        if tied > 1:
            text += f" {tied} kinds of maps cannot be told apart on these samples."
        return text

    def table(self, most: int | None = 20) -> str:
        """Write the ranking as a Markdown table, with the floors and the verdict.

        Args:
            most: How many kinds of maps are listed; None lists all.
        """
        rows = self.rows if most is None else self.rows[:most]
        cells = [[row.method, row.layer or "", *_cells(row.agreement), "tied" if row.tied else ""] for row in rows]
        if len(self.chosen) > 1:
            cells.insert(0, ["geometric mean", f"of the first {len(self.chosen)}", *_cells(self.agreement), "taken"])
        cells += [[f"*{name}*", "", *_cells(floor), "floor"] for name, floor in self.floors.items()]
        header = ["method", "layer", f"correlation with {self.reference}", "95 % interval", ""]
        left = len(self.rows) - len(rows)
        more = f"\n\n{left} more kinds of maps are below these." if left else ""
        refused = "".join(f"\n- {name}: {reason}" for name, reason in self.refused.items())
        refused = f"\n\nMethods that do not fit this model:\n{refused}" if refused else ""
        return f"{markdown_table(header, cells)}{more}{refused}\n\n{self.verdict}"

    def plot(self, most: int = 20) -> Figure:
        """Draw the ranking with its intervals, and the floors as lines.

        Args:
            most: How many kinds of maps are drawn.

        Returns:
            A figure of matplotlib, which a notebook shows.
        """
        from mmgrad_explain.attention.calibration.ranking_plot import OTHER, TAKEN, TIED, draw_ranking

        named = [(row.name, row.agreement, TIED if row.tied else OTHER) for row in self.rows[:most]]
        if len(self.chosen) > 1:
            named.insert(0, ("geometric mean of the best", self.agreement, TAKEN))
        label = f"correlation with {self.reference}, {self.samples} samples, 95 % interval"
        return draw_ranking(named, self.floors, label)

    def use(self, model: nn.Module) -> Calibration:
        """Return the same calibration for a model in memory.

        Raises:
            InputError: it was made of another model.
        """
        self.check(model)
        return replace(self, ready=MultiModalGradAttention(model, self.layers, self.score_or_none, self.method))

    @property
    def score_or_none(self) -> str | None:
        """Name of the score where it can be looked up; None for a score of the user's own or a guessed one."""
        from mmgrad_explain.attention.scores.named import SCORES

        return self.score if self.score in SCORES else None

    def check(self, model: nn.Module) -> None:
        """Check that a model is the one that was calibrated.

        Raises:
            InputError: it is another one, or has other weights.
        """
        root = unwrap(model)
        found = identify_model(root)
        if found != self.model:
            same = "has other weights" if found["class"] == self.model["class"] else "is another model"
            raise InputError(
                f"calibration: it was made of a {self.model['class']} ({self.model['weights']}); this "
                f"{found['class']} ({found['weights']}) {same}: calibrate it anew, or name that model"
            )
        if self.layers is not None:
            find_layers(root, self.layers)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the calibration as JSON, whole or not at all.

        Args:
            path: The file; ``calibration.json`` in a model's folder is found when the folder is loaded.
            overwrite: Whether it may exist.

        Raises:
            OutputExistsError: it exists and must not be overwritten.
            InputError: it cannot be written, or a method is not one of METHODS.
        """
        own = [name for name, _ in self.chosen if name not in METHODS]
        if own:
            raise InputError(
                f"calibration: a file cannot hold {own[0]!r}: it names methods of METHODS with their default options"
            )
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        with atomic_file(Path(path), overwrite=overwrite) as stream:
            stream.write(text.encode() + b"\n")

    def to_dict(self) -> dict[str, Any]:
        """Return all that a file holds, ready for JSON."""
        return {
            "format": _FORMAT,
            "verdict": self.verdict,
            "chosen": [{"method": name, "layer": layer} for name, layer in self.chosen],
            "agreement": vars(self.agreement),
            "beats_floors": self.beats_floors,
            "reference": self.reference,
            "score": self.score,
            "samples": self.samples,
            "model": self.model,
            "floors": {name: vars(of) for name, of in self.floors.items()},
            "rows": [
                {"method": row.method, "layer": row.layer, **vars(row.agreement), "tied": row.tied} for row in self.rows
            ],
            "refused": self.refused,
            "versions": self.versions,
        }

    @classmethod
    def load(cls, path: str | Path, model: nn.Module | None = None) -> Calibration:
        """Read a calibration that :meth:`save` wrote.

        Args:
            path: The file.
            model: The model in memory; without it :attr:`mmgrad` is not ready.

        Raises:
            InputError: there is no such file, it is no calibration, or it was made of another model.
        """
        path = Path(path)
        try:
            data: Any = parse_json(read_text(path), f"calibration {path} cannot be read")
        except FileNotFoundError:
            raise InputError(f"there is no calibration {path}: make one with mmgrad-explain calibrate") from None
        with reading(f"{path} is no calibration of this package: name another file"):
            if data["format"] != _FORMAT:
                raise InputError(f"calibration {path} is of another version of this package: calibrate anew")
            found = cls(
                rows=tuple(
                    CalibrationRow(
                        str(row["method"]), row["layer"], Agreement(row["mean"], row["low"], row["high"]), row["tied"]
                    )
                    for row in data["rows"]
                ),
                floors={name: Agreement(**of) for name, of in data["floors"].items()},
                chosen=tuple((str(part["method"]), part["layer"]) for part in data["chosen"]),
                agreement=Agreement(**data["agreement"]),
                beats_floors=bool(data["beats_floors"]),
                reference=str(data["reference"]),
                score=str(data["score"]),
                samples=int(data["samples"]),
                refused=dict(data["refused"]),
                model={"class": str(data["model"]["class"]), "weights": str(data["model"]["weights"])},
                versions=dict(data["versions"]),
            )
            found.verdict  # noqa: B018  (the figures are numbers)
        found.method  # noqa: B018  (the methods exist)
        return found if model is None else found.use(model)


def join_parts(parts: Sequence[Part], *, beats_floors: bool) -> Method:
    """Return the method that a calibration takes: its only part, or all of them fused.

    Args:
        parts: One or several methods, with their layers.
        beats_floors: Whether its maps agree better than maps that know nothing; if not, they come with a note.
    """
    method = parts[0].method if len(parts) == 1 else Fused(tuple(parts))
    return method if beats_floors else Noted(method, _WEAK)


def identify_model(model: nn.Module) -> dict[str, str]:
    """Return what tells one model from another: its class and a hash of its weights.

    Args:
        model: Unwrapped.
    """
    digest = hashlib.blake2b(digest_size=8)
    update_by_weights(digest, model)
    return {"class": type(model).__name__, "weights": digest.hexdigest()}


def _cells(of: Agreement) -> list[str]:
    return [f"{of.mean:.3f}", f"{of.low:.3f} to {of.high:.3f}"]
