"""Methods are built by name, with options that fit; the guide lists all of them."""

import inspect
from pathlib import Path

import pytest

from mmgrad_explain.composers.fusion.methods import Sizes
from mmgrad_explain.composers.fusion.registry import METHODS, build_fusion
from mmgrad_explain.errors import InputError


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tirg", {"wide": 3}, "tirg: there is no option 'wide'; known: width"),
        ("film", {"blocks": 0}, "film: blocks must be a whole number of at least 1, got 0"),
        ("tirg", {"width": True}, "tirg: width must be a whole number of at least 1, got True"),
        ("combiner", {"dropout": 1}, "combiner: dropout must be at least 0 and below 1, got 1"),
        ("inversion", {"dropout": "no"}, "inversion: dropout must be at least 0 and below 1, got 'no'"),
        ("qformer", {"width": 10, "heads": 4}, "width must be a multiple of heads, got a width of 10 and 4 heads"),
        ("cross-attention", {"asks": "both"}, "asks must be 'patches' or 'words', not 'both'"),
    ],
)
def test_options_that_do_not_fit(name, options, message):
    with pytest.raises(InputError, match=message):
        build_fusion(name, Sizes(8, 8, 8), options)


def test_the_guide_has_every_method_and_option():
    guide = (Path(__file__).parents[3] / "docs" / "composers.md").read_text(encoding="utf-8")
    for name, kind in METHODS.items():
        assert f"| `{name}` |" in guide
        assert all(f"`{option}`" in guide for option in inspect.signature(kind).parameters if option != "sizes")
