"""The models of the page: each loaded once, shared by all visitors, and what each can be asked."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain._system.devices import usable_device
from mmgrad_explain._system.reading import shown
from mmgrad_explain.attention.layers.candidates import candidate_layers
from mmgrad_explain.attention.scores.named import SCORES, ensure_score
from mmgrad_explain.composers.bundled import choose_bundled
from mmgrad_explain.composers.generative.composer import GenerativeComposer
from mmgrad_explain.composers.load import BUNDLED, load_composer
from mmgrad_explain.data.example_inputs import example_inputs
from mmgrad_explain.errors import InputError, MMGradError
from mmgrad_explain.web.examples import kind_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from mmgrad_explain.composers.base import Composer

AUTOMATIC = "automatic"
"""The bundled model to which the pictures are familiar; then, the one that knows the sentences' words."""


@dataclass(frozen=True)
class Abilities:
    """What a model can be asked.

    Attributes:
        layers: Dotted name and grid (h, w) of each layer that can be explained, in the order in which they run.
        scores: Names of the scores that it can answer without a target.
        target_scores: Names of those that it can answer with one only.
        targets: Whether it takes a target picture.
        answers: Whether it answers in words.
    """

    layers: tuple[tuple[str, tuple[int, int]], ...]
    scores: tuple[str, ...]
    target_scores: tuple[str, ...]
    targets: bool
    answers: bool

    def shared(self, other: Abilities) -> Abilities:
        """What both can be asked; grids are this one's."""
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
        names: Model folders and hub ids beside the bundled ones.
        device: Where they run; the CPU when None.

    Attributes:
        names: What one can choose from: :data:`AUTOMATIC`, the bundled names, then ``names``.
        first: What is chosen at first: the first of ``names``, else :data:`AUTOMATIC`.
        lock: Held while a model works, since all visitors share it.

    Raises:
        InputError: There is no such device here.
    """

    def __init__(self, names: Sequence[str] = (), device: str | None = None) -> None:
        self.device = None if device is None else usable_device(device)
        self.names = tuple(dict.fromkeys((AUTOMATIC, *BUNDLED, *names)))
        self.first = names[0] if names else AUTOMATIC
        self.lock = threading.RLock()
        self._loaded: dict[str, Composer] = {}
        self._abilities: dict[str, Abilities] = {}

    def name_for(self, name: str, pictures: Sequence[Image.Image], texts: Sequence[str]) -> tuple[str, str]:
        """The model that is meant, and why it answers where one lets pictures and words choose.

        Raises:
            InputError: The page does not offer it.
        """
        self._check(name)
        if name != AUTOMATIC:
            return name, ""
        with self.lock:
            choice = choose_bundled(pictures, texts, load=self.composer)
        return choice.name, choice.why

    @property
    def example_model(self) -> str:
        """The bundled model that examples are for: the one that is chosen at first, else the first of all."""
        return self.first if self.first in BUNDLED else BUNDLED[0]

    @property
    def example_kind(self) -> str:
        """Name the set of examples (shapes or clothes) whose words ``example_model`` knows."""
        return kind_for(self.composer(self.example_model))

    def _check(self, name: str) -> None:
        if not isinstance(name, str) or name not in self.names:
            raise InputError(f"the page has no model {shown(name)}: choose one of {', '.join(self.names)}")

    def composer(self, name: str) -> Composer:
        """A model by the name that :meth:`name_for` gave.

        Raises:
            InputError: It cannot be loaded.
        """
        with self.lock:
            if name not in self._loaded:
                composer = load_composer(name)
                self._loaded[name] = composer if self.device is None else composer.to(self.device)
            return self._loaded[name]

    def abilities(self, name: str) -> Abilities:
        """What a model can be asked; of :data:`AUTOMATIC`, what all bundled ones can.

        Raises:
            InputError: It cannot be loaded.
        """
        self._check(name)
        if name == AUTOMATIC:
            first, *others = (self.abilities(one) for one in BUNDLED)
            for other in others:
                first = first.shared(other)
            return first
        with self.lock:
            if name not in self._abilities:
                self._abilities[name] = find_abilities(self.composer(self.name_for(name, (), ())[0]))
            return self._abilities[name]


def find_abilities(composer: Composer) -> Abilities:
    """Find out what a model can be asked, by asking it about a drawn picture, always the same.

    Args:
        composer: The model.
    """
    alone = example_inputs(composer)
    layers = tuple((one.name, one.grid) for one in candidate_layers(composer, **alone) if one.gradient_reaches)
    scores = _scores(composer, alone)
    if isinstance(composer, GenerativeComposer):
        return Abilities(layers, scores, (), targets=False, answers=True)
    try:
        with_target = _scores(composer, example_inputs(composer, target=True))
    except MMGradError:
        return Abilities(layers, scores, (), targets=False, answers=False)
    more = tuple(name for name in with_target if name not in scores)
    return Abilities(layers, scores, more, targets=True, answers=False)


def _scores(composer: Composer, tensors: dict[str, Any]) -> tuple[str, ...]:
    """Names of the scores that can be told from a model's output."""
    with torch.no_grad():
        output = composer(**tensors)
        found = []
        for name in SCORES:
            try:
                ensure_score(name)(output)
            except (MMGradError, TypeError):
                continue
            found.append(name)
    return tuple(found)
