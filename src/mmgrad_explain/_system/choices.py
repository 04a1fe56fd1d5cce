"""Look up what a caller chose: by its name in a list, or a callable of the caller's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from mmgrad_explain.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

T = TypeVar("T")


def check_choice(option: str, name: object, known: Iterable[str], *, noun: str = "", also: str = "") -> None:
    """Check that a name is in a list.

    Args:
        option: The argument that the name was passed for.
        name: The name.
        known: The list.
        noun: What the list holds; the option's name says it where this is empty.
        also: What may be passed in place of a name.

    Raises:
        InputError: If the name is not in the list; the message suggests the nearest name and lists all of them.
    """
    known = list(known)
    if isinstance(name, str) and name in known:
        return
    thing = f"{noun} {name!r}" if noun else f"{name!r}"
    others = f", or {also}" if also else ""
    hint = did_you_mean(name, known) if isinstance(name, str) else ""
    raise InputError(f"{option}: there is no {thing}; {hint}Known: {', '.join(known)}{others}")


def choose(option: str, choice: str | T, known: Mapping[str, T], *, takes: str = "") -> T:
    """Return the value of a name, or the callable itself.

    Args:
        option: The argument that the choice was passed for.
        choice: A name from ``known``, or a callable.
        known: Values by name.
        takes: The arguments of such a callable, in words.

    Raises:
        TypeError: If the choice is neither a name nor a callable.
        InputError: If the name is not in the list.
    """
    if isinstance(choice, str):
        check_choice(option, choice, known, also="any callable")
        return known[choice]
    check_callable(option, choice, takes=takes)
    return choice


def check_callable(option: str, choice: object, *, takes: str = "") -> None:
    """Check that a choice is a callable; call this for a choice that is not a name.

    Args:
        option: The argument that the choice was passed for.
        choice: What was passed.
        takes: The arguments of such a callable, in words.

    Raises:
        TypeError: If it is not a callable.
    """
    if not callable(choice):
        of = f" of {takes}" if takes else ""
        raise TypeError(f"{option} must be a name or a callable{of}, not {type(choice).__name__}")


def check_returned(option: str, made: object, shape: tuple[int, ...], what: str) -> None:
    """Check that a caller's callable returned a tensor of the right shape.

    Args:
        option: The argument that the callable was passed for.
        made: What it returned.
        shape: The right shape.
        what: What it has to return, in words.

    Raises:
        TypeError: If it did not return a tensor.
        InputError: If the tensor has another shape.
    """
    from torch import Tensor

    if not isinstance(made, Tensor):
        raise TypeError(f"{option} must return a tensor, not {type(made).__name__}")
    if made.shape != shape:
        raise InputError(f"{option} must return {what}, not {tuple(made.shape)}")


def name_of(function: object) -> str:
    """Return the name of a function, or of the class of any other callable."""
    return str(getattr(function, "__name__", type(function).__name__))
