"""The device of a model, and devices by name."""

import pytest
import torch
from torch import nn

from mmgrad_explain._system.devices import check_device, device_of
from mmgrad_explain.errors import InputError


def test_the_device_of_a_model_is_that_of_its_weights():
    assert device_of(nn.Linear(2, 2)) == torch.device("cpu")
    assert device_of(nn.ReLU()) == torch.device("cpu")  # it has no weights


def test_offloaded_weights_do_not_name_the_device():
    offloaded = nn.Linear(2, 2, device="meta")
    assert device_of(offloaded) == torch.device("cpu")
    assert device_of(nn.Sequential(offloaded, nn.Linear(2, 2))) == torch.device("cpu")


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_the_cpu_is_always_there(device):
    assert check_device(device) == torch.device("cpu")


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", "device 'gpu' is unknown: use cpu, cuda, cuda:N or mps"),
        ("cuda:99", r"device 'cuda:99' is not there: \d+ CUDA devices found; use cpu"),
        ("meta", "device 'meta' is not supported: use cpu, cuda, cuda:N or mps"),
        (torch.device("meta"), "device 'meta' is not supported"),
    ],
)
def test_devices_that_are_not_there(device, message):
    with pytest.raises(InputError, match=message):
        check_device(device)


@pytest.mark.parametrize(("count", "device"), [(0, "cuda"), (2, "cuda:2")])
def test_a_cuda_device_needs_a_number_below_their_count(count, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(InputError, match=f"device '{device}' is not there: {count} CUDA devices found"):
        check_device(device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert check_device(device) == torch.device(device)


def test_mps_needs_a_machine_that_has_it(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match="device 'mps' is not there: use cpu"):
        check_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert check_device("mps") == torch.device("mps")
