"""What ``overlay --json`` prints."""

import json

from mmgrad_explain.api import explain
from mmgrad_explain.cli.commands.overlay.records import part_record, sample_record


def test_a_map_of_several(tiny, picture):
    explanation = explain([picture, picture.rotate(90)], ["make it red", "remove the star"], model=tiny, words=True)
    first, second = (sample_record(explanation, index, in_words=True) for index in range(2))
    assert (first["text"], second["text"]) == ("make it red", "remove the star")
    assert second["score"] == float(explanation.score[1])
    assert [word["word"] for word in second["words"]] == ["remove", "the", "star"]
    assert second["in_words"] == explanation.in_words(1)
    assert second["brightest_region"] == explanation.brightest_region(1).to_dict()
    assert second["notes"] == [note.text for note in explanation.notes_of(1)]
    assert sample_record(explanation, 1, in_words=False) == second | {"in_words": None}
    assert part_record(explanation, 1) == {
        name: second[name] for name in ("score", "brightest_region", "check", "notes")
    }
    assert json.loads(json.dumps([first, second], allow_nan=False)) == [first, second]


def test_json(run, picture_file):
    code, out, _ = run("overlay", picture_file, "make it red", "--json")
    (result,) = json.loads(out)
    assert code == 0
    assert result["image"] == str(picture_file)
    assert result["file"] == "query_make-it-red.png"
    assert result["grid"] == [24, 24]
    assert 0 < result["brightest_region"]["share"] <= 1
    left, top, right, bottom = result["brightest_region"]["box"]
    assert 0 <= left < right <= 60
    assert 0 <= top < bottom <= 40
    assert set(result["versions"]) >= {"mmgrad_explain", "torch"}


def test_in_words_for_machines(run, picture_file):
    _, out, _ = run("overlay", picture_file, "make it red", "--json", "--in-words")
    said = json.loads(out)[0]["in_words"]
    assert said.startswith("The model reference was given a picture")
    assert said.count("\n\n") == 3
    _, plain, _ = run("overlay", picture_file, "make it red", "--json", "--overwrite")
    assert json.loads(plain)[0]["in_words"] is None
