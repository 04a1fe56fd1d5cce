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
        if option not in {"asks", "dropout"} and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise InputError(f"{name}: {option} must be a whole number of at least 1, got {value!r}")
        if option == "dropout" and not (isinstance(value, int | float) and 0 <= value < 1):
            raise InputError(f"{name}: dropout must be at least 0 and below 1, got {value!r}")
    fusion = kind(sizes, **options)
    fusion.sizes, fusion.options = sizes, dict(options)
    return fusion
