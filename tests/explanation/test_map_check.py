"""The verdict on a map, and how it is said."""

import json

import pytest

from mmgrad_explain.explanation.map_check import AGREES, DISAGREES, SAME_MAP, MapCheck, judge


@pytest.mark.parametrize(
    ("occlusion", "text", "flat", "expected"),
    [
        (0.9, 0.8, False, "good"),
        (AGREES, None, False, "good"),
        (AGREES - 0.01, 0.8, False, "doubtful"),
        (DISAGREES - 0.01, 0.8, False, "fails"),
        (-0.5, 0.8, False, "fails"),
        (0.9, SAME_MAP / 2, False, "doubtful"),
        (None, 0.8, False, "doubtful"),
        (0.9, 0.8, True, "fails"),
        (None, None, True, "fails"),
    ],
)
def test_agreement_with_occlusion_decides_and_a_map_that_ignores_the_text_is_doubtful(occlusion, text, flat, expected):
    assert judge(occlusion, text, flat=flat) == expected


def test_the_line_holds_every_figure_and_its_meaning():
    check = MapCheck(0, target=False, verdict="good", occlusion=0.62, lowers=0.6, deletion=0.2, text=0.8)
    assert str(check) == (
        "The map stands the check: it agrees with occlusion (.62); without its bright places the score falls faster "
        "than in random order (.20); it changes with the text (.80)."
    )
    assert check.mark() is None
    assert check.short() == ""


def test_a_map_whose_places_raise_the_score_is_said_to_be_one():
    check = MapCheck(0, target=False, verdict="good", occlusion=0.8, lowers=-0.4)
    assert "though hiding its bright places raises the score as much as it lowers it (-.40)" in str(check)
    check = MapCheck(0, target=False, verdict="good", occlusion=0.8, lowers=-0.6)
    assert "though hiding its bright places mostly raises the score (-.60)" in str(check)


@pytest.mark.parametrize(
    ("check", "said", "level"),
    [
        (MapCheck(0, False, "fails", occlusion=0.04), "Fails the check: does not agree with occlusion (.04)", "fails"),
        (MapCheck(0, False, "doubtful", occlusion=0.3), "Doubtful: hardly agrees with occlusion (.30)", "doubtful"),
        (MapCheck(0, False, "doubtful", 0.9, text=0.01), "Doubtful: hardly changes with the text (.01)", "doubtful"),
        (MapCheck(0, False, "doubtful"), "Doubtful: could not be compared with occlusion", "doubtful"),
    ],
)  # fmt: skip
def test_the_mark_says_the_reason_in_a_few_words(check, said, level):
    assert (check.mark().text, check.mark().level) == (said, level)


def test_missing_figures_are_said_with_their_reasons_and_everything_is_ready_for_json():
    check = MapCheck(1, False, "good", occlusion=0.5, missing=(("text", "the text is a tensor"),), drops=((1.0,),))
    assert "text: not measured (the text is a tensor)" in str(check)
    record = json.loads(json.dumps(check.to_dict()))
    assert record["missing"] == {"text": "the text is a tensor"}
    assert record["in_words"] == str(check)
    assert record["sample"] == 1
