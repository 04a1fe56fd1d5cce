"""Miniatures of the public sets, laid out as they are published."""

import json
import pickle

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def put_image():
    def put(path, size=(60, 40)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((size[1], size[0], 3), 200, np.uint8)).save(path)

    return put


COCO_NAME = "COCO_train2014_00000000000{}.jpg"


def square(left, top, side=10):
    return [[left, top, left + side, top, left + side, top + side, left, top + side]]


@pytest.fixture
def instances():
    """An ``instances.json`` of two images, as RefCOCO has it."""
    return {
        "images": [{"id": i, "file_name": COCO_NAME.format(i), "height": 40, "width": 60} for i in (1, 2)],
        "annotations": [
            {"id": 11, "image_id": 1, "category_id": 1, "segmentation": square(0, 0), "bbox": [0, 0, 10, 10]},
            {"id": 12, "image_id": 1, "category_id": 1, "segmentation": square(30, 10), "bbox": [30, 10, 10, 10]},
            {"id": 13, "image_id": 1, "category_id": 2, "segmentation": [], "bbox": [0, 20.0, 20, 10]},
            {"id": 21, "image_id": 2, "category_id": 2, "segmentation": square(5, 5), "bbox": [5, 5, 10, 10]},
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "tie"}],
    }


@pytest.fixture
def refcoco(tmp_path, instances, put_image):
    folder = tmp_path / "refcoco"
    folder.mkdir()
    refs = [
        {
            "ref_id": 0, "ann_id": 11, "image_id": 1, "category_id": 1, "split": "val",
            "file_name": "COCO_train2014_000000000001_0.jpg", "sent_ids": [0, 1],
            "sentences": [
                {"sent_id": 0, "sent": "left man", "raw": "Left man", "tokens": ["left", "man"]},
                {"sent_id": 1, "sent": "guy in the corner", "raw": "guy in the corner", "tokens": []},
            ],
        },
        {
            "ref_id": 1, "ann_id": 12, "image_id": 1, "category_id": 1, "split": "val", "file_name": "x",
            "sentences": [{"sent_id": 2, "sent": "man in the middle", "raw": "", "tokens": []}], "sent_ids": [2],
        },
        {
            "ref_id": 2, "ann_id": 21, "image_id": 2, "category_id": 2, "split": "testA", "file_name": "x",
            "sentences": [{"sent_id": 3, "sent": "striped tie", "raw": "", "tokens": []}], "sent_ids": [3],
        },
        {"ref_id": 3, "ann_id": 99, "image_id": 2, "split": "val", "sentences": [{"sent_id": 4, "sent": "nothing"}]},
    ]  # fmt: skip
    (folder / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=0))
    (folder / "instances.json").write_text(json.dumps(instances))
    for i in (1, 2):
        put_image(folder.parent / "images/mscoco/images/train2014" / COCO_NAME.format(i))
    return folder


FLICKR_XML = """<annotation>
  <filename>1000.jpg</filename>
  <size><width>60</width><height>40</height><depth>3</depth></size>
  <object><name>1</name><name>7</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>10</xmax><ymax>20</ymax></bndbox></object>
  <object><name>1</name><bndbox><xmin>21</xmin><ymin>1</ymin><xmax>30</xmax><ymax>20</ymax></bndbox></object>
  <object><name>2</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>8</xmax><ymax>9</ymax></bndbox></object>
  <object><name>3</name><scene>1</scene><nobndbox>1</nobndbox></object>
</annotation>
"""


@pytest.fixture
def flickr(tmp_path, put_image):
    folder = tmp_path / "flickr30k_entities"
    for name in ("Annotations", "Sentences"):
        (folder / name).mkdir(parents=True)
    (folder / "Annotations" / "1000.xml").write_text(FLICKR_XML)
    (folder / "Sentences" / "1000.txt").write_text(
        "[/EN#1/people Two young guys] with [/EN#2/bodyparts/other shaggy  hair] in [/EN#3/scene the yard] .\n"
        "[/EN#1/people Two men] look at [/EN#0/notvisual it] , and [/EN#9/other a ball] .\n"
    )
    (folder / "val.txt").write_text("1000\n")
    put_image(tmp_path / "flickr30k-images" / "1000.jpg")
    return folder


BOXES = """ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside
0001,xclick,/m/1,1,0,0.5,0,0.25,0,0,0,0,0
0001,xclick,/m/1,1,0.5,1,0.5,1,0,0,1,0,0
0001,xclick,/m/2,1,0.1,0.2,0.1,0.2,0,0,0,0,0
0002,xclick,/m/9,1,0.1,0.2,0.1,0.2,0,0,0,0,0
0002,xclick,/m/1,1,0.5,0.4,0.1,0.2,0,0,0,0,0
"""


@pytest.fixture
def openimages(tmp_path, put_image):
    folder = tmp_path / "openimages"
    folder.mkdir()
    (folder / "validation-annotations-bbox.csv").write_text(BOXES)
    (folder / "class-descriptions-boxable.csv").write_text('/m/1,Polar bear\n/m/2,"Hat, cap"\n')
    put_image(folder / "validation" / "0001.jpg")
    return folder


@pytest.fixture
def triplets(tmp_path, put_image):
    folder = tmp_path / "triplets"
    folder.mkdir()
    mask = np.zeros((40, 60), np.uint8)
    mask[:10, :20] = 255
    for name in ("a.png", "b.png", "c.png"):
        put_image(folder / name)
    Image.fromarray(mask).save(folder / "mask.png")
    shared = {"reference": "a.png", "mask": "mask.png", "class": "dog"}
    records = [
        {"id": "0", "text": "make it red", "edit": "colour", "target": "b.png", "fold": 0, **shared},
        {
            "id": "1",
            "text": "add a dog",
            "edit": "add",
            "target": "c.png",
            "mask_object_in": "target",
            "fold": 1,
            **shared,
        },
    ]
    (folder / "triplets.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder
