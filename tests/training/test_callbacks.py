"""Lines of metrics, and the progress shown."""

import io
import json
import sys
from types import SimpleNamespace

import pytest

from mmgrad_explain.errors import InputError
from mmgrad_explain.training.callbacks import AverageWeights, GridFile, MetricsFile, TrainingProgress


def state(step, steps=40, first=True):
    return SimpleNamespace(global_step=step, max_steps=steps, is_world_process_zero=first)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_metrics_are_lines_with_their_step(tmp_path):
    path = tmp_path / "metrics.jsonl"
    written = MetricsFile(path)
    for step in (2, 4):
        written.on_log(None, state(step), None, logs={"loss": 1.5, "epoch": 0.1, "total_flos": 3})
    written.on_log(None, state(4, first=False), None, logs={"loss": 9.0})
    written.on_log(None, state(4), None, logs={"epoch": 0.1})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 2, "loss": 1.5},
        {"step": 4, "loss": 1.5},
    ]


def test_resuming_removes_lines_of_steps_that_are_trained_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 2}\n{"step": 4}\n{"ste')
    MetricsFile(path, until=2).on_train_begin()
    assert path.read_text() == '{"step": 2}\n'
    path.write_text('{"stop": 2}\n')
    with pytest.raises(InputError, match=r"metrics.jsonl cannot be read"):
        MetricsFile(path).on_train_begin()


def test_one_process_writes(tmp_path):
    average = SimpleNamespace(save=None)
    AverageWeights(average).on_save(None, state(1, first=False), None)
    grid = SimpleNamespace(steps=[1], save=None)
    GridFile(grid, tmp_path / "a.png", tmp_path / "a.npz").on_evaluate(None, state(1, first=False), None)


def test_plain_lines_now_and_then(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    progress = TrainingProgress()
    progress.on_train_begin(None, state(0), None)
    for step in range(1, 41):
        progress.on_step_end(None, state(step), None)
        progress.on_log(None, state(step), None, logs={"loss": 1.0, "grad_norm": 3.0})
    progress.on_log(None, state(40), None, logs={"eval_r1": 0.5})
    progress.on_log(None, state(40), None, logs={"train_runtime": 0.5})
    progress.on_log(None, state(40, first=False), None, logs={"loss": 0.5})
    progress.on_train_end(None, state(40), None)
    lines = sys.stderr.getvalue().splitlines()
    assert lines[0] == "step 1/40  loss 1.000"
    assert lines[-1] == "step 40/40  eval_r1 0.500"
    assert len(lines) == 22


def test_a_bar_on_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    progress = TrainingProgress()
    progress.on_train_begin(None, state(10), None)
    progress.on_step_end(None, state(11), None)
    progress.on_log(None, state(11), None, logs={"loss": 1.0})
    progress.on_train_end(None, state(11), None)
    shown = sys.stderr.getvalue()
    assert "11/40" in shown
    assert "loss 1.000" in shown
    assert "\nstep" not in shown
    assert progress._bar is None


def test_the_bar_is_removed_however_training_ends(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    before = sys.stderr
    with TrainingProgress() as progress:
        progress.on_train_begin(None, state(10), None)
    assert sys.stderr is before
    assert before.getvalue().removesuffix("\x1b[?25h").endswith("\n")
