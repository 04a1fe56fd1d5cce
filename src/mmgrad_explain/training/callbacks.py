"""What happens beside the steps: lines of metrics, a progress bar, the moving average's file."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Self

from transformers import TrainerCallback

from mmgrad_explain._system.files import atomic_file
from mmgrad_explain._system.progress import Bar
from mmgrad_explain._system.reading import MOST_ANNOTATIONS, read_text, reading, split_lines
from mmgrad_explain._system.terminal import is_terminal
from mmgrad_explain.training.run_folder import EMA_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from mmgrad_explain.training.ema import MovingAverage
    from mmgrad_explain.training.logging.map_grid import MapGrid

_UNUSED = ("epoch", "total_flos")


class MetricsFile(TrainerCallback):  # type: ignore[misc]
    """Appends every logged figure to a file, one JSON object a line, with its step.

    Args:
        path: The file. What it holds of steps after ``until`` is taken out: these are trained again.
        until: The step that the run goes on from.
    """

    def __init__(self, path: Path, until: int = 0) -> None:
        self.path = path
        if path.exists():
            with reading(f"{path} cannot be read"):
                lines = [line for line in split_lines(read_text(path, MOST_ANNOTATIONS)) if line.endswith("}")]
                kept = [line for line in lines if json.loads(line)["step"] <= until]
            with atomic_file(path, overwrite=True) as stream:
                stream.write("".join(f"{line}\n" for line in kept).encode())

    def on_log(self, _args: Any, state: Any, _control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Write a line."""
        figures = {name: value for name, value in (logs or {}).items() if name not in _UNUSED}
        if state.is_world_process_zero and figures:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"step": state.global_step, **figures}) + "\n")


class AverageWeights(TrainerCallback):  # type: ignore[misc]
    """Keeps the moving average up to date, and a copy of it in every checkpoint."""

    def __init__(self, average: MovingAverage) -> None:
        self.average = average

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Take the step's weights in."""
        self.average.update()

    def on_save(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Write the average into the checkpoint."""
        from pathlib import Path

        if state.is_world_process_zero:
            self.average.save(Path(args.output_dir) / f"checkpoint-{state.global_step}" / EMA_FILE)


class GridFile(TrainerCallback):  # type: ignore[misc]
    """Draws the picture of maps over time after every evaluation.

    Args:
        grid: Collects the maps.
        picture: The PNG.
        arrays: The maps themselves.
    """

    def __init__(self, grid: MapGrid, picture: Path, arrays: Path) -> None:
        self.grid, self.picture, self.arrays = grid, picture, arrays

    def on_evaluate(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Draw."""
        if state.is_world_process_zero and self.grid.steps:
            self.grid.save(self.picture, self.arrays)


class Progress(TrainerCallback):  # type: ignore[misc]
    """A bar on standard error where that is a terminal, else a plain line now and then.

    As a context manager it takes the bar down however the block ends.
    """

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._beside = ""
        self._said = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.on_train_end()

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Put the bar up."""
        if state.is_world_process_zero and is_terminal(sys.stderr):
            self._bar = Bar()
            self._show(state)

    def on_step_end(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """One step on."""
        self._show(state)

    def on_log(self, _args: Any, state: Any, _control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """The latest figures, beside the bar or as a line for each twentieth of the steps."""
        names = ("loss", "accuracy", "dead", "eval_r1", "eval_pointing")
        figures = {name: f"{value:.3f}" for name, value in (logs or {}).items() if name in names}
        if not figures or not state.is_world_process_zero:
            return
        text = "  ".join(f"{name} {value}" for name, value in figures.items())
        if self._bar is not None:
            self._beside = text
            self._show(state)
            return
        twentieth = 20 * state.global_step // max(1, state.max_steps)
        if twentieth > self._said or "eval_r1" in figures:
            self._said = twentieth
            sys.stderr.write(f"step {state.global_step}/{state.max_steps}  {text}\n")

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Take the bar down."""
        if self._bar is not None:
            self._bar.end()
            self._bar = None

    def _show(self, state: Any) -> None:
        if self._bar is not None:
            self._bar.show("steps", state.global_step, state.max_steps, self._beside)
