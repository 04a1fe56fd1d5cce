"""The kinds of sources, and building those of a config."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgrad_explain.training.sources.cir import CirSourceOptions
from mmgrad_explain.training.sources.mixture import Mixture
from mmgrad_explain.training.sources.objects import ObjectSourceOptions
from mmgrad_explain.training.sources.photos import PhotoSourceOptions
from mmgrad_explain.training.sources.scenes import SceneSourceOptions
from mmgrad_explain.training.sources.triplets import TripletSourceOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mmgrad_explain.images.placement import FitImage
    from mmgrad_explain.training.sources.source import SourceOptions

SOURCES = {
    "scenes": SceneSourceOptions,
    "photos": PhotoSourceOptions,
    "objects": ObjectSourceOptions,
    "triplets": TripletSourceOptions,
    "cir": CirSourceOptions,
}
"""Options of each kind of source: the list of the kinds."""


def build_source(
    options: Mapping[str, SourceOptions],
    size: int,
    *,
    mix: str = "step",
    labels: bool = False,
    held_out: bool = False,
    fit_image: FitImage | None = None,
) -> Mixture:
    """Build the sources of a config as one, for training or for evaluation on held-out images.

    Args:
        options: Options by name of the source.
        size: Side of the square images, pixels.
        mix: With several sources: ``"step"`` shows one in each step, by weight; ``"batch"`` all of them. Held-out
            batches show all of them in either case.
        labels: Whether label maps are used.
        held_out: Give the images that are kept from training.
        fit_image: How the model's processor fits an image; None letterboxes it.

    Raises:
        InputError: If a folder is missing or not as it should be.
    """
    sources = {
        name: each.build(name, size, labels=labels, held_out=held_out, fit_image=fit_image)
        for name, each in options.items()
    }
    weights = [each.weight for each in options.values()]
    return Mixture(sources, weights, "batch" if held_out and len(sources) > 1 else mix)
