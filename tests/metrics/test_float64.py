"""Values in float64 on every device."""

from types import SimpleNamespace

import pytest
import torch

from mmgrad_explain.metrics.float64 import to_float64


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool])
def test_any_dtype_becomes_float64(dtype):
    values = to_float64(torch.tensor([1, 0, 1], dtype=dtype))
    assert values.dtype == torch.float64
    assert values.tolist() == [1.0, 0.0, 1.0]


def test_values_leave_a_device_without_float64():
    values = SimpleNamespace(device=torch.device("mps"), cpu=lambda: torch.tensor([2.0]))
    assert to_float64(values).dtype == torch.float64
