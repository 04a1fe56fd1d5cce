"""The models of the page, each loaded once and shared by all visitors, and what each can do."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain._system.devices import check_device
from mmgrad_explain._system.user_files import quote
from mmgrad_explain.attention.layers.candidates import candidate_layers
from mmgrad_explain.attention.scores.named import SCORES
from mmgrad_explain.composers.bundled import choose_bundled
from mmgrad_explain.composers.load import BUNDLED, load_composer
from mmgrad_explain.composers.model_capabilities import capabilities
from mmgrad_explain.data.drawn_example import example_inputs
from mmgrad_explain.errors import InputError, MMGradError
from mmgrad_explain.web.examples import choose_kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from mmgrad_explain.composers.base import Composer

AUTOMATIC = "automatic"
"""Stands for the bundled model that :func:`~mmgrad_explain.composers.bundled.choose_bundled` chooses."""


@dataclass(frozen=True)
class Abilities:
    """What a model can do.

    Attributes:
        layers: Dotted name and grid (h, w) of each layer that can be explained, in the order in which they run.
        scores: Names of its scores that need no target.
        target_scores: Names of its scores that need a target.
        targets: Whether it takes a target image.
        answers: Whether it answers in words.
    """

    layers: tuple[tuple[str, tuple[int, int]], ...]
    scores: tuple[str, ...]
    target_scores: tuple[str, ...]
    targets: bool
    answers: bool

    def common_with(self, other: Abilities) -> Abilities:
        """Return what both models can do; grids are those of this one."""
        names = {name for name, _ in other.layers}
        return Abilities(
            tuple(layer for layer in self.layers if layer[0] in names),
            tuple(name for name in self.scores if name in other.scores),
            tuple(name for name in self.target_scores if name in other.target_scores),
            self.targets and other.targets,
            self.answers and other.answers,
        )


class Models:
    """The models that a page offers.

    Args:
        names: Model folders and hub ids to offer with the bundled models.
        device: Where they run; the CPU when None.

    Attributes:
        names: The names to choose from: :data:`AUTOMATIC`, the bundled names, then ``names``.
        first: The name that is chosen at first: the first of ``names``, else :data:`AUTOMATIC`.
        lock: Held while a model runs, since all visitors share it.

    Raises:
        InputError: There is no such device here.
    """

    def __init__(self, names: Sequence[str] = (), device: str | None = None) -> None:
        self.device = None if device is None else check_device(device)
        self.names = tuple(dict.fromkeys((AUTOMATIC, *BUNDLED, *names)))
        self.first = names[0] if names else AUTOMATIC
        self.lock = threading.RLock()
        self._loaded: dict[str, Composer] = {}
        self._abilities: dict[str, Abilities] = {}

    def choose_model(self, name: str, images: Sequence[Image.Image], texts: Sequence[str]) -> tuple[str, str]:
        """Return the name of a model, and for :data:`AUTOMATIC` why it was chosen.

        Raises:
            InputError: The page does not offer it.
        """
        self._check(name)
        if name != AUTOMATIC:
            return name, ""
        with self.lock:
            choice = choose_bundled(images, texts, load=self.composer)
        return choice.name, choice.why

    @property
    def example_model(self) -> str:
        """Name of the bundled model that the examples are for: ``first``, or else the first bundled one."""
        return self.first if self.first in BUNDLED else BUNDLED[0]

    @property
    def example_kind(self) -> str:
        """The kind of examples whose words ``example_model`` knows."""
        return choose_kind(self.composer(self.example_model))

    def _check(self, name: str) -> None:
        if not isinstance(name, str) or name not in self.names:
            raise InputError(f"the page has no model {quote(name)}: choose one of {', '.join(self.names)}")

    def composer(self, name: str) -> Composer:
        """Return a model by a name of :meth:`choose_model`; it is loaded at the first call.

        Raises:
            InputError: It cannot be loaded.
        """
        with self.lock:
            if name not in self._loaded:
                composer = load_composer(name)
                self._loaded[name] = composer if self.device is None else composer.to(self.device)
            return self._loaded[name]

    def abilities(self, name: str) -> Abilities:
        """Find out what a model can do; for :data:`AUTOMATIC`, what all bundled models can.

        Raises:
            InputError: It cannot be loaded.
        """
        self._check(name)
        if name == AUTOMATIC:
            first, *others = map(self.abilities, BUNDLED)
            for other in others:
                first = first.common_with(other)
            return first
        with self.lock:
            if name not in self._abilities:
                self._abilities[name] = find_abilities(self.composer(name))
            return self._abilities[name]


def find_abilities(composer: Composer) -> Abilities:
    """Find out what a model can do, by running it on a drawn image, always the same.

    Args:
        composer: The model.
    """
    alone = example_inputs(composer)
    layers = tuple((layer.name, layer.grid) for layer in candidate_layers(composer, **alone) if layer.gradient_reaches)
    scores = _fitting_scores(composer, alone)
    if capabilities(composer).answers is not None:
        return Abilities(layers, scores, (), targets=False, answers=True)
    try:
        with_target = _fitting_scores(composer, example_inputs(composer, target=True))
    except MMGradError:  # a model does not declare whether it takes a target: it refuses one
        return Abilities(layers, scores, (), targets=False, answers=False)
    more = tuple(name for name in with_target if name not in scores)
    return Abilities(layers, scores, more, targets=True, answers=False)


def _fitting_scores(composer: Composer, tensors: dict[str, Any]) -> tuple[str, ...]:
    """List the names of the scores that a model's output holds the parts of."""
    with torch.no_grad():
        output = composer(**tensors)
    return tuple(name for name, make in SCORES.items() if make().fits(output))
