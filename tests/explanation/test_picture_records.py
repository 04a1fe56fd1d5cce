"""What a saved picture says of its maps."""

import pickle
from dataclasses import replace

import pytest

from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.map_check import MapCheck
from mmgrad_explain.explanation.phrases import PhraseMaps
from mmgrad_explain.explanation.picture_records import picture_record
from mmgrad_explain.images.provenance import read_provenance
from mmgrad_explain.images.saving import safe_save
from mmgrad_explain.notes import Note


def test_a_record_names_the_model_the_method_and_each_map(with_pictures):
    noted = replace(with_pictures, notes=(Note("caution", "see /home/ann/x/notes.txt", (0,)),), model="/home/ann/mine")
    record = picture_record(noted)
    assert (record["model"], record["method"], record["layers"]) == ("mine", "gradcam", ["tower.body"])
    assert [(part["text"], part["of"]) for part in record["maps"]] == [
        ("make it red", "reference"), ("make it red", "target"), ("schöner", "reference"), ("schöner", "target"),
    ]  # fmt: skip
    assert record["maps"][0]["notes"] == ["see notes.txt"]


def test_a_saved_overlay_says_what_it_shows(with_pictures, tmp_path):
    checked = replace(with_pictures, checks=(MapCheck(1, False, "fails", occlusion=0.1),))
    checked.save_overlay(tmp_path / "map.jpg", 1, target=False)
    (part,) = read_provenance(tmp_path / "map.jpg")["maps"]
    assert (part["text"], part["score"], part["check"]["verdict"]) == ("schöner", 0.25, "fails")
    folder = checked.save(tmp_path / "saved")
    assert [part["of"] for part in read_provenance(folder / "overlay_0001.png")["maps"]] == ["reference", "target"]
    phrases = PhraseMaps(replace(checked, calls=checked.calls[:1]), "make it red", ((0, 4),))
    safe_save(phrases.overlay(), tmp_path / "phrases.webp")
    assert len(read_provenance(tmp_path / "phrases.webp")["maps"]) == 2


def test_an_explanation_that_was_pickled_cannot_be_checked_and_says_what_to_do(with_pictures):
    made = replace(with_pictures, source=object())
    back = pickle.loads(pickle.dumps(made))
    assert back.source is None
    with pytest.raises(InputError, match=r"check: this explanation does not know the model .* explain again"):
        back.check()
