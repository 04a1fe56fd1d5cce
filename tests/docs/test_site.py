"""The documentation is built once, tutorials and all, in a copy of the checkout, and what came out is looked at."""

import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from sphinx.util.inventory import InventoryFile

import mmgrad_explain

ROOT = Path(__file__).parents[2]
NUMBER = re.compile(r"[-+]?\d+\.?\d*")
STAND_IN = "random weights: its maps mean nothing"  # the page itself says what answered


@pytest.fixture
def checkout(tmp_path):
    """What a build reads, without what an earlier build left."""
    left = shutil.ignore_patterns("_build", "auto_examples", "sg_execution_times.rst", "__pycache__", "*.egg-info")
    for folder in ("docs", "examples", "benchmarks", "src", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=left)
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def files_of(folder):
    """Contents of all files below."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}


def printed(page):
    """What the cells of a tutorial's page printed."""
    shown = re.findall(r'class="sphx-glr-script-out.*?<pre>(.*?)</pre>', page, re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", "", "\n".join(shown)))


def taken_apart(line):
    """Words and numbers of a line."""
    return NUMBER.sub("#", " ".join(line.split())), [float(number) for number in NUMBER.findall(line)]


def quoted(page):
    """The lines of output that a page in Markdown shows."""
    return [line for block in re.findall(r"```text\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]


def problems_of_a_tutorial(site, example):
    """What is missing on the page of an example: its pictures, what it prints, its notebook."""
    page = (site / "auto_examples" / f"{example.stem}.html").read_text(encoding="utf-8")
    pictures = set(re.findall(rf"_images/(sphx_glr_{example.stem}_\d+\.\w+)", page))
    if not pictures or not all((site / "_images" / name).is_file() for name in pictures):
        yield "no picture on its page"
    if not printed(page).strip():
        yield "nothing printed"
    if "from_hub_or_stand_in" in example.read_text(encoding="utf-8") and STAND_IN not in printed(page):
        yield "does not say that a stand-in answered"
    notebooks = list((site / "_downloads").rglob(f"{example.stem}.ipynb"))
    if not notebooks:
        yield "no notebook"
    for notebook in notebooks:
        nbformat.validate(nbformat.read(notebook, as_version=4))


def problems_of_quotes(site, quotes, tutorial):
    """Lines that a page quotes of a tutorial, and that it did not print."""
    page = (site / "auto_examples" / f"{tutorial}.html").read_text(encoding="utf-8")
    said = [taken_apart(line) for line in printed(page).splitlines()]
    for line in quotes:
        words, numbers = taken_apart(line)
        if not any(one == words and got == pytest.approx(numbers, rel=0.01, abs=0.03) for one, got in said):
            yield f"{tutorial} does not print: {line}"


def problems_of_the_reference(site):
    """Names of the package without an entry."""
    with (site / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", lambda _, name: name)
    entries = {name.rpartition(".")[2] for kind in inventory for name in inventory[kind] if kind.startswith("py:")}
    yield from (f"{name}: no entry" for name in mmgrad_explain.__all__ if name not in {*entries, "__version__"})


def problems_of_addresses(site):
    """Figures such as R@10 that were taken for somebody's address; there is none in these pages."""
    for page in sorted(site.rglob("*.html")):
        for found in re.findall(r"mailto:[^\"]*", page.read_text(encoding="utf-8")):
            yield f"{page.relative_to(site)}: {found}"


def test_it_is_built_and_everything_is_there(checkout):
    before = files_of(checkout / "examples")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "docs", "site"]
    surroundings = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    built = subprocess.run(command, cwd=checkout, env=surroundings, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert files_of(checkout / "examples") == before  # tutorials write nothing beside themselves
    site = checkout / "site"
    found = [
        f"{example.name}: {problem}"
        for example in sorted((checkout / "examples").glob("plot_*.py"))
        for problem in problems_of_a_tutorial(site, example)
    ]
    quotes = quoted((ROOT / "docs" / "concepts.md").read_text(encoding="utf-8"))
    assert len(quotes) > 15
    found += problems_of_quotes(site, quotes, "plot_scores_and_weightings")
    found += [*problems_of_the_reference(site), *problems_of_addresses(site)]
    assert found == []


@pytest.fixture
def small(tmp_path):
    """A site with one tutorial that has everything."""
    for folder in ("auto_examples", "_images", "_downloads"):
        (tmp_path / folder).mkdir()
    example = tmp_path / "plot_one.py"
    example.write_text("model = from_hub_or_stand_in('a/b')")
    output = (
        '<div class="sphx-glr-script-out highlight"><div><pre>%s\nscore: <b>0.50</b> &amp; 3 maps\n</pre></div></div>'
    )
    page = f'<img src="../_images/sphx_glr_plot_one_001.png"/>{output % STAND_IN}'
    (tmp_path / "auto_examples" / "plot_one.html").write_text(page)
    (tmp_path / "_images" / "sphx_glr_plot_one_001.png").touch()
    book = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "_downloads" / "plot_one.ipynb").write_text(json.dumps(book))
    return tmp_path


def test_what_is_missing_is_noticed(small):
    example, page = small / "plot_one.py", small / "auto_examples" / "plot_one.html"
    assert list(problems_of_a_tutorial(small, example)) == []
    page.write_text(page.read_text().replace(STAND_IN, "CLIP answers"))
    assert list(problems_of_a_tutorial(small, example)) == ["does not say that a stand-in answered"]
    (small / "_images" / "sphx_glr_plot_one_001.png").unlink()
    (small / "_downloads" / "plot_one.ipynb").unlink()
    example.write_text("")
    assert list(problems_of_a_tutorial(small, example)) == ["no picture on its page", "no notebook"]
    page.write_text("")
    assert list(problems_of_a_tutorial(small, example)) == ["no picture on its page", "nothing printed", "no notebook"]


def test_what_looks_like_an_address_is_noticed(small):
    assert list(problems_of_addresses(small)) == []
    (small / "auto_examples" / "plot_one.html").write_text('<a href="mailto:mAP@10">mAP@10</a>')
    assert list(problems_of_addresses(small)) == ["auto_examples/plot_one.html: mailto:mAP@10"]


def test_what_is_quoted_wrongly_is_noticed(small):
    assert list(problems_of_quotes(small, ["score:   0.501 & 3 maps"], "plot_one")) == []
    wrong = ["score: 0.6 & 3 maps", "scores: 0.5 & 3 maps"]
    assert list(problems_of_quotes(small, wrong, "plot_one")) == [f"plot_one does not print: {line}" for line in wrong]


def test_a_tutorial_that_takes_too_long_is_refused(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs" / "extensions")
    import tutorials

    monkeypatch.setattr(tutorials, "process_time", iter([10.0, 100.0, 10.0, 200.0]).__next__)
    tutorials.clock({}, "plot_one.py", "before")
    tutorials.clock({}, "plot_one.py", "after")
    tutorials.clock({}, "plot_one.py", "before")
    with pytest.raises(RuntimeError, match=r"^plot_one.py took 190 s of processor time, and 90 s at most are allowed$"):
        tutorials.clock({}, "plot_one.py", "after")


def test_pages_of_source_share_the_menu_of_their_depth(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs" / "extensions")
    import source_pages

    menus, made = source_pages.Menus(), []

    def shown(page):
        context = {"toctree": lambda **options: made.append(page) or f"menu of {page} {options}"}
        menus.share(None, page, "page.html", context, None)
        return context["toctree"](collapse=False)

    assert shown("_modules/a/b") == shown("_modules/a/c") == "menu of _modules/a/b {'collapse': False}"
    for page in ("_modules/a/b/c", "api/index", "api/other"):
        assert shown(page) == f"menu of {page} {{'collapse': False}}"
    assert made == ["_modules/a/b", "_modules/a/b/c", "api/index", "api/other"]
