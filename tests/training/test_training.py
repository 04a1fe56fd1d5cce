"""The training script: a short run, resuming, the gradient of the grounding loss."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmgrad_explain.composers.build import build_network
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.errors import InputError, OutputExistsError
from mmgrad_explain.grounding import dice_loss
from mmgrad_explain.training import reference
from mmgrad_explain.training.reference import TrainingConfig, losses, main, train
from mmgrad_explain.training.scene_batches import scene_batch
from mmgrad_explain.training.scene_evaluation import FIGURES, evaluate_scenes, named_by

SHORT = TrainingConfig(steps=4, scenes=2, edits=2, lr_warmup=1, warm_start=0.5)


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_config):
    return train(SHORT, tmp_path_factory.mktemp("run") / "new", sizes=tiny_config)


def weights(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)["network"]


def test_a_run_leaves_a_model_and_a_log(run, picture):
    composer = load_composer(run)
    saved = weights(run)
    assert all(torch.equal(saved[name], value) for name, value in composer.network.state_dict().items())
    (line,) = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert line["step"] == 4
    assert set(line) == {"step", "seconds", "retrieval", "accuracy", "dice", "dead"}
    assert composer(**composer.preprocess([picture], ["make it red"]).tensors).embedding.isfinite().all()


def test_resuming_gives_the_same_weights(run, tmp_path, tiny_config, monkeypatch):
    """Stopped after two steps and taken up again: equal to the run in one go."""
    real = reference.scene_batch
    calls = []

    def stop_at_third(*args, **kwargs):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(reference, "scene_batch", stop_at_third)
    monkeypatch.setattr(reference, "CHECKPOINT_EVERY", 1)
    with pytest.raises(KeyboardInterrupt):
        train(SHORT, tmp_path, sizes=tiny_config)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 2
    train(SHORT, tmp_path, sizes=tiny_config, resume=True)
    for name, value in weights(tmp_path).items():
        torch.testing.assert_close(value, weights(run)[name], rtol=1e-4, atol=1e-6)


def test_a_run_is_not_overwritten_nor_mixed(run, tiny_config):
    before = weights(run)
    with pytest.raises(OutputExistsError, match="pass --resume"):
        train(SHORT, run, sizes=tiny_config)
    with pytest.raises(InputError, match="made with another seed, scenes: use the same, or another --out"):
        train(replace(SHORT, lr=1.0, seed=5, scenes=3), run, sizes=tiny_config, resume=True)
    assert all(torch.equal(value, before[name]) for name, value in weights(run).items())


def test_the_command_line(tmp_path, tiny_config, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        reference, "train", lambda config, out, resume: seen.update(config=config, out=out, resume=resume)
    )
    assert main(["--out", str(tmp_path), "--steps", "7", "--grounding-weight", "0", "--resume"]) == 0
    assert seen == {"config": TrainingConfig(steps=7, grounding_weight=0.0), "out": tmp_path, "resume": True}


def test_the_grounding_loss_is_the_formula(tiny_config, tiny_processor):
    """Dice of Grad-CAM and HiResCAM of <d, sg(d)>, written out with autograd."""
    torch.manual_seed(0)
    network = build_network(tiny_config)
    batch = scene_batch(3, 0, 2, tiny_processor, edits=2)
    rng = np.random.default_rng(0)
    _, grounding, figures = losses(network, batch, rng, ground=True)
    on_target = np.random.default_rng(0).random(4) < [reference.TARGET_SIDE[e] for e in batch.edits]
    with torch.autocast("cpu", torch.bfloat16):
        features = network.encode_image(torch.cat([batch.references, batch.targets])).float()
    rows = [2 + i if on_target[i] else int(batch.scene[i]) for i in range(4)]
    masks = torch.stack([(batch.target_masks if on_target[i] else batch.reference_masks)[i] for i in range(4)]).float()
    looked = features[rows].detach().requires_grad_()
    mask = batch.attention_mask.bool()
    shift = network.shift(looked, *network.text(batch.input_ids, mask), mask)
    (gradient,) = torch.autograd.grad((shift * shift.detach()).sum(), looked)
    where = F.avg_pool2d(masks[:, None], 4)[:, 0]
    gradcam = (gradient.mean((2, 3), keepdim=True) * looked).sum(1).relu()
    hirescam = (gradient * looked).sum(1).relu()
    expected = (dice_loss(gradcam, where).mean() + dice_loss(hirescam, where).mean()) / 2
    torch.testing.assert_close(grounding.detach(), expected.detach(), rtol=1e-3, atol=1e-4)
    assert figures["dice"] == pytest.approx(grounding.item())


def test_the_grounding_loss_trains_every_part(tiny_config, tiny_processor):
    torch.manual_seed(0)
    network = build_network(tiny_config)
    batch = scene_batch(3, 0, 2, tiny_processor, edits=2)
    _, grounding, _ = losses(network, batch, np.random.default_rng(0), ground=True)
    grounding.backward()
    for part in ("visual", "neck", "text", "shift"):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in getattr(network, part).parameters()), part
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_without_grounding_there_is_no_second_order_work(tiny_config, tiny_processor):
    network = build_network(tiny_config)
    batch = scene_batch(3, 0, 2, tiny_processor, edits=2)
    _, grounding, figures = losses(network, batch, np.random.default_rng(0), ground=False)
    assert grounding.item() == 0
    assert not grounding.requires_grad
    assert "dice" not in figures


def test_a_few_steps_on_one_batch_learn_it(tiny_config, tiny_processor):
    """Both losses fall: the script trains."""
    torch.manual_seed(0)
    network = build_network(tiny_config)
    batch = scene_batch(3, 0, 4, tiny_processor, edits=2)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    history = []
    for _ in range(150):
        retrieval, grounding, figures = losses(network, batch, np.random.default_rng(0), ground=True)
        optimizer.zero_grad()
        (retrieval + 2 * grounding).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        history.append((figures["retrieval"], figures["dice"]))
    first, last = history[0], np.mean(history[-5:], axis=0)
    assert last[0] < 0.5 * first[0], history[::10]
    assert last[1] < first[1] - 0.1, history[::10]


def test_evaluation(tiny):
    figures = evaluate_scenes(tiny, seed=9, scenes=5, edits=2, weightings=("gradcam", "hirescam"), batch=2)
    assert len(figures.edits) == 10
    assert figures.gallery == 15
    assert figures.recall.shape == figures.sibling_recall.shape == (10,)
    assert set(figures.maps) == {"gradcam", "hirescam"}
    for values in figures.maps["gradcam"].values():
        assert values.shape == (10,)
        assert ((values >= 0) & (values <= 1)).all()
    assert set(figures.maps["gradcam"]) == set(FIGURES)
    assert set(figures.by_edit(figures.recall)) == set(figures.edits)
    pointing = figures.maps["gradcam"]["pointing"]
    assert figures.by_edit(pointing)["remove"] == pytest.approx(
        float(pointing[[edit == "remove" for edit in figures.edits]].mean())
    )
    assert "add" not in figures.by_name(pointing)
    assert (figures.sibling_recall >= figures.recall).all()


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("it", "it"),
        ("the red one", "color"),
        ("the small star", "size, shape"),
        ("the leftmost big violet disc", "size, color, shape, place"),
        ("the thing at the top", "place"),
    ],
)
def test_what_names_an_object(subject, expected):
    assert named_by(subject) == expected


def test_evaluation_does_not_depend_on_the_batch(tiny):
    one = evaluate_scenes(tiny, seed=9, scenes=4, edits=2, batch=1)
    all_at_once = evaluate_scenes(tiny, seed=9, scenes=4, edits=2, batch=4)
    assert one.edits == all_at_once.edits
    torch.testing.assert_close(one.recall, all_at_once.recall)
    torch.testing.assert_close(
        one.maps["gradcam"]["energy"], all_at_once.maps["gradcam"]["energy"], rtol=1e-3, atol=1e-5
    )
