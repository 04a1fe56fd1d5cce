"""Open Images as published: boxes of classes in CSV, names of classes in another."""

import pytest

from mmgrad_explain.data.phrases import read_phrases
from mmgrad_explain.errors import InputError


def test_each_class_of_an_image_is_a_sample(openimages):
    found = read_phrases(openimages)
    found.require_images()
    assert [(s.id, s.text, s.kind) for s in found.samples] == [
        ("0001//m/1", "polar bear", "Polar bear"),
        ("0001//m/2", "hat, cap", "Hat, cap"),
    ]
    mask = found.samples[0].region.draw(40, 60)
    assert mask[:10, :30].all()
    assert mask[20:, 30:].all()
    assert mask.sum() == 300 + 600
    assert found.problems == {
        "row left out, since its box has no area": ["line 6"],
        "box of a class without a name": ["/m/9"],
    }


def test_names_of_later_releases_have_a_head(openimages):
    names = openimages / "class-descriptions-boxable.csv"
    names.rename(openimages / "oidv7-class-descriptions-boxable.csv")
    later = openimages / "oidv7-class-descriptions-boxable.csv"
    later.write_text("LabelName,DisplayName\n" + later.read_text())
    assert len(read_phrases(openimages)) == 2
    later.unlink()
    with pytest.raises(InputError, match=r"holds no class-descriptions-boxable\.csv"):
        read_phrases(openimages)


def test_splits(openimages):
    assert read_phrases(openimages, split="val").description == "boxes of classes, validation-annotations-bbox.csv"
    with pytest.raises(InputError, match=r"\(test-annotations-bbox\.csv\); splits that are there: validation"):
        read_phrases(openimages, split="test")


def test_another_csv(openimages):
    (openimages / "validation-annotations-bbox.csv").write_text("ImageID,Source,LabelName\n")
    with pytest.raises(InputError, match="it has no column XMin, XMax, YMin, YMax"):
        read_phrases(openimages)
