"""The pictures of README and guide are those that their script draws, or that the command above them writes."""

import io
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DOCS = Path(__file__).parents[2] / "docs"


def same(kept, drawn):
    """Whether a picture that is kept looks as the one that was made now."""
    with Image.open(kept) as picture:
        kept = np.asarray(picture.convert("RGB"), float)
    drawn = np.asarray(drawn.convert("RGB"), float)
    return drawn.shape == kept.shape and np.abs(drawn - kept).mean() < 1


@pytest.mark.parametrize("name", ["overlay.jpg", "failures.jpg"])
def test_photographs_with_maps_are_what_their_script_draws(name):
    script = runpy.run_path(str(DOCS / "overlay_picture.py"))
    drawn = Image.open(io.BytesIO(script["encoded"](script["draw"](script["PICTURES"][name]))))
    assert same(DOCS / "images" / name, drawn)
    assert not same(DOCS / "images" / name, drawn.transpose(Image.Transpose.FLIP_LEFT_RIGHT))


def test_every_photograph_is_listed_with_a_licence_that_needs_no_name():
    folder = DOCS.parent / "examples" / "photographs"
    rows = [line.split("|") for line in (folder / "LICENSES.md").read_text(encoding="utf-8").splitlines()]
    licences = {row[1].strip(" `"): row[4].strip() for row in rows if len(row) > 4}
    photographs = [path for path in folder.iterdir() if path.suffix == ".jpg"]
    assert photographs
    for path in photographs:
        assert licences[path.name].startswith(("public domain", "CC0")), path.name
        assert path.stat().st_size <= 150_000, path.name


WHO = {
    "astronaut.jpg": "Eileen Collins",
    "grace_hopper.jpg": "Grace Hopper",
    "chelsea.jpg": "Chelsea",
    "coffee.jpg": "coffee",
}
PAGES = [("README.md", "overlay.jpg"), ("docs/index.md", "overlay.jpg"), ("docs/bundled.md", "failures.jpg")]


@pytest.mark.parametrize(("page", "picture"), PAGES)
def test_a_page_names_what_is_on_its_photographs(page, picture):
    script = runpy.run_path(str(DOCS / "overlay_picture.py"))
    text = (DOCS.parent / page).read_text(encoding="utf-8")
    assert f"images/{picture}" in text
    assert all(WHO[name] in text for name in script["PICTURES"][picture])


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
    assert {path.name for path in (DOCS / "images").iterdir()} == {
        "overlay.jpg",
        "failures.jpg",
        "quickstart.png",
        "page.jpg",
    }
