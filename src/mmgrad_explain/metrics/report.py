"""Figures in tables: means with their spread, Markdown tables, and the machine they were measured on."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain._version import __version__
from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics.float64 import to_float64

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MISSING = "–"


def mean_of_known(values: torch.Tensor) -> float:
    """Compute the mean of the values that are not NaN; NaN where there are none."""
    return float(to_float64(values).nanmean())


def confidence_half_width(values: torch.Tensor) -> float:
    """Compute half the width of the 95 % interval of a mean: 1.96 standard errors; NaN for fewer than two values."""
    values = to_float64(values)
    values = values[~values.isnan()]
    return 1.96 * float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def mean_and_spread(values: Sequence[float], digits: int = 3) -> str:
    """Write mean and sample standard deviation over runs, as ``"0.812 ± 0.004"``; a single run's value stands alone.

    Raises:
        InputError: There are no values.
    """
    if not values:
        raise InputError("mean_and_spread needs at least one value")
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return MISSING
    mean = sum(known) / len(known)
    text = f"{mean:.{digits}f}"
    if len(known) < 2:
        return text
    spread = math.sqrt(sum((value - mean) ** 2 for value in known) / (len(known) - 1))
    return f"{text} ± {spread:.{digits}f}"


def format_number(value: float, digits: int = 3) -> str:
    """Write a figure for a table; a dash for NaN."""
    return MISSING if math.isnan(value) else f"{value:.{digits}f}"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table, without a newline at its end.

    Raises:
        InputError: A row does not have as many cells as the header.
    """
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for row in rows:
        if len(row) != len(header):
            raise InputError(f"a row of {len(row)} cells does not fit a header of {len(header)}: {list(row)}")
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def environment() -> dict[str, Any]:
    """Describe what figures were measured on: versions, processor, threads."""
    return {
        "mmgrad_explain": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()} {_processor()}".strip(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def environment_line() -> str:
    """Write :func:`environment` as one line of prose."""
    of = environment()
    where = of["cuda"] or f"{of['machine']} CPU, {of['threads']} thread{'s' * (of['threads'] != 1)}"
    return f"mmgrad-explain {of['mmgrad_explain']}, torch {of['torch']}, Python {of['python']}, {where}"


def _processor(table: Path = Path("/proc/cpuinfo")) -> str:
    """Read the processor's name, where the system has it."""
    try:
        lines = table.read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
