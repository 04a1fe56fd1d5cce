"""The tables of figures and protocols in the documentation agree with the code."""

from dataclasses import replace
from pathlib import Path

import pytest

from mmgrad_explain.metrics.map_figures import MAP_FIGURES
from mmgrad_explain.metrics.protocols import PROTOCOLS

DOCS = Path(__file__).parents[2] / "docs"


def of(*names):
    return pytest.mark.parametrize("docs_script", names, indirect=True)


@of("figures_table", "protocols_table")
def test_the_table_is_up_to_date(docs_script):
    assert docs_script.main(["--check"]) == 0


@of("figures_table")
def test_a_figure_that_is_added_gets_a_row(docs_script, monkeypatch):
    added = replace(MAP_FIGURES[0], name="sharpness", meaning="how sharp it is", floor="0.1")
    monkeypatch.setattr(docs_script, "MAP_FIGURES", (*MAP_FIGURES, added))
    assert "| localization | sharpness: how sharp it is | `localization` | 0.1 |" in docs_script.table().splitlines()
    assert docs_script.main(["--check"]) == 1


@of("protocols_table")
def test_a_figure_of_a_protocol_gets_a_cell(docs_script, monkeypatch):
    shoes = replace(PROTOCOLS["shoes"], cutoffs={"R": (1,), "MRR": (10,)}, averages={})
    monkeypatch.setattr(docs_script, "PROTOCOLS", {"shoes": shoes})
    assert docs_script.table().splitlines()[-1] == (
        "| Shoes | R@1; MRR@10 | the one target | removed | all images of the split |  |"
    )
