"""The lines that ``overlay`` prints."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from mmgrad_explain.cli.commands.overlay.drawing import Drawn
from mmgrad_explain.cli.commands.overlay.report import print_report
from mmgrad_explain.errors import InputError

RECORD = {
    "image": "query.jpg", "file": "map.png", "score_name": "shift", "score": 0.123456, "method": "gradcam",
    "layers": ["body", "neck"], "grid": [8, 6], "model": "tiny", "model_choice": None, "answer": None,
    "brightest_region": {"share": 0.42, "box": [1, 2, 30, 40]}, "words": None, "in_words": None, "check": None,
    "clipped": False, "flat": False,
}  # fmt: skip


@pytest.fixture
def printed(capsys):
    """What is printed of a record with some changes: on standard output, and beside it."""

    def call(*, failed=(), remarks=(), as_json=False, file="map.png", **changes):
        drawn = Drawn([RECORD | changes], dict(failed), list(remarks))
        request = SimpleNamespace(images=[("query.jpg", SimpleNamespace(path=Path(file)))], as_json=as_json)
        print_report(drawn, request)
        return capsys.readouterr()

    return call


def test_lines(printed):
    assert printed().out.splitlines() == [
        "map.png",
        "  score   shift = 0.1235",
        "  map     gradcam at body, neck, 8x6 cells, model tiny",
        "  region  42% of the map lies in its brightest region: x 1 to 30, y 2 to 40 of the picture",
    ]
    why = "it knows such pictures"
    assert f"  model   tiny answers, because {why}\n" in printed(model_choice=why).out
    assert "  answer  a dog\n" in printed(answer="a dog").out


@pytest.mark.parametrize(
    ("why", "line"),
    [
        ({"clipped": True, "flat": True}, "the map is empty (no part of the picture raises the score)"),
        ({"flat": True}, "the map is flat (no place of the picture counts more than another)"),
        ({}, "the map lies outside the picture (on the margin of the model's input)"),
    ],
)
def test_why_there_is_no_region(printed, why, line):
    assert printed(brightest_region=None, **why).out.splitlines()[-1] == f"  region  none: {line}"


def test_the_places_of_parts(printed):
    parts = [
        {"part": "a dog", "brightest_region": {"box": [0, 1, 2, 3]}, "check": {"verdict": "good"}},
        {"part": "a", "brightest_region": None, "check": None},
    ]
    assert printed(parts=parts).out.splitlines()[-2:] == [
        "  part    a dog: x 0 to 2, y 1 to 3 (good)",
        "  part    a: nowhere",
    ]


def test_what_a_check_found_is_wrapped(printed):
    said = "The map stands the check: " + "it agrees with occlusion (.62); " * 4
    lines = printed(check={"verdict": "good", "in_words": said}).out.splitlines()[-2:]
    assert lines[0].startswith("  check   The map stands the check: it agrees")
    assert lines[1].startswith("          ")


def test_a_word_that_counts_nothing_has_no_minus(printed):
    words = [{"word": "it", "scaled": -0.001}, {"word": "red", "scaled": -1.0}]
    assert printed(words=words).out.splitlines()[-1] == "  words   it +0.00  red -1.00"
    assert printed(words=[]).out.splitlines()[-1] == "  words   none: the model read none of them"


def test_remarks_and_refused_images_go_to_standard_error(printed):
    done = printed(failed={"cut.png": InputError("it is truncated")}, remarks=["mind the gap"], as_json=True)
    assert done.err == "note: mind the gap\ncut.png is left out: it is truncated\n"
    assert done.out.startswith("[\n")


def test_in_words(run, picture_file):
    code, out, _ = run("overlay", picture_file, "make it red", "--in-words")
    assert code == 0
    figures, question, *_, limits = out.split("\n\n")
    assert figures.splitlines()[-1].startswith("  region  ")
    assert question.startswith(
        '  The model reference was given a picture and the text "make it red". The map is of the'
    )
    assert limits.startswith("  What the map does not say. ")
    lines = out.splitlines()[4:]
    assert all(line.startswith("  ") and len(line) <= 100 for line in lines if line)


def test_phrases_in_words_are_of_the_sentence(run, picture_file):
    _, out, _ = run("overlay", picture_file, "make the red star blue", "--phrases", "--in-words")
    assert 'the text "make the red star blue". The map' in out
    assert out.index("  phrase  ") < out.index("  The model reference was given")


def test_a_map_of_nothing_is_said(run, picture_file):
    code, out, err = run("overlay", picture_file, "abracadabra")
    assert code == 0
    assert "region  none: the map is flat (no place of the picture counts more than another)" in out
    assert "does not know 'abracadabra'" in err
