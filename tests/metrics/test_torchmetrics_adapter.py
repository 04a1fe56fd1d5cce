"""The metrics inside torchmetrics, where it is installed; without it, an error that says how to get it."""

import pickle
import sys

import pytest
import torch

from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics import AgreementMetric, LocalizationMetric, as_torchmetric
from mmgrad_explain.metrics.torchmetrics_adapter import _adapter


def test_without_torchmetrics_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    _adapter.cache_clear()
    with pytest.raises(InputError, match="as_torchmetric needs torchmetrics: pip install torchmetrics"):
        as_torchmetric(LocalizationMetric())


def test_in_a_collection_it_has_the_same_figures():
    torchmetrics = pytest.importorskip("torchmetrics")
    maps, masks = torch.rand(5, 6, 6), torch.zeros(5, 6, 6, dtype=torch.bool)
    masks[:, :3] = True
    own = LocalizationMetric().update(maps, masks).compute()
    together = torchmetrics.MetricCollection({"maps": as_torchmetric(LocalizationMetric())})
    together.update(maps[:2], masks[:2])
    together.update(maps[2:], masks[2:])
    found = pickle.loads(pickle.dumps(together)).compute()
    for name in ("pointing", "energy", "iou", "auc"):
        assert float(found[name]) == pytest.approx(float(own[name]), abs=1e-6)
    together.reset()
    assert together.compute()["energy"].isnan()


def test_a_forward_gives_the_figures_of_its_batch():
    pytest.importorskip("torchmetrics")
    metric = as_torchmetric(AgreementMetric())
    maps = torch.rand(2, 4, 4)
    assert float(metric(maps, maps)["correlation"]) == pytest.approx(1)
    metric(maps, -maps)
    assert float(metric.compute()["correlation"]) == pytest.approx(0, abs=1e-6)
