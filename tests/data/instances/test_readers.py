"""Readers of instance data sets: exact masks, and every damage said in words."""

import contextlib
import copy
import json

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.data.instances.masks import decode_segmentation
from mmgrad_explain.data.instances.readers import read_coco, read_index_masks
from mmgrad_explain.data.instances.records import Licence
from mmgrad_explain.errors import InputError

H, W = 9, 7
COMPRESSED = ";45NLO4300?M"  # as COCO's own tools write COUNTS
COUNTS = [11, 4, 5, 2, 1, 1, 5, 4, 5, 4, 20, 1]


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def coco(folder, **changes):
    """Two small photographs with every kind of mask, and some damage."""
    rng = np.random.default_rng(0)
    for name in ("a.png", "sub/b.png", "c.png"):
        save(folder / "images" / name, rng.integers(0, 255, (H, W, 3), dtype=np.uint8))
    (folder / "images" / "c.png").unlink()
    data = {
        "licenses": [{"id": 4, "name": "Attribution License", "url": "http://example.org/by"}],
        "images": [
            {
                "id": 1,
                "file_name": "a.png",
                "width": W,
                "height": H,
                "license": 4,
                "flickr_url": "http://example.org/1",
            },
            {"id": 2, "file_name": "sub/b.png"},
            {"id": 3, "file_name": "c.png"},
            {"id": 4, "file_name": "empty.png"},
            {"file_name": "no-id.png"},
        ],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
        "annotations": [
            {"id": 10, "image_id": 1, "category_id": 1, "segmentation": {"size": [H, W], "counts": COMPRESSED}},
            {"id": 11, "image_id": 1, "category_id": 2, "segmentation": [[1, 2, 5, 2, 5, 6, 1, 6]]},
            {"id": 12, "image_id": 1, "category_id": 9, "segmentation": [[1, 2, 5, 2, 5, 6]]},
            {"id": 13, "image_id": 1, "category_id": 1, "segmentation": []},
            {"id": 14, "image_id": 1, "category_id": 1, "segmentation": {"counts": [1]}},
            {"id": 15, "image_id": 1, "category_id": 1, "segmentation": [[20, 20, 30, 20, 30, 30]]},
            {"id": 16, "image_id": 2, "category_id": 2, "segmentation": {"counts": COUNTS}, "iscrowd": 1},
            {"id": 17, "image_id": 3, "category_id": 2, "segmentation": {"counts": COUNTS}},
        ],
        **changes,
    }
    (folder / "instances.json").write_text(json.dumps(data))
    return folder / "images", folder / "instances.json"


def test_coco_instances(tmp_path):
    found = read_coco(*coco(tmp_path))
    assert found.description == "COCO instances, instances.json"
    assert found.class_names == ("cat", "dog")
    assert [photo.name for photo in found.photos] == ["a.png", "sub/b.png"]
    assert found.problems == {
        "annotation of an unknown category": ["12"],
        "annotation without a mask": ["13"],
        "image entry without id or file_name": ["{'file_name': 'no-id.png'}"],
        "photograph without a usable annotation": ["empty.png"],
        "photograph missing": ["c.png"],
    }
    first, second = found.photos
    dog, cat = first.instances(H, W)[0]
    assert first.instances(H, W)[1] == [
        "dog: its run lengths do not add up to 9 x 7 pixels",
        "dog: its mask is empty",
    ]
    assert (dog.class_name, dog.is_thing, dog.is_crowd, dog.editable) == ("dog", True, False, True)
    assert (dog.mask == decode_segmentation({"counts": COUNTS}, H, W)).all()
    assert cat.mask.sum() == 16
    assert dog.image == tmp_path / "images" / "a.png"
    assert dog.licence == Licence("Attribution License", "http://example.org/by", "http://example.org/1")
    (crowd,), problems = second.instances(H, W)
    assert crowd.is_crowd
    assert crowd.licence is None
    assert problems == []


def test_a_photograph_of_another_size_than_its_annotations_is_refused(tmp_path):
    photo = read_coco(*coco(tmp_path)).photos[0]
    with pytest.raises(InputError, match="it is 9 x 7 pixels, but its annotations are for 7 x 9"):
        photo.instances(W, H)


def test_coco_classes_that_are_not_to_be_edited_stay(tmp_path):
    found = read_coco(*coco(tmp_path), ignore=["cat"])
    assert found.class_names == ("dog",)
    assert [i.editable for i in found.photos[0].instances(H, W)[0]] == [True, False]
    with pytest.raises(InputError, match="ignore: 'dgo' is not a class of this data set: did you mean 'dog'"):
        read_coco(*coco(tmp_path), ignore=["dgo"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": None}, "is not a COCO annotation file: it has no list images"),
        (
            {"images": [{"id": 3, "file_name": "c.png"}]},
            r"none of the photographs of .* \(the first: c.png\): give the",
        ),
        ({"images": []}, "the first: none is named"),
    ],
)
def test_coco_files_that_cannot_be_used(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        read_coco(*coco(tmp_path, **change))


def test_coco_files_that_cannot_be_read(tmp_path):
    images, file = coco(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        read_coco(images, tmp_path / "nothing.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_coco(images, images)
    file.write_text(file.read_text()[:100])
    with pytest.raises(InputError, match="is not JSON, or breaks off"):
        read_coco(images, file)


def places(value, before=()):
    """Every place in what JSON holds."""
    if before:
        yield before
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*before, key))


@pytest.mark.parametrize("bad", [None, [], {}, "x", -1, [[1]], 1.5, 10**30, {"id": [1]}], ids=str)
def test_coco_values_of_another_kind_are_reported(tmp_path, bad):
    """Each value by each other kind: the file is refused, or the rest of it is read."""
    images, file = coco(tmp_path)
    whole = json.loads(file.read_text())
    for place in places(whole):
        data = copy.deepcopy(whole)
        inner = data
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = bad
        file.write_text(json.dumps(data))
        with contextlib.suppress(InputError):
            for photo in read_coco(images, file).photos:
                with contextlib.suppress(InputError):
                    photo.instances(H, W)


@pytest.mark.parametrize(
    ("text", "said"),
    [("[" * 100_000, "it is nested too deeply"), ('["\\ud800"]', "surrogates not allowed")],
    ids=[1, 2],
)
def test_coco_files_that_are_no_text(tmp_path, text, said):
    images, file = coco(tmp_path)
    file.write_text(text)
    with pytest.raises(InputError, match=f"is not JSON, or breaks off: .*{said}"):
        read_coco(images, file)


def panoptic(folder):
    ids = np.zeros((H, W), np.uint32)
    ids[:3], ids[3:6], ids[6:8] = 5, 70_000, 300
    pixels = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
    for name in ("a", "b"):
        save(folder / "images" / f"{name}.jpg", pixels)
        save(folder / "panoptic" / f"{name}.png", pixels)
    save(folder / "panoptic" / "b.png", pixels[:4])
    segments = [{"id": 5, "category_id": 1}, {"id": 70_000, "category_id": 2}, {"id": 300, "category_id": 1}]
    data = {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "categories": [{"id": 1, "name": "dog", "isthing": 1}, {"id": 2, "name": "grass-merged", "isthing": 0}],
        "annotations": [
            {"image_id": 1, "file_name": "a.png", "segments_info": [*segments, {"id": 6, "category_id": 7}]},
            {"image_id": 2, "file_name": "b.png", "segments_info": segments},
            {"file_name": "c.png", "segments_info": segments},
        ],
    }
    (folder / "panoptic.json").write_text(json.dumps(data))
    return folder / "images", folder / "panoptic.json"


def test_coco_panoptic(tmp_path):
    images, file = panoptic(tmp_path)
    found = read_coco(images, file, ignore=["dog"])
    assert found.description == "COCO panoptic, panoptic.json"
    assert found.problems["segment of an unknown category"] == ["a.png: 6"]
    assert len(found.problems["annotation without image_id or file_name"]) == 1
    instances, problems = found.photos[0].instances(H, W)
    assert problems == []
    assert [(i.class_name, i.is_thing, i.editable, int(i.mask.sum())) for i in instances] == [
        ("dog", True, False, 3 * W), ("grass-merged", False, True, 3 * W), ("dog", True, False, 2 * W),
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"its mask b.png has 7 x 4 pixels, not 7 x 9"):
        found.photos[1].instances(H, W)
    (tmp_path / "panoptic").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="panoptic is not there: say where it is with --segments"):
        read_coco(images, file)
    assert read_coco(images, file, segments=tmp_path / "elsewhere").photos[0].instances(H, W)[0]


def index_set(folder, names=("null", "dress", "shoes", "skin")):
    mask = np.zeros((H, W), np.uint8)
    mask[1:4, 1:3], mask[6:8, :2], mask[6:8, 4:6], mask[0, 0], mask[8, 6] = 1, 2, 2, 3, 255
    for name in ("a", "sub/b"):
        save(folder / "photos" / f"{name}.jpg", np.zeros((H, W, 3), np.uint8))
        save(folder / "labels" / f"{name}.png", mask)
    if names is not None:
        (folder / "labels.json").write_text(json.dumps(names))
    return folder / "photos", folder / "labels"


@pytest.mark.parametrize(
    "names",
    [
        ["null", "dress", "shoes", "skin"],
        {"0": "background", "1": "dress", "2": "shoes", "3": "skin"},
        {"void": 0, "dress": 1, "shoes": 2, "skin": 3},
    ],
)
def test_index_masks(tmp_path, names):
    found = read_index_masks(*index_set(tmp_path, names), ignore=["skin"], licence=Licence("CC0"))
    assert found.description == "index masks, 3 classes, one object a class"
    assert [photo.name for photo in found.photos] == ["a.jpg", "sub/b.jpg"]
    assert found.class_names == ("dress", "shoes")
    assert found.problems == {}
    instances, problems = found.photos[0].instances(H, W)
    assert problems == []
    assert [(i.class_name, i.editable, int(i.mask.sum())) for i in instances] == [
        ("dress", True, 6), ("shoes", True, 8), ("skin", False, 1),
    ]  # fmt: skip
    assert instances[0].licence == Licence("CC0")


def test_index_masks_by_connected_part(tmp_path):
    found = read_index_masks(*index_set(tmp_path), objects="components")
    assert found.description.endswith("one object a connected part of a class")
    instances, _ = found.photos[0].instances(H, W)
    assert [(i.class_name, int(i.mask.sum())) for i in instances] == [
        ("dress", 6), ("shoes", 4), ("shoes", 4), ("skin", 1),
    ]  # fmt: skip


def test_values_without_a_name_are_reported(tmp_path):
    found = read_index_masks(*index_set(tmp_path, ["null", "dress"]))
    instances, problems = found.photos[0].instances(H, W)
    assert [i.class_name for i in instances] == ["dress"]
    assert problems == ["value 2 has no class name", "value 3 has no class name"]


def test_names_in_a_text_file_and_photographs_beside_their_masks(tmp_path):
    photos, labels = index_set(tmp_path, None)
    with pytest.raises(InputError, match=r"no class names: there is no labels.json in or beside .*, name a file with"):
        read_index_masks(photos, labels)
    (tmp_path / "names.txt").write_text("null\ndress\nshoes\n\nskin\n")
    labels.rename(photos / "labels")
    found = read_index_masks(photos, photos / "labels", names=tmp_path / "names.txt")
    assert [photo.name for photo in found.photos] == ["a.jpg", "sub/b.jpg"]
    assert found.class_names == ("dress", "shoes", "skin")
    assert found.problems == {}


def test_photographs_and_masks_that_miss_each_other_are_reported(tmp_path):
    photos, labels = index_set(tmp_path)
    (labels / "a.png").rename(labels / "z.png")
    found = read_index_masks(photos, labels)
    assert found.problems == {"photograph without a mask": ["a.jpg"], "mask without a photograph": ["z.png"]}
    (labels / "sub" / "b.png").unlink()
    with pytest.raises(InputError, match=r"no photograph in .* has a mask of the same name in"):
        read_index_masks(photos, labels)


def test_damaged_masks_are_reported(tmp_path):
    photos, labels = index_set(tmp_path)
    (first, second) = read_index_masks(photos, labels).photos
    (labels / "a.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"its mask a.png is damaged"):
        first.instances(H, W)
    (labels / "a.png").unlink()
    with pytest.raises(InputError, match=r"its mask a.png is not there"):
        first.instances(H, W)
    save(labels / "sub" / "b.png", np.zeros((H, W, 3), np.uint8))
    with pytest.raises(InputError, match=r"its mask b.png is a colour image, not one of class numbers"):
        second.instances(H, W)


@pytest.mark.parametrize("names", [3, ["null", 4], {"a": "b"}, {"0": ["x"]}])
def test_class_names_of_another_form(tmp_path, names):
    with pytest.raises(InputError, match="must be a list of names, or a mapping between numbers and names"):
        read_index_masks(*index_set(tmp_path, names))


def test_other_refusals(tmp_path):
    photos, labels = index_set(tmp_path)
    with pytest.raises(InputError, match="nowhere is not a folder"):
        read_index_masks(tmp_path / "nowhere", labels)
    with pytest.raises(InputError, match="ignore: 'skn' is not a class of this data set: did you mean 'skin'"):
        read_index_masks(photos, labels, ignore=["skn"])
    (tmp_path / "names.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match=r"class names .* cannot be read"):
        read_index_masks(photos, labels, names=tmp_path / "names.txt")
    (tmp_path / "labels.json").write_text(json.dumps([f"class {i}" for i in range(20)]))
    with pytest.raises(InputError, match=r"class 0, class 1, .* and 12 more"):
        read_index_masks(photos, labels, ignore=["skn"])
