"""Whole runs: their files, resuming, the best weights, every kind of source and of starting model."""

import json

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmgrad_explain._system.files import temporary_name
from mmgrad_explain._system.locking import locked
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.errors import InputError, OutputExistsError
from mmgrad_explain.training import package_checks
from mmgrad_explain.training.config_file import config_from, config_values
from mmgrad_explain.training.run import train
from mmgrad_explain.training.sources.kinds import build_source


def weights(folder):
    return load_file(folder / "model" / "model.safetensors")


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_files_of_a_run(whole_run, picture):
    config, folder = whole_run
    names = {path.name for path in folder.iterdir()}
    maps = {"maps.png", "maps.npz"}
    assert names == {"config.yaml", "versions.json", "metrics.jsonl", *maps, "tensorboard", "checkpoints", "model"}
    assert config_from(yaml.safe_load((folder / "config.yaml").read_text())) == config
    assert json.loads((folder / "versions.json").read_text()).keys() >= {"seed", "torch", "python", "machine"}
    kept = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert kept == ["checkpoint-4", "checkpoint-6"]
    steps = [line["step"] for line in lines(folder)]
    assert steps == sorted(steps)
    first, *_ = lines(folder)
    assert first.keys() >= {"loss", "learning_rate", "grad_norm", "retrieval", "dense", "pooling", "dice"}
    assert [line["step"] for line in lines(folder) if "eval_r1" in line] == [2, 4, 6]
    composer = load_composer(folder / "model")
    assert composer(**composer.preprocess([picture], ["make it red"]).tensors).embedding.isfinite().all()


def test_a_resumed_run_has_the_weights_of_one_in_one_go(whole_run, resumed_run):
    _, folder = whole_run
    for name, value in weights(resumed_run).items():
        torch.testing.assert_close(value, weights(folder)[name], rtol=1e-4, atol=1e-6)
    assert [line["step"] for line in lines(resumed_run)] == [line["step"] for line in lines(folder)]
    ours, theirs = ([line["eval_r1"] for line in lines(each) if "eval_r1" in line] for each in (folder, resumed_run))
    assert ours == theirs


def test_a_run_is_not_overwritten_nor_mixed(whole_run, tmp_path):
    config, folder = whole_run
    before = weights(folder)
    with pytest.raises(OutputExistsError, match="pass --resume to go on with it"):
        train(config, folder)
    other = config_from({**config_values(config), "seed": 5, "sources": {"scenes": {"pictures": 2}}})
    with pytest.raises(InputError, match="holds a run with another seed, sources: use the same, or another --out"):
        train(other, folder, resume=True)
    assert all(torch.equal(value, before[name]) for name, value in weights(folder).items())
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file: name a folder for the run"):
        train(config, tmp_path / "file")


def test_a_damaged_config_is_named(tmp_path, micro):
    (tmp_path / "config.yaml").write_text("- 1")
    with pytest.raises(InputError, match=r"config.yaml cannot be read"):
        train(micro(), tmp_path, resume=True)


def test_the_best_weights_are_kept(tmp_path, micro, monkeypatch):
    from mmgrad_explain.training import trainer as module

    values = iter([0.3, 0.9, 0.5])
    real = module.evaluate_batches
    monkeypatch.setattr(module, "evaluate_batches", lambda *a: {**real(*a), "dead": next(values)})
    config = micro(steps=6, tensorboard=True, evaluation={"best": "dead", "maps": 0}, optimizer={"lr": 0.1})
    result = train(config, tmp_path)
    assert result.step == 2
    assert result.figures["dead"] == 0.5
    with safe_open(tmp_path / "checkpoints" / "best.safetensors", "pt") as file:
        assert file.metadata() == {"step": "2", "metric": "dead", "value": "0.3"}
        best = file.get_tensor("network.logit_scale")
    assert torch.equal(weights(tmp_path)["network.logit_scale"], best)
    assert not (tmp_path / "maps.png").exists()  # without maps there are the curves alone
    shown = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Tags()
    assert shown["images"] == []
    assert "grounding/pointing" in shown["scalars"]


def test_maps_and_figures_are_of_the_score_that_is_trained(tmp_path, micro):
    import numpy as np

    from mmgrad_explain.data.batches.batch import encode_batch
    from mmgrad_explain.evaluation.maps import MapKind
    from mmgrad_explain.training.held_out_figures import evaluate_batches, sample_maps

    config = micro(steps=2, grounding={"score": "similarity", "warm_start": 0.0})
    result = train(config, tmp_path)
    composer = load_composer(result.model)
    held_out = build_source(config.sources, 32, held_out=True)
    batch = encode_batch(held_out.batch(config.evaluation.seed, 0), composer.processor)
    kind = MapKind("similarity", "gradcam")
    expected = evaluate_batches(composer, [batch], kind)
    assert {name: result.figures[name] for name in expected} == pytest.approx(expected, abs=1e-5)
    shown = np.load(tmp_path / "maps.npz")["maps"][-1]
    own, _ = sample_maps(composer, batch, torch.tensor([0, 1]), kind)
    np.testing.assert_allclose(shown, own / own.amax((1, 2), keepdim=True).clamp(min=1e-12), rtol=1e-3, atol=1e-4)
    other, _ = sample_maps(composer, batch, torch.tensor([0, 1]))
    assert np.abs(shown - (other / other.amax((1, 2), keepdim=True).clamp(min=1e-12)).numpy()).max() > 0.1


def test_photographs_with_labels(tmp_path, micro, photo_folder):
    source = {
        "photos": {"folder": str(photo_folder), "pictures": 2, "edits": 2, "holdout": 0.3, "pairs": 1, "least": 1}
    }
    retrieval = {"across": 1.0, "memory": 16}
    config = micro(
        steps=2, sources=source, dense={"weight": 0.5}, workers=1, evaluation={"every": 0}, retrieval=retrieval
    )
    result = train(config, tmp_path)
    assert {"r1", "pointing", "contrast"} <= set(result.figures)
    steps = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert all(0 <= step["across"] < 20 for step in steps if "across" in step)
    assert "across" in steps[0]
    assert "coat" in load_composer(result.model).processor.tokenizer.get_vocab()


def test_clip_with_adapters_on_triplets_and_scenes(tmp_path, micro, clip_folder, triplet_folder):
    config = config_from({
        **config_values(micro(steps=2, mix="batch", evaluation={"every": 2, "best": "r1"})),
        "model": {"path": str(clip_folder), "combiner_width": 16, "lora": {"rank": 2}},
        "sources": {
            "mine": {"kind": "triplets", "folder": str(triplet_folder), "pictures": 2, "edits": 2, "holdout": 0.4},
            "scenes": {"pictures": 1, "edits": 2},
        },
    })  # fmt: skip
    result = train(config, tmp_path)
    composer = load_composer(result.model)
    assert type(composer).__name__ == "ClipComposer"
    assert not any("lora" in name for name in composer.state_dict())
    assert result.step == 2


def test_missing_packages_are_named(tmp_path, micro, monkeypatch):
    with pytest.raises(InputError, match=r"sources.photos.folder is missing: say where it is, --set sources.photos"):
        train(micro(sources={"photos": {}}), tmp_path / "run")
    monkeypatch.setattr(package_checks, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"training needs accelerate, .*pip install 'mmgrad-explain\[train\]'"):
        train(micro(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_one_process_writes_the_model(tmp_path, micro):
    from types import SimpleNamespace

    from mmgrad_explain.training import run as module

    trainer = SimpleNamespace(
        model=SimpleNamespace(composer=None), config=micro(), is_world_process_zero=lambda: False,
        state=SimpleNamespace(global_step=4),
    )  # fmt: skip
    assert module._write_model(trainer, tmp_path) == 4
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", ["model", "checkpoints", "metrics.jsonl"])
def test_a_folder_with_something_of_these_names_is_no_run(tmp_path, micro, name, resume):
    (tmp_path / name).mkdir()
    (tmp_path / name / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match=f"holds {name}, but no run: a run would write over it"):
        train(micro(), tmp_path, resume=resume)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_two_runs_do_not_share_a_folder(tmp_path, micro, monkeypatch):
    from mmgrad_explain.training import run as module

    with locked(tmp_path / "run"):
        for resume in (False, True):
            with pytest.raises(InputError, match="run is in use by another process: wait until it is done"):
                train(micro(), tmp_path / "run", resume=resume)
        monkeypatch.setattr(module, "_train", lambda config, out, *, resume: out)
        monkeypatch.setenv("RANK", "1")  # another process of the run that is at work
        assert train(micro(), tmp_path / "run") == tmp_path / "run"
    monkeypatch.setenv("RANK", "0")
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    for name in (temporary_name(), f"checkpoints/{temporary_name()}"):
        (tmp_path / "run" / name).touch()
    train(micro(), tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").rglob("*")] == ["checkpoints"]
