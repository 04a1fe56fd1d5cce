"""The bound of PaliGemma 2's logits."""

from types import SimpleNamespace

import pytest

from mmgrad_explain.composers.generative.families import paligemma

FAMILY = paligemma.FAMILIES["paligemma"]


def config(**text):
    return SimpleNamespace(get_text_config=lambda: SimpleNamespace(**text))


@pytest.mark.parametrize(
    ("release", "text", "cap"),
    [
        ("5.24.0", {"final_logit_softcapping": 30}, 30.0),
        ("4.57.1", {"final_logit_softcapping": 30}, None),  # that release leaves it out
        ("5.24.0", {"final_logit_softcapping": None}, None),
        ("5.24.0", {}, None),
    ],
)
def test_logits_are_limited_as_the_release_of_transformers_does(release, text, cap, monkeypatch):
    monkeypatch.setattr(paligemma, "version", lambda _package: release)
    assert FAMILY.logit_cap(config(**text)) == cap
