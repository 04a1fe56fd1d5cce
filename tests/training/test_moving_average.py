"""The moving average of the weights."""

import pytest
import torch
from torch import nn

from mmgrad_explain.errors import InputError
from mmgrad_explain.training.moving_average import MovingAverage


def model():
    made = nn.Sequential(nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2), nn.Linear(2, 1))
    made[2].requires_grad_(requires_grad=False)
    return made


def test_the_average():
    net = model()
    expected = net[0].weight.detach().clone()
    average = MovingAverage(net, 0.5)
    for step in range(8):
        with torch.no_grad():
            net[0].weight.add_(1.0)
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * net[0].weight.detach()
    own = net[0].weight.detach().clone()
    with average.apply():
        torch.testing.assert_close(net[0].weight.detach(), expected)
    assert torch.equal(net[0].weight, own)


def test_the_weights_come_back_after_an_error():
    net = model()
    average = MovingAverage(net, 0.9)
    with torch.no_grad():
        net[0].weight.add_(1.0)
    own = net[0].weight.detach().clone()
    with pytest.raises(KeyError), average.apply():
        raise KeyError
    assert torch.equal(net[0].weight, own)


def test_frozen_weights_are_left_alone_and_buffers_are_not():
    average = MovingAverage(model(), 0.9)
    assert set(average._average) == {"0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var"}


def test_saving(tmp_path):
    net = model()
    average = MovingAverage(net, 0.9)
    average.update()
    average.save(tmp_path / "a.safetensors")
    other = MovingAverage(model(), 0.9)
    other.load(tmp_path / "a.safetensors")
    assert other.steps == 1
    assert all(torch.equal(value, average._average[name]) for name, value in other._average.items())
    (tmp_path / "b.safetensors").write_bytes(b"no")
    for name in ("b", "c"):
        with pytest.raises(InputError, match="cannot be read"):
            other.load(tmp_path / f"{name}.safetensors")
    with pytest.raises(InputError, match="holds the average of another model"):
        MovingAverage(nn.Linear(3, 3), 0.9).load(tmp_path / "a.safetensors")


def test_the_average_follows_to_another_device():
    net = model()
    average = MovingAverage(net, 0.9)
    net.to("meta")
    average.update()
    assert average._average["0.weight"].device.type == "meta"


def test_weights_that_are_frozen_later_stand_as_they_are():
    net = model()
    average = MovingAverage(net, 0.9)
    with torch.no_grad():
        net[0].weight.add_(1.0)
    net[0].weight.requires_grad_(requires_grad=False)
    average.update()
    with average.apply():
        assert torch.equal(average._average["0.weight"], net[0].weight)
        assert torch.equal(net[0].weight.detach(), average._average["0.weight"])
