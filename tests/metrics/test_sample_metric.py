"""Metrics over batches and processes: update, compute, reset, samples counted once, two processes."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics import SampleMetric


class Values(SampleMetric):
    """Reports what it is given."""

    figures = ("value", "half")

    def measure(self, values):
        return {"value": values, "half": values / 2}


def test_batches_add_up_and_reset_begins_anew():
    metric = Values()
    metric.update(torch.tensor([1.0, 2.0])).update(torch.tensor([6.0]))
    assert {name: float(mean) for name, mean in metric.compute().items()} == {"value": 3.0, "half": 1.5}
    assert metric.samples()["value"].tolist() == [1, 2, 6]
    assert repr(metric) == "Values(3 samples; value, half)"
    metric.reset()
    assert len(metric) == 0
    assert metric.compute()["value"].isnan()


def test_a_figure_that_is_unknown_is_left_out_of_the_mean():
    metric = Values().update(torch.tensor([1.0, float("nan"), 2.0]))
    assert metric.compute()["value"] == 1.5
    assert metric.intervals()["value"].known == 2


def test_what_comes_twice_counts_once():
    metric = Values()
    metric.update(torch.tensor([1.0, 2.0]), ids=["a", "b"], groups=["x", "y"])
    metric.update(torch.tensor([2.0, 3.0]), ids=["b", "c"], groups=["y", "y"])
    assert metric.samples()["value"].tolist() == [1, 2, 3]
    assert metric.compute()["value"] == 2


def test_whole_groups_are_drawn():
    values = torch.rand(20)
    metric = Values().update(values.repeat_interleave(5), groups=[i // 5 for i in range(100)])
    found, alone = metric.intervals()["value"], Values().update(values).intervals()["value"]
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high))


def test_it_is_pickled_with_its_samples():
    metric = Values(group=object()).update(torch.tensor([1.0, 2.0]), ids=[1, 2])
    again = pickle.loads(pickle.dumps(metric))
    assert again.samples()["value"].tolist() == [1, 2]
    assert again.group is None


def test_ids_and_groups_fit_the_samples():
    metric = Values().update(torch.zeros(2), groups=[1, 2])
    with pytest.raises(InputError, match="ids must have one entry a sample: 1 for 2 samples"):
        metric.update(torch.zeros(2), ids=[1])
    with pytest.raises(InputError, match="groups must be given for every batch or for none"):
        metric.update(torch.zeros(2))
    with pytest.raises(InputError, match="ids must be given for every batch or for none"):
        metric.update(torch.zeros(1), ids=[1], groups=[1])
    assert len(metric) == 2


PROCESS = """
import json, sys
import torch
from torch import distributed
from mmgrad_explain.metrics import LocalizationMetric, SampleMetric

class Values(SampleMetric):
    figures = ("value",)
    def measure(self, values):
        return {"value": values}

rank, folder = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
uneven, repeated, alone, empty = Values(), Values(), Values(gather=False), Values()
own = torch.tensor([[1.0], [2.0, 6.0, 7.0]][rank]) if rank else torch.tensor([1.0])
uneven.update(own, groups=[(rank, i) for i in range(len(own))])
repeated.update(torch.tensor([1.0, 2.0 + rank]), ids=["same", f"own {rank}"])  # as a sampler pads
alone.update(own)
if rank == 1:
    empty.update(torch.tensor([5.0]))
maps = torch.zeros(2, 4, 4)
maps[:, 0, 0] = 1
masks = torch.zeros(2, 4, 4, dtype=torch.bool)
masks[:, rank, 0] = True
where = LocalizationMetric().update(maps, masks)
found = {
    "uneven": float(uneven.compute()["value"]), "interval": uneven.intervals()["value"],
    "repeated": repeated.samples()["value"].tolist(), "alone": float(alone.compute()["value"]),
    "empty": float(empty.compute()["value"]), "pointing": float(where.compute()["pointing"]),
}
json.dump(found, open(f"{folder}/{rank}.json", "w"))
distributed.destroy_process_group()
"""


def test_two_processes_have_the_figures_of_all_samples(tmp_path):
    started = [subprocess.Popen([sys.executable, "-c", PROCESS, str(rank), str(tmp_path)]) for rank in (0, 1)]
    assert [process.wait(timeout=120) for process in started] == [0, 0]
    first, second = (json.loads(Path(tmp_path, f"{rank}.json").read_text()) for rank in (0, 1))
    whole = Values().update(torch.tensor([1.0, 2.0, 6.0, 7.0]))
    assert first["uneven"] == second["uneven"] == float(whole.compute()["value"])
    assert first["interval"] == second["interval"] == list(whole.intervals()["value"])
    assert first["repeated"] == second["repeated"] == [1, 2, 3]
    assert (first["alone"], second["alone"]) == (1, 5)
    assert first["empty"] == second["empty"] == 5
    assert first["pointing"] == second["pointing"] == 0.5
