"""Checks of numbers in the options of a training run; each message names the key of the config file."""

from __future__ import annotations

from mmgrad_explain.errors import InputError


def check_not_negative(section: str, options: object, *names: str) -> None:
    """Check that numbers are at least 0.

    Args:
        section: Key of the options in a config file, with its dot; empty for the top level.
        options: The options.
        *names: Their fields to check.

    Raises:
        InputError: If a number is negative or NaN.
    """
    for name in names:
        value = getattr(options, name)
        if not value >= 0:
            raise InputError(f"{section}{name} must be at least 0, got {value}")


def check_at_least_one(section: str, options: object, *names: str) -> None:
    """Check that numbers are at least 1; arguments and errors as :func:`check_not_negative`."""
    for name in names:
        value = getattr(options, name)
        if not value >= 1:
            raise InputError(f"{section}{name} must be at least 1, got {value}")


def check_positive(section: str, options: object, *names: str) -> None:
    """Check that numbers are above 0; arguments and errors as :func:`check_not_negative`."""
    for name in names:
        value = getattr(options, name)
        if not value > 0:
            raise InputError(f"{section}{name} must be above 0, got {value}")
