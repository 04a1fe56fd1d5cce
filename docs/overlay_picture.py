"""Draw docs/images/overlay.png, the first picture of the README: three sentences about one picture.

Usage: ``python docs/overlay_picture.py``
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mmgrad_explain import explain
from mmgrad_explain.images import blend, open_image, panel

if TYPE_CHECKING:
    from PIL import Image

DOCS = Path(__file__).parent
PICTURE = DOCS / "images" / "overlay.png"
TEXTS = ["make the blue crescent red", "remove the green ring", "make the small cyan ring bigger"]


def draw() -> Image.Image:
    """The picture beside its maps."""
    query = open_image(DOCS.parent / "examples" / "query.jpg")
    explanation = explain(query, TEXTS, model="reference")
    maps = [blend(query, explanation.heatmap(index), alpha=0.75) for index in range(len(TEXTS))]
    return panel([query, *maps], ["reference", *TEXTS], height=360)


if __name__ == "__main__":
    draw().save(PICTURE)
