"""The methods of composed image retrieval by name."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.choices import check_choice
from mmgrad_explain.composers.fusion.grid_methods import CrossAttention, Film, QFormer, TirgSpatial
from mmgrad_explain.composers.fusion.methods import Combine, Fusion, Sizes, TextualInversion, Tirg
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

METHODS: dict[str, type[Fusion]] = {
    "tirg": Tirg,
    "tirg-spatial": TirgSpatial,
    "film": Film,
    "cross-attention": CrossAttention,
    "combiner": Combine,
    "inversion": TextualInversion,
    "qformer": QFormer,
}
"""The methods by name. The zero-shot sum ``i + t`` needs none: a two-tower composer itself gives it.

:meta hide-value:
"""

_WORDS = frozenset({"asks", "activation"})
_SWITCHES = frozenset({"text_first", "normalise_inputs"})
_SHARES = frozenset({"dropout", "gate_dropout"})
_MAY_BE_LEFT_OUT = frozenset({"hidden", "gate_width"})


def method_of(name: str) -> type[Fusion]:
    """Find a method by its name.

    Raises:
        InputError: If there is none.
    """
    check_choice("fusion", name, METHODS)
    return METHODS[name]


def build_fusion(name: str, sizes: Sizes, options: Mapping[str, Any]) -> Fusion:
    """Build a method with random weights.

    Args:
        name: From :data:`METHODS`.
        sizes: Of the tower.
        options: Keyword arguments of the method's class.

    Raises:
        InputError: If there is no such method or option, or a value does not fit.
    """
    kind = method_of(name)
    known = [name for name in inspect.signature(kind).parameters if name != "sizes"]
    for option, value in options.items():
        if option not in known:
            raise InputError(f"{name}: there is no option {option!r}; known: {', '.join(known)}")
        _check_option(name, option, value)
    fusion = kind(sizes, **options)
    fusion.sizes, fusion.options = sizes, dict(options)
    return fusion


def _check_option(name: str, option: str, value: Any) -> None:
    """Check the value of an option by its kind; the method's class checks words itself.

    Raises:
        InputError: If it does not fit.
    """
    if option in _WORDS or (value is None and option in _MAY_BE_LEFT_OUT):
        return
    if option in _SWITCHES:
        if not isinstance(value, bool):
            raise InputError(f"{name}: {option} must be true or false, got {value!r}")
    elif option in _SHARES:
        if not (isinstance(value, int | float) and 0 <= value < 1):
            raise InputError(f"{name}: {option} must be at least 0 and below 1, got {value!r}")
    elif not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name}: {option} must be a whole number of at least 1, got {value!r}")
