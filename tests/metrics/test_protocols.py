"""The description of each protocol, and its variants."""

import subprocess
import sys
from dataclasses import replace

import pytest

from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics.protocols import PROTOCOLS, choose_protocol
from mmgrad_explain.metrics.rankings import RANKING_FIGURES


def test_each_says_what_it_is():
    assert PROTOCOLS["cirr"].describe() == (
        "CIRR: R@1,5,10,50, R_subset@1,2,3; recall of the one target; gallery: all images of the split, the "
        "reference removed; a tie counts half a place; average is the mean of R@5 and R_subset@1"
    )
    assert "soft targets (best score among the retrieved" in replace(PROTOCOLS["cirr"], soft=True).describe()
    assert "the reference kept" in PROTOCOLS["fashioniq"].describe()
    assert "average is the mean of R@1 and R@10 and R@50" in PROTOCOLS["shoes"].describe()
    assert "mAP@5,10,25,50, R@5,10,25,50;" in PROTOCOLS["circo"].describe()
    assert "in mAP the wrong image goes first" in PROTOCOLS["circo"].describe()
    assert "recall of any right answer" in PROTOCOLS["fashion200k"].describe()
    assert "the split's corpus" in PROTOCOLS["lasco"].describe()
    assert PROTOCOLS["jsonl"].describe().startswith("triplets: R@1")


def test_protocols_and_their_variants():
    assert choose_protocol("fashioniq").exclude_reference is False
    assert choose_protocol("fashioniq", exclude_reference=True).exclude_reference is True
    assert choose_protocol("cirr", exclude_reference=False).exclude_reference is False
    assert "VAL split" in choose_protocol("fashioniq", gallery="queries").describe()
    with pytest.raises(InputError, match="gallery 'all': there are original and queries"):
        choose_protocol("cirr", gallery="all")
    with pytest.raises(InputError, match="soft targets: only cirr has them"):
        choose_protocol("shoes", soft=True)


def test_every_figure_of_a_protocol_can_be_computed():
    for protocol in PROTOCOLS.values():
        assert set(protocol.cutoffs) <= set(RANKING_FIGURES)
        names = {f"{name}@{k}" for name, ks in protocol.cutoffs.items() for k in ks}
        assert all(set(of) <= names for of in protocol.averages.values())


def test_protocols_need_no_torch():
    """The command line lists galleries and splits before torch is imported."""
    code = "import sys, mmgrad_explain.metrics.protocols; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
