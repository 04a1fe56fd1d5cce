"""Concepts shows what its tutorial draws, and names all scores and weightings; how-to pages are found."""

import ast
import re
from pathlib import Path

import pytest

from mmgrad_explain.attention.scores.named import SCORES
from mmgrad_explain.attention.weighting import WEIGHTINGS

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "examples" / "plot_scores_and_weightings.py"
PAGE = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")


def test_every_picture_of_the_tutorial_is_shown_in_its_order():
    cells = re.split(r"(?m)^# %%", TUTORIAL.read_text(encoding="utf-8"))
    last = [ast.parse(cell.partition("\n")[2] if index else cell).body[-1] for index, cell in enumerate(cells)]
    drawn = [node for node in last if isinstance(node, ast.Expr) and not ast.unparse(node).startswith("print(")]
    numbers = re.findall(r"sphx_glr_plot_scores_and_weightings_(\d{3})\.png", PAGE)
    assert [int(number) for number in numbers] == list(range(1, len(drawn) + 1))


@pytest.mark.parametrize("page", ["concepts.md", "method.md", "how-to/choose-a-score-and-weighting.md"])
def test_all_scores_and_weightings_are_named(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert [name for name in (*SCORES, *WEIGHTINGS) if f"`{name}`" not in text] == []


def test_the_index_leads_to_every_how_to_page():
    folder = ROOT / "docs" / "how-to"
    linked = re.findall(r"\]\(([\w-]+\.md)\)", (folder / "index.md").read_text(encoding="utf-8"))
    assert {path.name for path in folder.glob("*.md")} - {"index.md", *linked} == set()
