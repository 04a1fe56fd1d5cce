"""Draw photographs with the maps of sentences: the first picture of the README, and failures for the models' page.

The photographs are in the public domain or under CC0 (examples/photographs/LICENSES.md). Each sentence is explained by
the bundled model that is chosen for it; a map with a warning is drawn with its mark.

Usage: ``python docs/overlay_picture.py``
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mmgrad_explain import explain
from mmgrad_explain.explanation import mark_of
from mmgrad_explain.images import blend, open_image, panel

if TYPE_CHECKING:
    from PIL import Image

DOCS = Path(__file__).parent
PHOTOGRAPHS = DOCS.parent / "examples" / "photographs"
PICTURES = {
    "overlay.jpg": {
        "astronaut.jpg": ["make the suit blue", "remove the person"],
        "chelsea.jpg": ["make the cat black"],
    },
    "failures.jpg": {"grace_hopper.jpg": ["remove the glasses"], "coffee.jpg": ["remove the spoon"]},
}
"""The pictures in docs/images, the photographs on each, and what is asked of each photograph."""


def draw(sentences: dict[str, list[str]]) -> Image.Image:
    """Each photograph beside its maps."""
    tiles, captions, marks = [], [], []
    for name, texts in sentences.items():
        photograph = open_image(PHOTOGRAPHS / name)
        tiles.append(photograph)
        captions.append("")
        marks.append(None)
        for text in texts:
            explanation = explain(photograph, text)
            tiles.append(blend(photograph, explanation.heatmap(), alpha=0.65))
            captions.append(text)
            marks.append(mark_of(explanation))
    return panel(tiles, captions, height=310, marks=marks)


def encoded(picture: Image.Image) -> bytes:
    """Encode a picture as the JPEG that is stored."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=85, optimize=True)
    return stream.getvalue()


def main() -> int:
    """Draw all of them."""
    for name, sentences in PICTURES.items():
        (DOCS / "images" / name).write_bytes(encoded(draw(sentences)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
