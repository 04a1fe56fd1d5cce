"""RefCOCO as published: a pickle of expressions beside instances.json."""

import pickle

import pytest

from mmgrad_explain.data.phrases import read_phrases
from mmgrad_explain.errors import InputError


def test_each_sentence_is_a_sample(refcoco):
    found = read_phrases(refcoco)
    found.require_images()
    assert [(s.id, s.text, s.kind, s.image_name) for s in found.samples] == [
        ("0/0", "left man", "person", "COCO_train2014_000000000001.jpg"),
        ("0/1", "guy in the corner", "person", "COCO_train2014_000000000001.jpg"),
        ("1/2", "man in the middle", "person", "COCO_train2014_000000000001.jpg"),
    ]
    assert found.samples[0].region == found.samples[1].region
    mask = found.samples[2].region.draw(40, 60)
    assert mask[10:20, 30:40].all()
    assert mask.sum() == 100
    assert found.problems == {"expression of an object that is not in instances.json": ["3"]}
    assert found.description == "refs(unc).p, split val"


def test_another_split(refcoco):
    assert [sample.text for sample in read_phrases(refcoco, split="testA").samples] == ["striped tie"]
    with pytest.raises(InputError, match=r"split: refs\(unc\)\.p has no 'test': it has testA, val"):
        read_phrases(refcoco, split="test")


def test_of_several_files_that_of_the_usual_split_is_taken(refcoco):
    (refcoco / "refs(google).p").write_bytes(b"")
    assert read_phrases(refcoco).description.startswith("refs(unc).p")


def test_other_files(refcoco):
    (refcoco / "instances.json").write_text('{"images": []}')
    with pytest.raises(InputError, match=r"instances\.json has no list annotations"):
        read_phrases(refcoco)
    (refcoco / "refs(unc).p").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(InputError, match="is not a list of expressions"):
        read_phrases(refcoco)
    (refcoco / "refs(unc).p").unlink()
    with pytest.raises(InputError, match=r"holds no refs\(unc\)\.p"):
        read_phrases(refcoco, "refcoco")
