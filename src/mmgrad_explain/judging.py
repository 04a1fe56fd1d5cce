"""Judge maps: methods side by side on one image, and figures of methods and layers over a data set."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.choices import name_of
from mmgrad_explain.api import explain
from mmgrad_explain.attention.methods.base import Method
from mmgrad_explain.attention.methods.named import list_names
from mmgrad_explain.composers.bundled import choose_bundled
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.composers.model_capabilities import capabilities
from mmgrad_explain.data.phrases.dataset import PhraseSet
from mmgrad_explain.data.phrases.formats import read_phrases
from mmgrad_explain.errors import InputError, MMGradError
from mmgrad_explain.evaluation.map_sets import evaluate_map_set
from mmgrad_explain.explanation.comparison import ComparedMap, Comparison
from mmgrad_explain.images.reading import open_image

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy.typing as npt
    from PIL import Image
    from torch import nn

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.evaluation.map_set_figures import MapSetFigures
    from mmgrad_explain.evaluation.map_sets import MapMaker


def evaluate_maps(
    model: str | Path | nn.Module,
    data: PhraseSet | str | os.PathLike[str],
    *,
    methods: Sequence[Any] = (),
    layers: Sequence[str] = (),
    score: Any = None,
    processor: Any = None,
    device: Any = None,
    batch: int = 16,
    pictures: int = 200,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> MapSetFigures:
    """Measure where the maps of a model are, over a data set of images, texts and regions.

    Args:
        model: As for :func:`~mmgrad_explain.api.explain`.
        data: From :func:`~mmgrad_explain.data.phrases.formats.read_phrases`, or its root.
        methods: As ``method`` of :func:`~mmgrad_explain.api.explain`; the model's default when empty.
        layers: Each with every method; ``"a+b"`` fuses two layers. The model's default when empty.
        score: As for :func:`~mmgrad_explain.api.explain`; one that compares with a target cannot be judged here.
        processor: Likewise.
        device: Likewise.
        batch: Samples that go through the model together.
        pictures: How many of the worst cases are drawn, for the report.
        progress: Called with ``"samples"``, how many are done, and how many there are.

    Returns:
        The figures, with ``interval``, ``summary``, ``markdown`` and more;
        :func:`~mmgrad_explain.evaluation.map_report.write_map_report` writes them as a page.

    Raises:
        InputError: The data cannot be read, or no method fits the model.
    """
    if not isinstance(data, PhraseSet):
        data = read_phrases(data)
    composer = load_composer(model, processor)
    makers = map_makers(composer, methods=methods, layers=layers, score=score, device=device)
    return evaluate_map_set(data, makers, batch=batch, pictures=pictures, progress=progress)


def map_makers(
    composer: Composer,
    *,
    methods: Sequence[Any] = (),
    layers: Sequence[str] = (),
    score: Any = None,
    device: Any = None,
) -> dict[str, MapMaker]:
    """Make a maker of maps for every method and layer, for :func:`~mmgrad_explain.evaluation.evaluate_map_set`.

    Args:
        composer: The model.
        methods: As for :func:`evaluate_maps`.
        layers: Likewise.
        score: Likewise.
        device: Likewise.

    Returns:
        Makers by name: that of the method, with its layer where layers are given.

    Raises:
        InputError: Two methods have one name.
    """
    makers: dict[str, MapMaker] = {}
    for method in list_names(methods) or (None,):
        for layer in list_names(layers) or (None,):
            name = candidate_name(method, layer)
            if name in makers:
                raise InputError(f"methods: {name!r} is given twice")
            fused = None if layer is None else layer.split("+") if "+" in layer else layer
            makers[name] = partial(_make_maps, composer, method=method, layer=fused, score=score, device=device)
    return makers


def candidate_name(method: Any, layer: str | None) -> str:
    """Return the name of a method, with its layer: ``"gradcam"``, ``"gradcam at visual.layer3"``, ``"default"``."""
    if method is None:
        name = "default"
    else:
        name = method if isinstance(method, str) else method.name if isinstance(method, Method) else name_of(method)
    return name if layer is None else f"{name} at {layer}"


def _make_maps(
    composer: Composer,
    images: Sequence[Image.Image],
    texts: Sequence[str],
    targets: Sequence[Image.Image] | None,
    **options: Any,
) -> list[npt.NDArray[Any]]:
    """Make the maps of images, on their pixels; or of the targets, if there are any."""
    one_image = targets is None and all(image is images[0] for image in images)
    sizes = {image.size for image in (*images, *(targets or ()))}
    alone = composer.answers_in_words or (len(sizes) > 1 and capabilities(composer).keeps_shapes)
    if alone and len(texts) > 1:
        rows = [([image], [text], None) for image, text in zip(images, texts, strict=True)]
        if targets is not None:
            rows = [(*row[:2], [target]) for row, target in zip(rows, targets, strict=True)]  # type: ignore[misc]
        return [heat for row in rows for heat in _make_maps(composer, *row, **options)]
    shown: Any = images[0] if one_image else list(images)
    found = explain(shown, list(texts), target=None if targets is None else list(targets), model=composer, **options)
    return [found.heatmap(index, target=targets is not None, normalize=False) for index in range(len(texts))]


def compare(
    image: Any,
    text: str,
    *,
    methods: Sequence[Any],
    layers: Sequence[str] = (),
    target: Any = None,
    of_target: bool = False,
    model: str | Path | nn.Module | None = None,
    processor: Any = None,
    score: Any = None,
    device: Any = None,
    check: bool = True,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> Comparison:
    """Draw the maps of several methods on one image, and check each: how well it agrees with what the model does.

    A method that refuses the model is kept with its reason, and the others are drawn.

    Args:
        image: One image, as for :func:`~mmgrad_explain.api.explain`.
        text: The text.
        methods: As ``method`` of :func:`~mmgrad_explain.api.explain`.
        layers: Each with every method; ``"a+b"`` fuses two layers. The model's default when empty.
        target: The target image, where the score compares with it.
        of_target: Compare the maps of the target image.
        model: As for :func:`~mmgrad_explain.api.explain`.
        processor: Likewise.
        score: Likewise.
        device: Likewise.
        check: Whether to check the maps, which runs the model again some hundred times for each.
        progress: Called with ``"maps"``, how many are done, and how many there are.

    Returns:
        The maps with their figures; ``figure``, ``save`` and ``table`` show them.

    Raises:
        InputError: The image, text or model cannot be used, two methods have one name, or every method refuses the
            model.
        TypeError: An argument is of a wrong type.
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be one string, got {type(text).__name__}")
    if not methods:
        raise InputError("methods: name at least one, such as 'gradcam'")
    opened = open_image(image)
    other = None if target is None else open_image(target)
    if of_target and other is None:
        raise InputError("of_target: there is no target")
    composer = choose_bundled([opened], [text]).composer if model is None else load_composer(model, processor)
    wanted = [(method, layer) for method in list_names(methods) for layer in (list_names(layers) or (None,))]
    names = [candidate_name(method, layer) for method, layer in wanted]
    if len(set(names)) < len(names):
        raise InputError(f"methods: {max(names, key=names.count)!r} is given twice")
    maps: list[ComparedMap] = []
    for (method, layer), name in zip(wanted, names, strict=True):
        fused = None if layer is None else layer.split("+") if "+" in layer else layer
        try:
            found = explain(
                opened, text, target=other, model=composer, layer=fused, score=score, method=method, device=device
            )
            maps.append(_check(ComparedMap(name, found), target=of_target) if check else ComparedMap(name, found))
        except MMGradError as error:
            maps.append(ComparedMap(name, None, reason=str(error)))
        if progress is not None:
            progress("maps", len(maps), len(wanted))
    if all(one.explanation is None for one in maps):
        raise InputError("; ".join(dict.fromkeys(f"{one.name}: {one.reason}" for one in maps)))
    judged = other if of_target and other is not None else opened
    return Comparison(judged, text, tuple(maps), of_target)


def _check(found: ComparedMap, *, target: bool) -> ComparedMap:
    """Check a map; where that is refused, keep the reason."""
    if found.explanation is None:
        return found
    try:
        return replace(found, check=found.explanation.check(0, target=target)[0])
    except MMGradError as error:
        return replace(found, reason=str(error))
