"""Several methods and layers of one forward: all of their maps, or one map fused from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from mmgrad_explain.attention.methods.base import Method, MethodMaps, NamedModules, Needs
from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.fusion import fuse_maps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

    from mmgrad_explain.attention.attention_layers.sites import AttentionSite
    from mmgrad_explain.attention.methods.base import NameModules, SelectSites
    from mmgrad_explain.attention.methods.run import Run

T = TypeVar("T")
_FLOOR = 1e-3  # of the peak: a place that one map leaves dark stays visible if the others show it


@dataclass(frozen=True)
class Part:
    """A method, at one layer if it is made at layers.

    Attributes:
        method: The method.
        layer: Dotted name of the target layer; None for a method that finds its own place.
    """

    method: Method
    layer: str | None = None

    @property
    def name(self) -> str:
        """Such as ``layercam at layer3``."""
        return self.method.name if self.layer is None else f"{self.method.name} at {self.layer}"


def geometric_mean(maps: Sequence[Tensor]) -> Tensor:
    """Fuse maps: the geometric mean of their positive parts, each divided by its peak, on the finest grid.

    Args:
        maps: Two or more (B, h, w), on any grids.

    Returns:
        (B, h, w), at least 0, differentiable. Where every map is 0 it is close to 0.
    """
    return fuse_maps([grid.relu() for grid in maps], lambda scaled: (scaled + _FLOOR).log().mean(0).exp() - _FLOOR)


@dataclass(frozen=True)
class SeveralMethods:
    """The maps of several methods from one forward and one gradient at the layers, each under its own name.

    Attributes:
        parts: The methods, with the layers that they are made at.
        refused: Where given, a method that does not fit the model is noted here (name to reason) instead of raising.
    """

    parts: tuple[Part, ...]
    refused: dict[str, str] | None = None
    name: str = "several"
    differentiable: bool = field(init=False)
    needs: Needs = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "differentiable", all(part.method.differentiable for part in self.parts))
        object.__setattr__(self, "needs", _join_needs([part.method for part in self.parts], self._try))

    @property
    def layers(self) -> list[str]:
        """Names of the target layers, each once."""
        return list(dict.fromkeys(part.layer for part in self.parts if part.layer is not None))

    def maps(self, run: Run) -> MethodMaps:
        """Make the maps of every part; a part's maps have the part's name."""
        made: dict[str, MethodMaps] = {}
        signed: dict[str, list[Tensor]] = {}
        layouts, images = {}, {}
        for part in self.parts:
            if part.method.name not in made:
                found = self._try(part.method, partial(part.method.maps, run))
                if found is None:
                    continue
                made[part.method.name] = found
            of_method = made[part.method.name]
            where = part.layer or next(iter(of_method.signed))
            signed[part.name], layouts[part.name] = of_method.signed[where], of_method.layouts[where]
            if of_method.image_of_calls is not None:
                images[part.name] = of_method.image_of_calls[where]
        return MethodMaps(signed, layouts, images if images and len(images) == len(signed) else None)

    def _try(self, method: Method, make: Callable[[], T]) -> T | None:
        if self.refused is None:
            return make()
        if method.name in self.refused:
            return None
        try:
            return make()
        except InputError as error:
            self.refused[method.name] = str(error)
            return None


@dataclass(frozen=True)
class Fused:
    """One map fused from several methods and layers: the geometric mean of their maps.

    Attributes:
        parts: The methods, with the layers that they are made at.
    """

    parts: tuple[Part, ...]

    @property
    def name(self) -> str:
        """The names of the parts, joined by ``+``."""
        return " + ".join(part.name for part in self.parts)

    @property
    def differentiable(self) -> bool:
        """Whether all parts are."""
        return SeveralMethods(self.parts).differentiable

    @property
    def needs(self) -> Needs:
        """All that the parts need."""
        return SeveralMethods(self.parts).needs

    def maps(self, run: Run) -> MethodMaps:
        """Make the maps of the parts and fuse them, call by call.

        Raises:
            InputError: the parts have maps of different numbers of calls.
        """
        made = SeveralMethods(self.parts).maps(run)
        counts = {name: len(calls) for name, calls in made.signed.items()}
        if len(set(counts.values())) > 1:
            raise InputError(f"method: maps of different numbers of calls cannot be fused: {counts}")
        fused = [geometric_mean(of_call) for of_call in zip(*made.signed.values(), strict=True)]
        images = None if made.image_of_calls is None else next(iter(made.image_of_calls.values()))
        height, width = fused[0].shape[1:]
        return MethodMaps(
            {"fused": fused},
            {"fused": [f"{height} x {width}, fused of {len(counts)} maps"] * len(fused)},
            None if images is None else {"fused": images},
            notes=made.notes,
        )


def _join_needs(methods: Sequence[Method], attempt: Callable[..., object]) -> Needs:
    """Join what methods need; ``attempt`` runs what may refuse the model."""
    selecting = [(method, method.needs.attention) for method in methods if method.needs.attention is not None]

    def select_all(sites: Sequence[AttentionSite]) -> list[AttentionSite]:
        wanted: dict[AttentionSite, None] = {}
        for method, select in selecting:
            attempt(method, partial(_select_into, wanted, select, sites))
        return list(wanted)

    naming = [(method, method.needs.named) for method in methods if method.needs.named is not None]

    def name_all(model: nn.Module, _layers: tuple[str, ...] | None) -> NamedModules:
        found: list[NamedModules] = []
        for method, name in naming:  # such a method takes no layers of the caller's
            attempt(method, partial(_name_into, found, name, model))
        return NamedModules(
            tuple(dict.fromkeys(layer for one in found for layer in one.layers)),
            tuple(dict.fromkeys(block for one in found for block in one.attention)),
        )

    return Needs(
        named=name_all if naming else None,
        layers=any(method.needs.layers for method in methods),
        attention=select_all if selecting else None,
        replay=any(method.needs.replay for method in methods),
        reruns=any(method.needs.reruns for method in methods),
        gradient=any(method.needs.gradient for method in methods),
    )


def _name_into(found: list[NamedModules], name: NameModules, model: nn.Module) -> None:
    found.append(name(model, None))


def _select_into(wanted: dict[AttentionSite, None], select: SelectSites, sites: Sequence[AttentionSite]) -> None:
    wanted.update(dict.fromkeys(select(sites)))
