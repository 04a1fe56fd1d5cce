"""Callbacks of a run: lines of metrics, the drawing of maps, the moving average, a progress bar."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Self

from transformers import TrainerCallback

from mmgrad_explain._system.files import atomic_file
from mmgrad_explain._system.progress import Bar
from mmgrad_explain._system.terminal import is_terminal
from mmgrad_explain._system.user_files import MOST_ANNOTATIONS, read_text, reading, split_lines
from mmgrad_explain.training.figures import NOT_LOGGED
from mmgrad_explain.training.run_folder import EMA_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from mmgrad_explain.training.logging.map_grid import MapGrid
    from mmgrad_explain.training.moving_average import MovingAverage

_SHOWN = ("loss", "accuracy", "dead", "eval_r1", "eval_pointing")  # figures beside the progress bar


class MetricsFile(TrainerCallback):  # type: ignore[misc]
    """Appends all logged figures to a file, one JSON object a line, with the step.

    Args:
        path: The file. When training begins, its lines of steps after ``until`` are removed: these are trained again.
        until: The step that the run is resumed from.
    """

    def __init__(self, path: Path, until: int = 0) -> None:
        self.path = path
        self.until = until

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Remove the lines of steps that are trained again."""
        if self.path.exists():
            with reading(f"{self.path} cannot be read"):
                lines = [line for line in split_lines(read_text(self.path, MOST_ANNOTATIONS)) if line.endswith("}")]
                kept = [line for line in lines if json.loads(line)["step"] <= self.until]
            with atomic_file(self.path, overwrite=True) as stream:
                stream.write("".join(f"{line}\n" for line in kept).encode())

    def on_log(self, _args: Any, state: Any, _control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Write a line."""
        figures = {name: value for name, value in (logs or {}).items() if name not in NOT_LOGGED}
        if state.is_world_process_zero and figures:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"step": state.global_step, **figures}) + "\n")


class AverageWeights(TrainerCallback):  # type: ignore[misc]
    """Updates the moving average after every step and saves it in every checkpoint."""

    def __init__(self, average: MovingAverage) -> None:
        self.average = average

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Add the step's weights to the average."""
        self.average.update()

    def on_save(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Write the average into the checkpoint."""
        from pathlib import Path

        if state.is_world_process_zero:
            self.average.save(Path(args.output_dir) / f"checkpoint-{state.global_step}" / EMA_FILE)


class GridFile(TrainerCallback):  # type: ignore[misc]
    """Draws the maps over time after every evaluation.

    Args:
        grid: The maps so far.
        picture: The PNG file.
        arrays: The file of the maps as arrays.
    """

    def __init__(self, grid: MapGrid, picture: Path, arrays: Path) -> None:
        self.grid, self.picture, self.arrays = grid, picture, arrays

    def on_evaluate(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Write the drawing and the arrays."""
        if state.is_world_process_zero and self.grid.steps:
            self.grid.save(self.picture, self.arrays)


class TrainingProgress(TrainerCallback):  # type: ignore[misc]
    """Shows a bar on standard error if that is a terminal, else about twenty plain lines.

    As a context manager it removes the bar even if the block fails.
    """

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._text = ""
        self._written = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.on_train_end()

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Show the bar."""
        if state.is_world_process_zero and is_terminal(sys.stderr):
            self._bar = Bar()
            self._show(state)

    def on_step_end(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Advance by one step."""
        self._show(state)

    def on_log(self, _args: Any, state: Any, _control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Show the latest figures beside the bar, or write a line for each twentieth of the steps."""
        figures = {name: f"{value:.3f}" for name, value in (logs or {}).items() if name in _SHOWN}
        if not figures or not state.is_world_process_zero:
            return
        text = "  ".join(f"{name} {value}" for name, value in figures.items())
        if self._bar is not None:
            self._text = text
            self._show(state)
            return
        twentieth = 20 * state.global_step // max(1, state.max_steps)
        if twentieth > self._written or "eval_r1" in figures:
            self._written = twentieth
            sys.stderr.write(f"step {state.global_step}/{state.max_steps}  {text}\n")

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.end()
            self._bar = None

    def _show(self, state: Any) -> None:
        if self._bar is not None:
            self._bar.show("steps", state.global_step, state.max_steps, self._text)
