"""Which pictures are marked, and with what."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import ImageColor

from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.map_check import MapCheck
from mmgrad_explain.explanation.notebook import explanation_html
from mmgrad_explain.explanation.warning_marks import REASONS, mark_of
from mmgrad_explain.images.marks import COLOURS
from mmgrad_explain.notes import Note

FAILS = MapCheck(1, False, "fails", occlusion=0.1)


def _count(picture, level):
    return int((np.asarray(picture) == ImageColor.getrgb(COLOURS[level][0])).all(-1).sum())


@pytest.mark.parametrize("kind", REASONS)
def test_every_warning_marks_its_own_samples(with_pictures, kind):
    noted = replace(with_pictures, notes=(Note(kind, "why", (1,)),))
    assert mark_of(noted, 0) is None
    assert mark_of(noted, 1).text == REASONS[kind]
    assert mark_of(noted, 1).level == "doubtful"


def test_a_text_that_was_lost_says_no_more_of_unknown_words(with_pictures):
    notes = (Note("unknown-words", "why"), Note("lost-text", "why"), Note("cut-text", "why"))
    said = mark_of(replace(with_pictures, notes=notes)).text
    assert said == "Text not understood by the model; text cut: the model did not read all of it"


@pytest.mark.parametrize("kind", ["whose-map", "first-image", "few-hits"])
def test_notes_that_cast_no_doubt_on_the_map_do_not_mark_it(with_pictures, kind):
    assert mark_of(replace(with_pictures, notes=(Note(kind, "why"),))) is None


def test_a_failed_check_comes_first_and_marks_its_own_side_alone(with_pictures):
    checked = replace(with_pictures, checks=(FAILS,), notes=(Note("unfamiliar-image", "why"), Note("cut-text", "cut")))
    mark = mark_of(checked, 1)
    assert mark.level == "fails"
    assert mark.text == "Fails the check: does not agree with occlusion (.10); image unlike the model's training images"
    assert mark_of(checked, 1, target=True).level == mark_of(checked, 0).level == "doubtful"
    assert mark_of(checked, -1) == mark


def test_the_mark_is_drawn_in_the_overlay_of_its_sample_alone(with_pictures):
    checked = replace(with_pictures, checks=(FAILS,))
    assert _count(checked.overlay(0), "fails") == 0
    assert _count(checked.overlay(1), "fails") > 500
    assert checked.overlay(0).size == with_pictures.overlay(0).size
    assert checked.overlay(1).height > with_pictures.overlay(1).height


def test_a_notebook_says_what_the_check_found(with_pictures):
    assert "does not agree with occlusion (.10)" in explanation_html(replace(with_pictures, checks=(FAILS,)))


def test_there_is_no_mark_of_a_sample_that_is_not_there(with_pictures):
    with pytest.raises(InputError, match="index must be below 2"):
        mark_of(with_pictures, 2)
