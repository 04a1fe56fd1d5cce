"""Data workers: one thread each, and silence when the training stops while it takes a batch."""

import sys
import time
from multiprocessing import current_process, resource_sharer
from multiprocessing.connection import Client

import pytest
import torch
from torch.utils.data import DataLoader

from mmgrad_explain.training.data_workers import prepare_data_worker


@pytest.fixture
def no_hook(monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)


def test_a_worker_has_one_thread(monkeypatch, no_hook):
    threads = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    prepare_data_worker(3)
    assert threads == [1]


def test_only_a_lost_connection_is_silent(monkeypatch, no_hook, capsys):
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    prepare_data_worker(0)
    for error in (BrokenPipeError(), ConnectionResetError(), EOFError()):
        sys.excepthook(type(error), error, None)
    assert capsys.readouterr().err == ""
    sys.excepthook(ValueError, ValueError("wrong"), None)
    assert "ValueError: wrong" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere tensors are shared in another way")
def test_training_stopped_while_it_takes_a_batch_prints_no_traceback(monkeypatch, capfd):
    def stop(identity):
        Client(identity[0], authkey=current_process().authkey).close()
        raise KeyboardInterrupt

    monkeypatch.setattr(resource_sharer._resource_sharer, "get_connection", stop)
    steps = DataLoader(
        [torch.zeros(9)] * 3, num_workers=1, worker_init_fn=prepare_data_worker, multiprocessing_context="fork"
    )
    with pytest.raises(KeyboardInterrupt):
        next(iter(steps))
    time.sleep(0.2)
    assert capfd.readouterr().err == ""
