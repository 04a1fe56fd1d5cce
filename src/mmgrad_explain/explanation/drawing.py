"""Draw an explanation: its images beside the same images under their maps.

Images are reduced to the size of the figure before a map is laid on them. The figure stays the same, and a photograph
of many megapixels takes no longer than a small one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.picture_records import picture_record
from mmgrad_explain.explanation.placement import open_as_seen, place_of
from mmgrad_explain.explanation.sides import call_of, map_of, sides_with_maps
from mmgrad_explain.explanation.warning_marks import mark_of
from mmgrad_explain.images.provenance import attach_provenance
from mmgrad_explain.images.tiles import HIGHEST, WIDEST, shrink, tile_height

if TYPE_CHECKING:
    from PIL import Image

    from mmgrad_explain.explanation.heatmaps import Heatmaps
    from mmgrad_explain.images.placement import Placement


def draw_overlay(
    explanation: Heatmaps,
    index: int = 0,
    *,
    image: Any = None,
    placement: Any = None,
    target: Any = None,
    target_placement: Any = None,
    words: bool = False,
    most: int = HIGHEST,
    **options: Any,
) -> Image.Image:
    """Draw one sample; see :meth:`~mmgrad_explain.explanation.Explanation.overlay`.

    Args:
        explanation: The maps.
        index: Which sample.
        image: The image, where the explanation does not know it.
        placement: Where it lies in the model's input, as for ``heatmap``.
        target: The target image likewise; False leaves it out.
        target_placement: Where it lies; None takes ``placement`` if that is a transform.
        words: Add the strip of words.
        most: Height of the highest tile, in pixels.
        **options: Of :func:`draw_map`.

    Raises:
        InputError: no image is known, there are no words, or as :func:`draw_map`.
    """
    from mmgrad_explain.images.panels import panel
    from mmgrad_explain.images.placement import Placement

    if words and explanation.words is None:
        raise InputError("words: the explanation has none; ask for them with words=True when explaining")
    if target_placement is None and not isinstance(placement, Placement):
        target_placement = placement
    sides = sides_with_maps(explanation)
    if image is not None:
        call_of(explanation, target=False)
    wanted = [(image, explanation.images, False)] if False in sides else []
    if target is not False and True in sides and (target is not None or explanation.targets is not None or not wanted):
        wanted.append((target, explanation.targets, True))
    images: list[Image.Image] = []
    places: list[Placement | None] = []
    for given, known, of_target in wanted:
        map_of(explanation, index, target=of_target)  # raises if there is no such map
        if given is None and known is None:
            if of_target:
                raise InputError("target: the explanation does not know its image: pass target=")
            raise InputError("image: the explanation does not know its image: pass image=")
        where = target_placement if of_target else placement
        is_placed = (explanation.target_placements if of_target else explanation.placements) is not None
        opened = open_as_seen(given, known=where is None and is_placed) if given is not None else (known or ())[index]
        images.append(opened)
        places.append(place_of(explanation, index, (opened.height, opened.width), where, target=of_target))
    height = tile_height(images, most)
    tiles: list[Any] = []
    captions: list[str] = []
    for original, place, (_, _, of_target) in zip(images, places, wanted, strict=True):
        small = shrink(original, WIDEST * height, height)
        tiles += [small, draw_map(explanation, index, small, target=of_target, placement=place, **options)]
        captions += ["target" if of_target else "reference", _caption(explanation, index, of_target=of_target)]
    marks: list[Any] = []
    for _, _, of_target in wanted:
        marks += [None, mark_of(explanation, index, target=of_target)]
    sheet = panel(tiles, captions=captions, height=height, marks=marks)
    if words and explanation.words is not None:
        from mmgrad_explain.images.word_shading import add_words

        sheet = add_words(sheet, [(word.text, word.scaled) for word in explanation.words[index]])
    sample = index % len(explanation)
    return attach_provenance(sheet, picture_record(explanation, [(sample, of_target) for _, _, of_target in wanted]))


def draw_map(
    explanation: Heatmaps,
    index: int,
    image: Image.Image,
    *,
    target: bool = False,
    placement: Placement | None = None,
    contour: bool = False,
    alpha: float = 0.7,
    **colours: Any,
) -> Any:
    """Lay a map on its image.

    Args:
        explanation: The maps.
        index: Which sample.
        image: Of any size.
        target: The target's map.
        placement: Where the image lies in the model's input, where the explanation does not know it.
        contour: Also draw a line around the brightest part.
        alpha: As in :func:`~mmgrad_explain.images.overlay.blend`.
        **colours: ``colormap`` and ``threshold``, likewise.

    Returns:
        (H, W, 3) uint8, RGB, of the size of the image.

    Raises:
        InputError: as ``blend``, and :meth:`~mmgrad_explain.explanation.Explanation.heatmap`.
    """
    from mmgrad_explain.images.contours import contour as outline
    from mmgrad_explain.images.overlay import blend

    size = (image.height, image.width)
    heat = explanation.heatmap(index, target=target, size=size, placement=placement)
    drawn = blend(image, heat, alpha=alpha, **colours)
    return outline(drawn, heat) if contour else drawn


def _caption(explanation: Heatmaps, index: int, *, of_target: bool) -> str:
    if explanation.texts is not None:
        what = explanation.texts[index]
    else:
        what = f"{explanation.score_name} = {float(explanation.score[index]):.3g}"
    return f"{what} (on the target)" if of_target else what
