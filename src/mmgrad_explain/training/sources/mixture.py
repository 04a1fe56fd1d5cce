"""Several sources as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mmgrad_explain.data.batches.batch import ImageBatch, join_batches
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmgrad_explain.training.sources.source import Source

MIXES = ("step", "batch")


def check_mix(mix: str) -> None:
    """Raise InputError if there is no way of that name to mix sources."""
    if mix not in MIXES:
        raise InputError(f"mix must be 'step' (each step shows one source) or 'batch' (all of them), not {mix!r}")


class Mixture:
    """Several sources as one.

    Args:
        sources: Sources by name.
        weights: How often each is drawn, relative to the others; not used with ``mix="batch"``.
        mix: ``"step"``: each step shows one source, drawn by weight. ``"batch"``: each step shows all of them.

    Raises:
        InputError: If there are no sources, weights are not positive, or ``mix`` is unknown.
    """

    def __init__(self, sources: Mapping[str, Source], weights: Sequence[float], mix: str = "step") -> None:
        if not sources:
            raise InputError("sources: there are none; name at least one, for example scenes: {}")
        if any(not weight > 0 for weight in weights):
            raise InputError("sources: every weight must be above 0; leave a source out with NAME: null")
        check_mix(mix)
        self.sources = dict(sources)
        self.mix = mix
        self._shares = np.array(weights, float) / sum(weights)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every word of any source, in the order of the sources."""
        return tuple(dict.fromkeys(word for source in self.sources.values() for word in source.vocabulary))

    @property
    def label_classes(self) -> dict[str, int]:
        """Number of classes of the label maps of all sources.

        Raises:
            InputError: If two sources have different label maps of one name.
        """
        found: dict[str, int] = {}
        for source in self.sources.values():
            for name, count in source.label_classes.items():
                if found.setdefault(name, count) != count:
                    raise InputError(f"sources: two of them have label maps {name!r} with different numbers of classes")
        return found

    @property
    def facts(self) -> int:
        """Number of facts of every image.

        Raises:
            InputError: If two sources know facts; they would number their photographs alike.
        """
        known = [source.facts for source in self.sources.values() if source.facts]
        if len(known) > 1:
            raise InputError("sources: two of them know facts on their photographs; give one source all folders")
        return known[0] if known else 0

    def batch(self, seed: int, step: int) -> ImageBatch:
        """Return the batch of a step."""
        sources = list(self.sources.values())
        if self.mix == "batch":
            return join_batches([source.batch(seed, step) for source in sources])
        chosen = np.random.default_rng([seed, 2, step]).choice(len(sources), p=self._shares)
        return sources[int(chosen)].batch(seed, step)
