"""Means, spreads, tables, and what they were measured on."""

import math

import pytest
import torch

from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics import report
from mmgrad_explain.metrics.report import (
    confidence_half_width,
    environment,
    environment_line,
    format_number,
    markdown_table,
    mean_and_spread,
    mean_of_known,
)


def test_mean_and_spread():
    assert mean_and_spread([0.8, 0.9]) == "0.850 ± 0.071"
    assert mean_and_spread([0.8, 0.9, math.nan], digits=2) == "0.85 ± 0.07"
    assert mean_and_spread([0.5]) == "0.500"
    assert mean_and_spread([math.nan]) == "–"
    with pytest.raises(InputError, match="at least one value"):
        mean_and_spread([])


def test_means_leave_out_what_is_missing():
    assert mean_of_known(torch.tensor([1.0, 0.0, math.nan])) == 0.5
    assert format_number(mean_of_known(torch.tensor([math.nan]))) == "–"
    assert format_number(0.12345, 2) == "0.12"


def test_interval_of_a_share():
    values = torch.tensor([1.0, 0.0] * 50)
    assert confidence_half_width(values) == pytest.approx(1.96 * math.sqrt(0.25 * 100 / 99 / 100))
    assert math.isnan(confidence_half_width(values[:1]))


def test_table():
    assert markdown_table(["a", "b"], [["1", "2"]]) == "| a | b |\n|---|---|\n| 1 | 2 |"
    with pytest.raises(InputError, match="a row of 1 cells does not fit a header of 2"):
        markdown_table(["a", "b"], [["1"]])


def test_environment(monkeypatch, tmp_path):
    assert {"torch", "python", "machine", "cores", "threads"} <= set(environment())
    known = {**environment(), "cuda": None}
    monkeypatch.setattr(report, "environment", lambda: known)
    line = environment_line()
    assert f"torch {torch.__version__}" in line
    assert "thread" in line
    monkeypatch.setattr(report, "environment", lambda: {**known, "cuda": "Some GPU"})
    assert environment_line().endswith("Some GPU")


def test_the_processor_by_name_where_the_system_tells(tmp_path):
    table = tmp_path / "cpuinfo"
    table.write_text("flags : x\nmodel name\t: Some CPU\n")
    assert report._processor(table) == "Some CPU"
    table.write_text("nothing\n")
    assert report._processor(table) == ""
    assert isinstance(report._processor(tmp_path / "none"), str)
