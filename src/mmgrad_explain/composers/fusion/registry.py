"""The methods by name, and one with fresh weights."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.choices import check_choice
from mmgrad_explain.composers.fusion.grid import CrossAttention, Film, QFormer, TirgSpatial
from mmgrad_explain.composers.fusion.modules import Combine, Fusion, Sizes, TextualInversion, Tirg
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
"""The methods by name.

:meta hide-value:
"""

"""By name. The zero-shot sum ``i + t`` needs no module: it is what a two-tower composer itself gives."""


def method_of(name: str) -> type[Fusion]:
    """The method of a name.

    Raises:
        InputError: If there is none.
    """
    check_choice("fusion", name, METHODS)
    return METHODS[name]


def build_fusion(name: str, sizes: Sizes, options: Mapping[str, Any]) -> Fusion:
    """A method with fresh weights.

    Args:
        name: From :data:`METHODS`.
        sizes: Of the tower.
        options: Keyword arguments of the method's class.

    Raises:
        InputError: If there is no such method or option, or a value does not fit.
    """
    kind = method_of(name)
    known = [one for one in inspect.signature(kind).parameters if one != "sizes"]
    for option, value in options.items():
        if option not in known:
            raise InputError(f"{name}: there is no option {option!r}; known: {', '.join(known)}")
        if option not in {"asks", "dropout"} and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise InputError(f"{name}: {option} must be a whole number of at least 1, got {value!r}")
        if option == "dropout" and not (isinstance(value, int | float) and 0 <= value < 1):
            raise InputError(f"{name}: dropout must be at least 0 and below 1, got {value!r}")
    fusion = kind(sizes, **options)
    fusion.sizes, fusion.options = sizes, dict(options)
    return fusion
