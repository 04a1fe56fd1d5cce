"""Flickr30k Entities as published: phrases in captions, boxes in XML."""

import pytest

from mmgrad_explain.data.phrases import read_phrases
from mmgrad_explain.errors import InputError


def test_each_phrase_with_a_box_is_a_sample(flickr):
    found = read_phrases(flickr)
    found.require_images()
    assert [(s.id, s.text, s.kind) for s in found.samples] == [
        ("1000/0/0", "Two young guys", "people"),
        ("1000/0/1", "shaggy hair", "bodyparts"),
        ("1000/1/0", "Two men", "people"),
    ]
    assert {what: len(which) for what, which in found.problems.items()} == {
        "phrase left out, since it is a scene": 1,
        "phrase left out, since it is not visible": 1,
        "phrase left out, since it is without a box": 1,
    }


def test_boxes_count_pixels_from_one_and_hold_the_last(flickr):
    both, hair, _ = read_phrases(flickr).samples
    mask = both.region.draw(40, 60)
    assert mask[:20, :10].all()
    assert mask[:20, 20:30].all()
    assert mask.sum() == 400
    assert hair.region.draw(40, 60).sum() == 4 * 5


def test_without_a_list_all_captions_are_read(flickr):
    (flickr / "val.txt").unlink()
    assert read_phrases(flickr).description == "phrases with boxes, all captions"
    with pytest.raises(InputError, match=r"split: there is no test\.txt in .*; there are none"):
        read_phrases(flickr, split="test")


def test_names_that_lead_elsewhere_are_not_read(flickr):
    (flickr / "val.txt").write_text("../../secret\n1000\n")
    assert read_phrases(flickr).problems["image whose path leads out of the folder"] == ["../../secret"]


def test_damaged_annotations(flickr):
    file = flickr / "Annotations" / "1000.xml"
    whole = file.read_text()
    file.write_text(whole.replace("<xmin>5</xmin>", "<xmin>many</xmin>"))
    assert read_phrases(flickr).problems["box left out, since its box is not four numbers"] == ["1000"]
    file.write_text(whole[:100])
    with pytest.raises(InputError, match=r"1000\.xml is not XML, or breaks off"):
        read_phrases(flickr)
    file.write_text('<!DOCTYPE a [<!ENTITY b "c">]>' + whole)
    with pytest.raises(InputError, match="declares entities"):
        read_phrases(flickr)
    file.unlink()
    with pytest.raises(InputError, match=r"no such file: .*1000\.xml; it belongs to flickr30k"):
        read_phrases(flickr)
