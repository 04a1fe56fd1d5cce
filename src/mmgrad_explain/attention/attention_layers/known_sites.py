"""The attention that was found in a model, kept as long as the model lives and has the same modules."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from mmgrad_explain.attention.attention_layers.sites import find_attention_sites
from mmgrad_explain.attention.running.structures import map_tensors
from mmgrad_explain.attention.scores.base import CallableScore

if TYPE_CHECKING:
    from typing import Any

    from torch import nn

    from mmgrad_explain.attention.attention_layers.sites import AttentionSite
    from mmgrad_explain.attention.running.input_images import InputImage
    from mmgrad_explain.attention.scores.base import Score

Sites = tuple["AttentionSite", ...]

_OF_MODELS: WeakKeyDictionary[nn.Module, tuple[int, dict[Any, Sites]]] = WeakKeyDictionary()


def attention_sites(
    root: nn.Module, inputs: tuple[tuple[Any, ...], dict[str, Any]], images: tuple[InputImage, ...], score: Score | None
) -> Sites:
    """Return the attention of a model that is undisturbed already; it is searched once for images of one size.

    It is searched with the first sample, and with all of them where a single one is not taken, or does not show where
    its tokens lie. A score that is a function is no name for what it reads: for it the search is made each time.

    Args:
        root: The unwrapped model.
        inputs: Its (args, kwargs).
        images: The images among them.
        score: The caller's score; None if there is none.

    Raises:
        InputError: as :func:`~mmgrad_explain.attention.attention_layers.sites.find_attention_sites`.
        GradientError: likewise.
    """
    if isinstance(score, CallableScore):
        return _search(root, inputs, images, score)
    modules = hash(tuple(map(id, root.modules())))
    kept, of_model = _OF_MODELS.get(root, (None, {}))
    if kept != modules:
        of_model = {}
        _OF_MODELS[root] = modules, of_model
    key = score and score.name, tuple((image.name, image.size, image.index) for image in images)
    if key not in of_model:
        of_model[key] = _search(root, inputs, images, score)
    return of_model[key]


def _search(
    root: nn.Module, inputs: tuple[tuple[Any, ...], dict[str, Any]], images: tuple[InputImage, ...], score: Score | None
) -> Sites:
    counts = {image.batch for image in images}
    if len(counts) == 1 and (count := counts.pop()) > 1:
        args, kwargs = map_tensors(inputs, lambda one: one[:1] if one.ndim and len(one) == count else one)
        with contextlib.suppress(Exception):  # a model that fails on one sample is asked with all of them
            found = find_attention_sites(root, args, kwargs, score)
            if all(site.tokens_of is not None for site in found if site.reached and site.of_image_alone):
                return found
    return find_attention_sites(root, *inputs, score)
