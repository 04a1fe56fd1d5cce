"""What sphinx-gallery is told about the examples: their order, what counts as a picture, and how long they may take."""

from __future__ import annotations

import ast
import io
from time import process_time
from typing import TYPE_CHECKING, Any

from PIL import Image
from sphinx_gallery.scrapers import figure_rst

if TYPE_CHECKING:
    from sphinx_gallery.py_source_parser import Block

ORDER = (
    "plot_reference_model.py",
    "plot_your_own_model.py",
    "plot_which_map.py",
    "plot_clip.py",
    "plot_blip_matching.py",
    "plot_generative_answer.py",
    "plot_train_grounding.py",
    "plot_measure_localization.py",
    "plot_search_pictures.py",
    "plot_scores_and_weightings.py",
)
MOST_SECONDS = 90  # of processor time, on a busy machine
_LARGEST = 1400  # pixels a side: a page 800 wide, on a screen of twice the density


def place(filename: str) -> tuple[int, str]:
    """Where an example stands among the tutorials; those that are not listed come last, by name."""
    name = str(filename)
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)


def picture_of(value: Any) -> Image.Image | None:
    """The picture that a notebook would show for a value: a PIL image, or what ``_repr_png_`` gives; else None."""
    if isinstance(value, Image.Image):
        return value
    if hasattr(value, "_repr_png_"):
        return Image.open(io.BytesIO(value._repr_png_()))
    return None


def scrape(block: Block, block_vars: dict[str, Any], gallery_conf: dict[str, Any], **_: Any) -> str:
    """Save the picture that a cell ends with, if it ends with one.

    Args:
        block: The cell: its kind, its text, its line.
        block_vars: ``example_globals`` holds the value of the last expression as ``___``, also that of an earlier cell.
        gallery_conf: ``src_dir`` is the folder of the pages.

    Returns:
        The reST that shows the picture; empty without one.
    """
    statements = ast.parse(block[1]).body
    if not statements or not isinstance(statements[-1], ast.Expr):
        return ""
    picture = picture_of(block_vars["example_globals"].get("___"))
    if picture is None:
        return ""
    path = next(block_vars["image_path_iterator"])
    picture = picture.convert("RGB")
    picture.thumbnail((_LARGEST, _LARGEST), Image.Resampling.LANCZOS)
    picture.save(path)
    return figure_rst([path], gallery_conf["src_dir"])


_started: dict[str | None, float] = {}


def clock(_gallery_conf: dict[str, Any], fname: str | None, when: str) -> None:
    """Stop the build at an example that took too long.

    Args:
        fname: The example.
        when: ``"before"`` it runs, or ``"after"`` it.

    Raises:
        RuntimeError: If it took more than :data:`MOST_SECONDS` of processor time.
    """
    if when == "before":
        _started[fname] = process_time()
    elif (spent := process_time() - _started.pop(fname)) > MOST_SECONDS:
        raise RuntimeError(f"{fname} took {spent:.0f} s of processor time, and {MOST_SECONDS} s at most are allowed")
