"""One of two processes with the gloo backend, for test_distributed.py: ``python two_processes.py rank folder``.

Each check leaves a number or a word in ``folder/<rank>.json``; distances are shares of the largest value.
"""

import copy
import importlib.util
import json
import sys
import traceback
import warnings
from pathlib import Path

import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.parallel import DistributedDataParallel

from mmgrad_explain import MMGrad
from mmgrad_explain.errors import InputError
from mmgrad_explain.grounding import AttentionGroundingLoss

warnings.simplefilter("ignore")
RANK, FOLDER = int(sys.argv[1]), Path(sys.argv[2])
spec = importlib.util.spec_from_file_location("zoo", Path(__file__).with_name("conftest.py"))
zoo = importlib.util.module_from_spec(spec)
sys.modules["zoo"] = zoo
spec.loader.exec_module(zoo)
CPU = torch.device("cpu")
IMAGE, IDS = zoo.pictures(1, seed=10 + RANK), zoo.ids(3, seed=20 + RANK)  # each process has data of its own
BATCH = IMAGE.expand(3, -1, -1, -1)
MASKS = torch.zeros(3, 4, 6)
if RANK == 1:  # in one of the processes nothing is supervised
    MASKS[:2, :2, :3] = 1


def score(output):
    return output.embedding[:, 0]


class Plain(zoo.TwoInput):
    """Gives a tensor: DDP finds those inside a dataclass only where its graph is not static."""

    def forward(self, image, ids):
        return super().forward(image, ids).embedding


def apart(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


def step(model, mmgrad=None, between=None):
    """The gradients of a training step, with a loss on the maps where there is an MMGrad, whole and in a row."""
    model.zero_grad()
    if mmgrad is None:
        output = model(BATCH, IDS)
        loss = getattr(output, "embedding", output).square().mean()
    else:
        with mmgrad.capture() as seen:
            output = model(BATCH, IDS)
        embedding = getattr(output, "embedding", output)
        maps = mmgrad.attend(embedding[:, 0], seen, create_graph=True, relu=False)
        loss = embedding.square().mean() + AttentionGroundingLoss("softmax")(maps, MASKS)
    if between is not None:
        between()
    loss.backward()
    grads = [one.grad for one in model.parameters() if one.grad is not None]
    return torch.cat([(one.full_tensor() if hasattr(one, "full_tensor") else one).flatten() for one in grads])


def mean_of_both(values):
    distributed.all_reduce(values)
    return values / 2


def looks(model, plain, parts, doors=zoo.DOORS):
    """How far each door's answer is from plain autograd on the model that is not wrapped."""
    expected = zoo.by_plain_autograd(plain, IMAGE, IDS)
    flags = [one.requires_grad for one in model.parameters()]
    found = {}
    for door in doors:
        made = zoo.through(door, model, IMAGE, IDS, parts=parts)
        found[door] = apart(made, expected["words" if door == "words" else "maps"])
    assert flags == [one.requires_grad for one in model.parameters()]
    return found


def data_parallel(**options):
    plain = zoo.build(zoo.TwoInput)
    model = DistributedDataParallel(copy.deepcopy(plain), **options)
    mmgrad = MMGrad(model, "tower.body", score)
    found = {"layer": mmgrad.layer_names[0]}
    found["grounded step"] = apart(step(model, mmgrad), mean_of_both(step(plain, MMGrad(plain, "tower.body"))))
    if RANK == 0:  # which needs nothing of the other process
        found["look"] = looks(model, plain, model.module, ("call", "words", "texts", "captum"))
    between = (lambda: mmgrad(BATCH, IDS)) if RANK == 0 else None
    found["look inside a step"] = apart(step(model, mmgrad, between), mean_of_both(step(plain, MMGrad(plain, "tower"))))
    found["plain step"] = apart(step(model), mean_of_both(step(plain)))
    return found


def static_graph():
    plain = zoo.build(Plain)
    model = DistributedDataParallel(copy.deepcopy(plain), static_graph=True)
    mmgrad = MMGrad(model, "tower.body", lambda output: output[:, 0])
    mmgrad(BATCH, IDS)
    found = {}
    try:
        mmgrad.capture()
    except InputError as error:
        found["at first"] = str(error)
    found["plain step"] = apart(step(model), mean_of_both(step(plain)))
    found["grounded step"] = apart(step(model, mmgrad), mean_of_both(step(plain, MMGrad(plain, "tower.body"))))
    return found


def sharded(wrap):
    plain = zoo.build(zoo.TwoInput)
    model = wrap(copy.deepcopy(plain))
    found = {"look": looks(model, plain, None, ("call", "words", "captum"))}
    found["found layer"] = MMGrad(model, None, score)(BATCH, IDS).layer_names[0]
    for door in ("capture", "texts"):
        try:
            zoo.through(door, model, IMAGE, IDS)
        except InputError as error:
            found[door] = str(error)
    ours, theirs = step(model), mean_of_both(step(plain))
    if isinstance(model, FullyShardedDataParallel):  # each process holds a part of the gradient, in an order of its own
        both = ours.square().sum()
        distributed.all_reduce(both)
        ours, theirs = both.sqrt(), theirs.norm()
    found["plain step"] = apart(ours, theirs)
    found["look again"] = looks(model, plain, None, ("call",))
    return found


def nested(model):
    model.tower = FullyShardedDataParallel(model.tower, device_id=CPU)
    return FullyShardedDataParallel(model, device_id=CPU)


def second_kind(model):
    mesh = init_device_mesh("cpu", (2,))
    fully_shard(model.tower, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


CHECKS = {
    "ddp": data_parallel,
    "ddp, unused parameters": lambda: data_parallel(find_unused_parameters=True),
    "ddp, static graph": static_graph,
    "fsdp": lambda: sharded(lambda model: FullyShardedDataParallel(model, device_id=CPU)),
    "fsdp, original parameters": lambda: sharded(
        lambda model: FullyShardedDataParallel(model, device_id=CPU, use_orig_params=True)
    ),
    "fsdp, nested": lambda: sharded(nested),
    "fully_shard": lambda: sharded(second_kind),
}

if __name__ == "__main__":
    distributed.init_process_group("gloo", init_method=f"file://{FOLDER / 'store'}", rank=RANK, world_size=2)
    results = {}
    for name, check in CHECKS.items():
        try:
            results[name] = check()
        except Exception:  # noqa: BLE001  (for the test to show)
            results[name] = {"error": traceback.format_exc()}
            break  # the other process may be waiting by now
    (FOLDER / f"{RANK}.json").write_text(json.dumps(results))
    distributed.destroy_process_group()
