"""Packages that only some options of training need."""

from __future__ import annotations

from importlib.util import find_spec

from mmgrad_explain.errors import InputError


def require_package(package: str, what: str) -> None:
    """Check that an optional package is installed.

    Args:
        package: Name of the package.
        what: What needs it, for the message.

    Raises:
        InputError: If it is not installed; the message says how to install it.
    """
    if find_spec(package) is None:
        raise InputError(f"{what} needs {package}, which is not installed: pip install 'mmgrad-explain[train]'")


def require_wandb() -> None:
    """Check that Weights & Biases, which no extra of this package installs, is installed.

    Raises:
        InputError: If it is not installed.
    """
    if find_spec("wandb") is None:
        raise InputError("wandb: true needs wandb, which is not installed: pip install wandb")
