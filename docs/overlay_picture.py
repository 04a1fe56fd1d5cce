"""Draw docs/images/overlay.jpg, the first picture of the README: photographs, sentences, and their maps.

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
PICTURE = DOCS / "images" / "overlay.jpg"
PHOTOGRAPHS = DOCS.parent / "examples" / "photographs"
SENTENCES = {
    "astronaut.jpg": ["make the suit blue"],
    "grace_hopper.jpg": ["make the hat red"],
}


def draw() -> Image.Image:
    """Each photograph beside its maps."""
    tiles, captions, marks = [], [], []
    for name, texts in SENTENCES.items():
        photograph = open_image(PHOTOGRAPHS / name)
        tiles.append(photograph)
        captions.append("")
        marks.append(None)
        for text in texts:
            explanation = explain(photograph, text)
            tiles.append(blend(photograph, explanation.heatmap(), alpha=0.65))
            captions.append(text)
            marks.append(mark_of(explanation))
    return panel(tiles, captions, height=360, marks=marks)


def encoded(picture: Image.Image) -> bytes:
    """The picture as it is kept: a JPEG."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=85, optimize=True)
    return stream.getvalue()


def main() -> int:
    """Draw it."""
    PICTURE.write_bytes(encoded(draw()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
