"""Distributed training on the gloo backend, in one process and in two: the reducer sees its training undisturbed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from mmgrad_explain.attention import MMGrad


@pytest.fixture
def ddp(zoo, tmp_path):
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        yield DistributedDataParallel(zoo.build(zoo.CNN).train())
    finally:
        distributed.destroy_process_group()


def step(model, x, optimizer, mmgrad=None):
    torch.manual_seed(0)
    if mmgrad is None:
        loss = model(x).square().mean()
    else:
        with mmgrad.capture() as seen:
            output = model(x)
        loss = output.square().mean() + mmgrad.attend(output[:, 1], seen, create_graph=True).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return [parameter.grad.clone() for parameter in model.parameters()]


def test_explaining_between_training_steps(zoo, ddp):
    x = zoo.pictures()
    mmgrad = MMGrad(ddp, "late", zoo.class_score())
    optimizer = torch.optim.SGD(ddp.parameters(), lr=0.01)
    for _ in range(2):
        step(ddp, x, optimizer)
        with zoo.leaves_alone(ddp.module):
            made = mmgrad(x).maps
        plain = zoo.build(zoo.CNN)
        plain.load_state_dict(ddp.module.state_dict())
        assert torch.equal(made, MMGrad(plain, "late", zoo.class_score())(x).maps)


def test_a_loss_on_the_maps(zoo, ddp):
    """The gradients that DDP reduces are those of the same step without it."""
    x = zoo.pictures()
    plain = zoo.build(zoo.CNN).train()
    for name in ("late", "module.late"):
        mmgrad = MMGrad(ddp, name)
        assert mmgrad.layer_names == ("late",)
        ours = step(ddp, x, torch.optim.SGD(ddp.parameters(), lr=0.0), mmgrad)
        theirs = step(plain, x, torch.optim.SGD(plain.parameters(), lr=0.0), MMGrad(plain, "late"))
        for one, other in zip(ours, theirs, strict=True):
            assert torch.allclose(one, other, atol=1e-6)


def test_compiled_and_distributed(zoo, ddp):
    x = zoo.pictures()
    expected = MMGrad(ddp, "late", zoo.class_score())(x).maps
    assert torch.equal(MMGrad(torch.compile(ddp, backend="aot_eager"), "late", zoo.class_score())(x).maps, expected)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What two_processes.py found in either process."""
    folder = tmp_path_factory.mktemp("two")
    script = Path(__file__).with_name("two_processes.py")
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen([sys.executable, str(script), str(rank), str(folder)], env=surroundings) for rank in (0, 1)
    ]
    try:
        codes = [one.wait(timeout=180) for one in running]
    finally:
        for one in running:
            one.kill()
    assert codes == [0, 0]
    results = [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert [checks["error"] for every in results for checks in every.values() if "error" in checks] == []
    return results


@pytest.mark.parametrize("kind", ["ddp", "ddp, unused parameters"])
def test_two_processes_data_parallel(found, kind):
    """A loss on the maps gives the mean of both processes' gradients; looking needs one process alone."""
    for rank, checks in enumerate(results[kind] for results in found):
        assert checks["layer"] == "tower.body"
        for name in ("grounded step", "look inside a step", "plain step"):
            assert checks[name] < 1e-4, name
        assert ("look" in checks) == (rank == 0)
    looks = found[0][kind]["look"]
    assert set(looks) == {"call", "words", "texts", "captum"}
    assert max(looks.values()) < 1e-4


def test_two_processes_static_graph(found):
    """Gradients would never be averaged if the first backward pass were that of a map."""
    for results in found:
        checks = results["ddp, static graph"]
        assert checks["at first"] == (
            "capture: a DistributedDataParallel with static_graph=True learns its graph in its first backward pass, "
            "which cannot be that of a map: take one training step without maps first, or leave static_graph=False"
        )
        assert max(checks["plain step"], checks["grounded step"]) < 1e-4


@pytest.mark.parametrize("kind", ["fsdp", "fsdp, original parameters", "fsdp, nested", "fully_shard"])
def test_two_processes_sharded(found, kind):
    """Every process looks, and trains on as if it had not; maps in a training are refused."""
    for checks in (results[kind] for results in found):
        assert set(checks["look"]) == {"call", "words", "captum"}
        assert max(*checks["look"].values(), *checks["look again"].values(), checks["plain step"]) < 1e-4
        assert checks["found layer"].endswith("tower")
        for door in ("capture", "texts"):
            assert checks[door] == (
                f"{door}: the model is sharded (FSDP), and its weights are there only for one forward and one "
                "backward pass of the whole: call mmgrad(...) on every process to look, and train with "
                "DistributedDataParallel"
            )
