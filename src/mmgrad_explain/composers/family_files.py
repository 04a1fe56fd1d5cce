"""Collect families of models of transformers from a package that has one file for each family."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, TypeVar

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

_Family = TypeVar("_Family")


def read_families(package: str) -> dict[str, Any]:
    """Collect the dictionaries ``FAMILIES`` of all modules in a package.

    Args:
        package: Dotted name.

    Returns:
        The families by ``model_type``, file by file in the order of their names.
    """
    names = sorted(module.name for module in iter_modules(import_module(package).__path__))
    found: dict[str, Any] = {}
    for name in names:
        found |= import_module(f"{package}.{name}").FAMILIES
    return found


def find_family(families: Mapping[str, _Family], config: Mapping[str, Any], name: str, hint: str = "") -> _Family:
    """Find the family of a model.

    Args:
        families: By ``model_type``.
        config: The model's ``config.json``.
        name: What the model is called, for messages.
        hint: What the message says about models of a type that is not supported.

    Raises:
        InputError: Models of this type are not supported.
    """
    kind = config.get("model_type")
    if str(kind) not in families:
        raise InputError(f"{name} is a {kind!r} model{hint}: supported types are {', '.join(map(repr, families))}")
    return families[str(kind)]


def last_block_input(tower: str, blocks: str, norm: str) -> Any:
    """Make a function that names the first norm of a tower's last block, where a class token last reads the patches.

    Args:
        tower: Name of the vision tower.
        blocks: Dotted name of its blocks, inside the tower.
        norm: Name of the norm, inside a block.

    Returns:
        A function of the vision config that gives the layer's dotted name inside the composer.
    """
    return lambda config: f"model.{tower}.{blocks}.{config.num_hidden_layers - 1}.{norm}"


def always(value: Any) -> Any:
    """Make a function of a config that always gives this value, such as a name."""
    return lambda _config: value
