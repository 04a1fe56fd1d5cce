"""How many processes start by default."""

from mmgrad_explain.cli.cores import count_cores


def test_cores(monkeypatch):
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    assert count_cores() == 3
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {1, 4}, raising=False)
    assert count_cores() == 2
