"""Names of the figures of a run, and the group that each is logged in."""

from __future__ import annotations

from mmgrad_explain.grounding.loss import FIGURES as OF_GROUNDING_LOSS
from mmgrad_explain.metrics.map_figures import MAP_FIGURES
from mmgrad_explain.training.objective.options import ATTENTION_TERMS

EVALUATION_PREFIX = "eval_"
"""Of a figure on held-out data, in transformers' logs."""

HELD_OUT_RETRIEVAL = ("r1", "sibling_r1", "search")
HELD_OUT_MAPS = tuple(figure.name for figure in MAP_FIGURES if not figure.full_size_only)
HELD_OUT = (*HELD_OUT_RETRIEVAL, *HELD_OUT_MAPS)
"""Figures on held-out data. Small is good for :data:`LOWER_IS_BETTER`, large for the others."""

LOWER_IS_BETTER = tuple(figure.name for figure in MAP_FIGURES if figure.lower_is_better)
"""Figures of which small values are good."""

BY_EDIT = "pointing_"
"""Prefix of the pointing game of one kind of edit, such as ``pointing_recolour``."""

STEP_RETRIEVAL = ("retrieval", "change", "direction", "across", "facts", "accuracy")
"""Figures of a training step on retrieval."""

STEP_GROUNDING = (*OF_GROUNDING_LOSS, *ATTENTION_TERMS)
"""Figures of a training step on grounding."""

NOT_LOGGED = ("epoch", "total_flos")
"""Figures of transformers that no log of this package shows."""

GROUPS = ("train", "eval", "grounding", "retrieval", "maps")
"""Groups in which figures and images are logged."""


def is_held_out_figure(name: str) -> bool:
    """Return whether a run measures a figure of this name on held-out data."""
    return name in HELD_OUT or name.startswith(BY_EDIT)


def add_group(name: str) -> str:
    """Put the group of a held-out figure before its name; a name with a slash is returned unchanged.

    A name with a dot is of a benchmark (:mod:`mmgrad_explain.training.benchmarks`).
    """
    if "/" in name:
        return name
    if name in HELD_OUT_MAPS or name.startswith(BY_EDIT):
        return f"grounding/{name}"
    return f"retrieval/{name}" if name in HELD_OUT_RETRIEVAL or "." in name else f"train/{name}"


def add_group_to_logged_name(name: str) -> str:
    """Put the group of a figure from a Trainer's logs before its name; held-out figures have their prefix there."""
    bare = name.removeprefix(EVALUATION_PREFIX)
    if bare != name:
        grouped = add_group(bare)
        return f"eval/{bare}" if grouped.startswith("train/") else grouped
    if name in STEP_GROUNDING:
        return f"grounding/train/{name}"
    return f"retrieval/train/{name}" if name in STEP_RETRIEVAL else f"train/{name}"
