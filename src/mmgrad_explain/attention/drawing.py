"""An explanation's maps over its pictures, set side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain.attention.fusing import resize_maps
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

    from mmgrad_explain.attention.explanation import Explanation


def draw_overlay(
    explanation: Explanation,
    index: int,
    *,
    image: Any,
    target: Any,
    words: bool,
    contour: bool,
    colours: dict[str, Any],
) -> Image.Image:
    """Draw one sample; see :meth:`~mmgrad_explain.attention.Explanation.overlay`.

    Args:
        explanation: The maps.
        index: Which sample.
        image: The picture, where the explanation does not know it.
        target: Likewise of the target; False leaves it out.
        words: Add the strip of words.
        contour: Draw the line around the brightest part.
        colours: ``alpha``, ``colormap`` and ``threshold`` of :func:`~mmgrad_explain.overlay.blend`.

    Raises:
        InputError: no picture is known, there are no words, or as ``blend`` and ``heatmap``.
    """
    from mmgrad_explain import overlay as draw
    from mmgrad_explain.images import open_image

    if words and explanation.words is None:
        raise InputError("words: the explanation has none; ask for them with words=True when explaining")
    tiles: list[Any] = []
    captions: list[str] = []
    pairs = [(image, explanation.images, False)]
    if target is not False and len(explanation.calls) > 1 and (target is not None or explanation.targets is not None):
        pairs.append((target, explanation.targets, True))
    for given, known, of_target in pairs:
        heat = explanation.heatmap(index, target=of_target)
        if given is None and known is None:
            raise InputError("image: the explanation does not know its picture, so pass image=")
        picture = open_image(given) if given is not None or known is None else known[index]
        if heat.shape != (picture.height, picture.width):
            heat = resize_maps(torch.from_numpy(heat)[None], (picture.height, picture.width))[0].numpy()
        drawn: Any = draw.blend(picture, heat, **colours)
        drawn = draw.contour(drawn, heat) if contour else drawn
        tiles += [picture, drawn]
        captions += ["target" if of_target else "reference", _caption(explanation, index, of_target=of_target)]
    sheet = draw.panel(tiles, captions=captions)
    if words and explanation.words is not None:
        from mmgrad_explain.overlay_words import add_words

        sheet = add_words(sheet, [(word.text, word.scaled) for word in explanation.words[index]])
    return sheet


def _caption(explanation: Explanation, index: int, *, of_target: bool) -> str:
    if explanation.texts is not None:
        what = explanation.texts[index]
    else:
        what = f"{explanation.score_name} = {float(explanation.score[index]):.3g}"
    return f"{what} (on the target)" if of_target else what
