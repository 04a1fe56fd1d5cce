"""Triplets, evaluated with one model, or with the bundled model that is chosen for each image and text."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

import torch

from mmgrad_explain.composers.bundled import choose_bundled
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.evaluation.figures import TripletFigures
from mmgrad_explain.evaluation.maps import default_kind
from mmgrad_explain.evaluation.triplets import evaluate_triplets
from mmgrad_explain.images.reading import open_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmgrad_explain.evaluation.triplet_inputs import PhotoTriplet

CHOSEN = "chosen"
"""Name of the map that the chosen model draws."""


def evaluate_chosen(triplets: Sequence[PhotoTriplet]) -> tuple[TripletFigures, Counter[str]]:
    """Evaluate each triplet with the bundled model that is chosen for it, as ``explain`` does without ``model``.

    Returns:
        The figures, of one map called :data:`CHOSEN`; retrieval is that of the chosen model among its own embeddings.
        And how often each model was chosen.
    """
    load = cache(load_composer)
    names = [
        choose_bundled([open_image(triplet.reference)], [triplet.text], load=load).name  # type: ignore[arg-type]
        for triplet in triplets
    ]
    found = {name: evaluate_triplets(load(name), triplets) for name in dict.fromkeys(names)}
    own = {name: default_kind(load(name)).name for name in found}
    first = next(iter(found.values()))
    maps = {
        figure: torch.stack([found[name].maps[own[name]][figure][i] for i, name in enumerate(names)])
        for figure in first.maps[own[names[0]]]
    }
    pairs = first.contrast_of.tolist()
    contrast = [found[names[i]].contrast[own[names[i]]][place] for place, i in enumerate(pairs)]
    recalls = []
    for kind in ("recall", "sibling_recall"):
        of_models = {name: of.recall if kind == "recall" else of.sibling_recall for name, of in found.items()}
        recalls.append(torch.stack([_known(of_models[name])[i] for i, name in enumerate(names)]))
    figures = TripletFigures(
        edits=first.edits,
        on_target=first.on_target,
        maps={CHOSEN: maps},
        contrast={CHOSEN: torch.stack(contrast) if contrast else torch.zeros(0)},
        contrast_of=first.contrast_of,
        recall=recalls[0],
        sibling_recall=recalls[1],
        gallery=first.gallery,
        notices=[notice for of in found.values() for notice in of.notices],
    )
    return figures, Counter(names)


def _known(values: torch.Tensor | None) -> torch.Tensor:
    assert values is not None  # noqa: S101  (maps of a model come with recall)
    return values
