"""Ctrl-C and SIGTERM while a model is trained, in a process of its own."""

import json
import os
import re
import shlex
import signal
import subprocess
import time
from contextlib import suppress

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals")

CONFIG = """
steps: 100000
workers: 1
log_every: 1
save_every: {save_every}
tensorboard: false
precision: float32
device: cpu
model:
  sizes:
    image_size: 32
    text_width: 16
    text_layers: 1
    heads: 2
    feature_width: 16
    embed_dim: 8
    backbone_options: {{layers: [1, 1, 1, 1], channels: [8, 16, 16, 16], stem_width: 8, groups: 2}}
sources: {{scenes: {{pictures: 3, edits: 2}}}}
optimizer: {{warmup: 1}}
evaluation: {{every: 0, batches: 1, maps: 0}}
"""


@pytest.fixture
def stopped(tmp_path, command_line):
    """What a run said that a signal stopped once a file was there.

    The terminal sends Ctrl-C to all of a run's processes; SIGTERM goes to the one that it names.
    """

    def stop(ready, save_every, number, code, **how):
        (tmp_path / "mine.yaml").write_text(CONFIG.format(save_every=save_every))
        command = command_line("train", "mine.yaml", "--set", "seed=3", "--out", "my run", **how)
        with subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as process:
            try:
                end = time.monotonic() + 120
                while not ready.exists() and process.poll() is None and time.monotonic() < end:
                    time.sleep(0.05)
                assert process.poll() is None, process.communicate()
                (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
                out, err = process.communicate(timeout=60)
            finally:  # whatever happened, no training goes on
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        assert (process.returncode, out) == (code, ""), err
        assert "Traceback" not in err
        assert not list(tmp_path.rglob("*.tmp"))
        return err.splitlines()[-1]

    return stop


COMMAND = "mmgrad-explain train mine.yaml --set seed=3 --out 'my run' --resume"


def test_a_run_says_how_to_go_on_and_goes_on(tmp_path, stopped, ignored, run, monkeypatch):
    checkpoints = tmp_path / "my run" / "checkpoints"
    said = stopped(checkpoints / "checkpoint-4" / "trainer_state.json", 2, signal.SIGINT, 130)
    found = re.fullmatch(r"mmgrad-explain: stopped: step (\d+) of 100,000 is kept; go on from there with: (.*)", said)
    assert found[2] == COMMAND
    step = int(found[1])
    assert step >= 4
    whole = [one.parent for one in checkpoints.glob("checkpoint-*/trainer_state.json")]
    kept = {int(one.name.rpartition("-")[2]): one for one in whole}
    assert max(kept) == step
    assert json.loads((kept[step] / "trainer_state.json").read_text())["global_step"] == step
    assert all(json.loads(line) for line in (tmp_path / "my run" / "metrics.jsonl").read_text().splitlines())
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*shlex.split(found[2])[1:], "--set", f"steps={step + 2}")
    assert code == 0, err
    assert f"step     {step + 2}" in out
    assert (tmp_path / "my run" / "model" / "config.json").is_file()


def test_terminated_where_ctrl_c_is_ignored(tmp_path, stopped):
    """Also before the first checkpoint."""
    said = stopped(tmp_path / "my run" / "metrics.jsonl", 5000, signal.SIGTERM, 143, interrupt="SIG_IGN")
    assert said == (
        "mmgrad-explain: stopped: the first checkpoint, of step 5,000, was not reached; begin again with: " + COMMAND
    )
