"""What a method is: it says what it needs of a forward, and makes maps of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from mmgrad_explain.attention.attention_layers.sites import AttentionSite

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mmgrad_explain.attention.layouts.layout import AnyLayout
    from mmgrad_explain.attention.methods.run import Run
    from mmgrad_explain.notes import Note

SelectSites = Callable[[Sequence[AttentionSite]], Sequence[AttentionSite]]
"""From all attention of a model to that which a method needs; raises InputError where the model has none of it."""


@dataclass(frozen=True)
class NamedModules:
    """Modules that a method needs, by dotted names.

    Attributes:
        layers: Those whose outputs it needs.
        attention: Those inside which it needs the attention.
    """

    layers: tuple[str, ...] = ()
    attention: tuple[str, ...] = ()


NameModules = Callable[["nn.Module", "tuple[str, ...] | None"], NamedModules]
"""From a model, and the layers that the caller names (None: none), to the modules that a method needs."""


@dataclass(frozen=True)
class Needs:
    """What a method needs of a forward.

    Attributes:
        layers: The target layers' outputs, found by themselves where nobody names them.
        attention: Selects the attention whose probabilities, queries, keys and values it needs; None for none.
        named: Names the modules that it needs, instead of ``layers`` and ``attention``, where the model itself tells
            them; raises InputError where it does not.
        replay: Whether it runs the model's head again on the tokens of a block (:meth:`Run.replay`).
        reruns: Whether it runs the model again on changed inputs (:meth:`Run.rerun`).
        gradient: Whether it differentiates the score.
    """

    layers: bool = False
    attention: SelectSites | None = None
    named: NameModules | None = None
    replay: bool = False
    reruns: bool = False
    gradient: bool = True

    @property
    def of_layers_alone(self) -> bool:
        """Whether the outputs and gradients of the target layers are enough."""
        return self.layers and self.attention is None and not (self.replay or self.reruns)


@dataclass(frozen=True)
class MethodMaps:
    """The maps of one forward.

    Attributes:
        signed: Where the maps were made (name of a layer, a block or an input) to one signed map (B, h, w) a call.
        layouts: The same names to one layout a call, or its description.
        image_of_calls: The same names to the index of the input image that the map of each call is of; None where
            there are not several images.
        reached: The same names to whether the score depends on each call; empty where the method does not tell.
        notes: What a reader should know about maps of this method.
        method: Name of the method that made the maps, where the one that was asked chose another.
    """

    signed: dict[str, list[Tensor]]
    layouts: dict[str, list[AnyLayout | str]]
    image_of_calls: dict[str, list[int]] | None = None
    reached: dict[str, list[bool]] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    method: str = ""


@runtime_checkable
class Method(Protocol):
    """Makes maps of a forward whose score is to be explained.

    Attributes:
        name: Its name in results.
        differentiable: Whether its maps can be differentiated, for a loss.
    """

    @property
    def name(self) -> str:
        """Its name in results."""

    @property
    def differentiable(self) -> bool:
        """Whether its maps can be differentiated."""

    @property
    def needs(self) -> Needs:
        """What it needs of a forward."""

    def maps(self, run: Run) -> MethodMaps:
        """Make signed maps of a forward; differentiable with ``run.create_graph`` where the method is."""
