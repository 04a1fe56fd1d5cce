"""List the layers that a map can be made at, and find the one to take."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from mmgrad_explain.attention.layers.candidate import Candidate
from mmgrad_explain.attention.layers.probe import Search, probe_layers
from mmgrad_explain.attention.running.modules import unwrap
from mmgrad_explain.attention.running.undisturbed import detach_inputs, undisturbed
from mmgrad_explain.attention.scores.guess import mention_guess
from mmgrad_explain.errors import GradientError, InputError


def candidate_layers(
    model: nn.Module, *args: Any, score: str | Callable[[Any], Any] | None = None, **kwargs: Any
) -> list[Candidate]:
    """List the layers a map can be made at, in the order in which they run.

    The model runs four times and is afterwards as it was. The search keeps every module's output, so it needs the
    memory of a training step. A layer is listed only if a place that is marked on the image is found again there. Pass
    a real image: a mark on noise is noise again, so that layers that see large parts of it may be missed.

    Args:
        model: Any model.
        *args: The model's arguments.
        score: As for :class:`~mmgrad_explain.attention.mmgrad.MultiModalGradAttention`.
        **kwargs: The model's keyword arguments.

    Returns:
        The candidates; the one that ``target_layers=None`` takes has ``chosen`` set.

    Raises:
        InputError: the output does not suggest a score, or the images are packed in an order that only the model knows.
        GradientError: the score depends on none of the layers.
    """
    root = unwrap(model)
    with undisturbed(root, (args, kwargs)):
        args, kwargs = detach_inputs((args, kwargs))
        return probe_layers(root, args, kwargs, score).candidates


def search_layer(
    root: nn.Module, args: Sequence[Any], kwargs: dict[str, Any], score: str | Callable[[Any], Any] | None
) -> Search:
    """Search for the layer that ``target_layers=None`` takes, in a model that is undisturbed already.

    Returns:
        The search; one of its candidates is chosen.

    Raises:
        InputError: several layers are possible, and the message names them; or as :func:`candidate_layers`.
        GradientError: there is no such layer, or as :func:`candidate_layers`.
    """
    search = probe_layers(root, args, kwargs, score)
    if any(candidate.chosen for candidate in search.candidates):
        return search
    with mention_guess(search.scorer):
        if search.refusal:
            raise InputError(search.refusal)
        raise GradientError(
            "target_layers: no layer of the model has both a spatial grid and a gradient from the score; name one "
            "(with layout= where its output is no grid), or use load_composer for tiled or packed images"
        )


def find_layer(
    root: nn.Module, args: Sequence[Any], kwargs: dict[str, Any], score: str | Callable[[Any], Any] | None
) -> str:
    """Return the name of the layer that ``target_layers=None`` takes; as :func:`search_layer`."""
    return next(candidate.name for candidate in search_layer(root, args, kwargs, score).candidates if candidate.chosen)
