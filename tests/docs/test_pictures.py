"""The pictures of README and guide are those that their script draws, or that the command above them writes."""

import re
import runpy
import shlex
from pathlib import Path

import numpy as np
from PIL import Image

DOCS = Path(__file__).parents[2] / "docs"


def same(kept, drawn):
    """Whether a picture that is kept looks as the one that was made now."""
    with Image.open(kept) as picture:
        kept = np.asarray(picture.convert("RGB"), float)
    drawn = np.asarray(drawn.convert("RGB"), float)
    return drawn.shape == kept.shape and np.abs(drawn - kept).mean() < 1


def test_the_first_picture_of_the_readme_is_what_its_script_draws():
    script = runpy.run_path(str(DOCS / "overlay_picture.py"))
    assert same(script["PICTURE"], script["draw"]())


def test_the_picture_of_the_start_is_what_its_command_writes(run, tmp_path, monkeypatch):
    page = (DOCS / "quickstart.md").read_text(encoding="utf-8")
    command = re.search(r"(?m)^mmgrad-explain (overlay .*)$", page)[1]
    monkeypatch.chdir(DOCS.parent)
    code, _, _ = run(*shlex.split(command), "--out", tmp_path / "drawn.png")
    assert code == 0
    with Image.open(tmp_path / "drawn.png") as drawn:
        assert same(DOCS / "images" / "quickstart.png", drawn)
        assert not same(DOCS / "images" / "quickstart.png", drawn.transpose(Image.Transpose.FLIP_LEFT_RIGHT))


def test_the_others_are_of_a_browser():
    assert {path.name for path in (DOCS / "images").iterdir()} == {"overlay.png", "quickstart.png", "page.png"}
