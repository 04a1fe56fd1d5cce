"""COCO's format: class names, phrases of annotations, masks before boxes, images beside the file."""

import json

import pytest

from mmgrad_explain.data.phrases import read_phrases
from mmgrad_explain.errors import InputError


@pytest.fixture
def coco(tmp_path, instances, put_image):
    for i in (1, 2):
        put_image(tmp_path / "val2017" / f"COCO_train2014_00000000000{i}.jpg")
    (tmp_path / "annotations").mkdir()
    file = tmp_path / "annotations" / "instances_val2017.json"

    def write(change=None):
        data = json.loads(json.dumps(instances))
        if change is not None:
            change(data)
        file.write_text(json.dumps(data))
        return file

    return write


def test_each_class_of_an_image_is_a_sample(coco):
    found = read_phrases(coco())
    found.require_images()
    assert [(s.text, s.kind, s.image.parent.name) for s in found.samples] == [
        ("person", "person", "val2017"),
        ("tie", "tie", "val2017"),
        ("tie", "tie", "val2017"),
    ]
    areas = [int(sample.region.draw(40, 60).sum()) for sample in found.samples]
    assert areas == [200, 200, 100]  # two objects of the class; a box; one object
    assert found.description == "class names, instances_val2017.json"


def test_phrases_of_annotations(coco):
    def give_phrases(data):
        data["annotations"][0]["caption"] = "the left one"
        data["annotations"][1]["sentences"] = [{"sent": "the left  one"}, "a man"]
        data["annotations"][3]["phrase"] = " "

    found = read_phrases(coco(give_phrases))
    assert [(s.text, s.kind, len(s.region.shapes)) for s in found.samples] == [
        ("the left one", "person", 2),
        ("a man", "person", 1),
    ]
    assert found.problems == {"annotation without a phrase": ["13", "21"]}


def test_what_is_wrong_is_counted(coco):
    def damage(data):
        data["annotations"][0]["image_id"] = 77
        data["annotations"][1]["category_id"] = 9
        data["annotations"][2]["bbox"] = [1, 2]
        data["images"][1]["file_name"] = "../elsewhere.jpg"

    with pytest.raises(InputError, match="holds no phrase with a region: 1 x annotation of an unknown image: 11"):
        read_phrases(coco(damage))

    def half(data):
        damage(data)
        data["images"][1]["file_name"] = "2.jpg"

    found = read_phrases(coco(half))
    assert found.problem_lines() == [
        "1 x annotation of an unknown image: 11",
        "1 x annotation without a class: 12",
        "1 x annotation left out, since its box is not four numbers: 13",
    ]
    with pytest.raises(InputError, match=r"1 of 1 images of coco are missing: .*2\.jpg"):
        found.require_images()


def test_images_in_a_named_folder(coco, tmp_path, put_image):
    put_image(tmp_path / "mine" / "COCO_train2014_000000000001.jpg")
    found = read_phrases(coco(), images=tmp_path / "mine")
    assert {sample.image.parent.name for sample in found.samples} == {"mine"}


def test_other_files(tmp_path):
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(InputError, match="is not a COCO annotation file: it has no list images or annotations"):
        read_phrases(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('{"images": [], "anno')
    with pytest.raises(InputError, match="is not JSON, or breaks off"):
        read_phrases(tmp_path / "a.json")
    with pytest.raises(InputError, match="split: a COCO file is one split"):
        read_phrases(tmp_path / "a.json", split="val")
