"""What a run logs to TensorBoard and Weights & Biases."""

import json
from dataclasses import replace

import pytest

from mmgrad_explain.errors import InputError
from mmgrad_explain.training.run import train


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0, "scalars": 0})
    return read.Reload()


def test_tensorboard_shows_each_step_of_a_resumed_run_once(resumed_run):
    found = events(resumed_run)
    curves = {tag: [point.step for point in found.Scalars(tag)] for tag in found.Tags()["scalars"]}
    assert curves["grounding/pointing"] == curves["retrieval/r1"] == curves["train/loss"] == [2, 4, 6]
    assert curves["grounding/train/dice"] == curves["retrieval/train/retrieval"] == [2, 4, 6]
    assert not [tag for tag in curves if tag.partition("/")[0] not in {"grounding", "retrieval", "train"}]
    assert sorted(found.Tags()["images"]) == ["maps/1", "maps/2"]
    assert [image.step for image in found.Images("maps/2")] == [2, 4, 6]
    lines_of = {line["step"]: line for line in lines(resumed_run) if "eval_pointing" in line}
    assert [point.value for point in found.Scalars("grounding/pointing")] == pytest.approx(
        [lines_of[step]["eval_pointing"] for step in (2, 4, 6)]
    )


def test_weights_and_biases(tmp_path, micro, wandb, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "stars")
    config = micro(steps=2, wandb=True)
    train(config, tmp_path / "run")
    (run,) = wandb.runs
    asked = run.asked
    assert (asked["project"], asked["name"], asked["id"], asked["resume"]) == ("stars", "run", None, "allow")
    assert asked["dir"] == str(tmp_path / "run")
    assert asked["config"]["grounding"]["form"] == "dice"
    assert run.exit_code == 0
    assert {value["train/global_step"] for value in run.logged} == {2}
    names = {name for value in run.logged for name in value}
    assert {"grounding/pointing", "retrieval/r1", "train/loss", "maps/1", "maps/2"} <= names
    assert (tmp_path / "run" / "wandb_id.txt").read_text() == "id1\n"
    train(replace(config, steps=4), tmp_path / "run", resume=True)
    assert wandb.runs[1].asked["id"] == "id1"


def test_wandb_must_be_installed_before_anything_is_written(tmp_path, micro):
    with pytest.raises(InputError, match=r"wandb: true needs wandb, which is not installed: pip install wandb"):
        train(micro(wandb=True), tmp_path / "run")
    assert not (tmp_path / "run").exists()
