"""Distributed training: one process, the gloo backend; the reducer must see its training undisturbed."""

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
