"""Packages that only training needs."""

from __future__ import annotations

from importlib.util import find_spec

from mmgrad_explain.errors import InputError


def need(package: str, what: str) -> None:
    """Find out whether an optional package is there.

    Args:
        package: Its name.
        what: What wants it.

    Raises:
        InputError: If not; it says what wants it and how to get it.
    """
    if find_spec(package) is None:
        raise InputError(f"{what} needs {package}, which is not installed: pip install 'mmgrad-explain[train]'")


def need_wandb() -> None:
    """Find out whether Weights & Biases is there, which comes with no extra.

    Raises:
        InputError: If not.
    """
    if find_spec("wandb") is None:
        raise InputError("wandb: true needs wandb, which is not installed: pip install wandb")
