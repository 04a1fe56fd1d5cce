"""Miniatures of the composed-retrieval benchmarks, complete and in order: tests break them one thing at a time."""

import json

import pytest

CATEGORIES = ("dress", "shirt", "toptee")


def put(root, files):
    """Write files: lists and dictionaries as JSON, texts as they are."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))


def put_images(root, *names):
    """Write something that is not empty under each name; images are looked for, not opened."""
    put(root, dict.fromkeys(names, "picture"))


def cirr_files(split, prefix, *, judged=True):
    names = [f"{prefix}-{i}-0-img0" for i in range(8)]
    members = {"id": 1, "members": names[:6], "reference_rank": 5}
    entries = [
        {"pairid": 10, "reference": names[0], "caption": "show three bottles", "img_set": dict(members)},
        {"pairid": 11, "reference": names[1], "caption": "same dog, on grass", "img_set": dict(members)},
    ]
    if judged:
        for entry, target in zip(entries, (names[2], names[0]), strict=True):
            entry |= {"target_hard": target, "target_soft": {target: 1.0, names[3]: -1.0}}
            entry["img_set"]["target_rank"] = 4
    folder = "train/34" if split == "train" else prefix
    return {
        f"captions/cap.rc2.{split}.json": entries,
        f"image_splits/split.rc2.{split}.json": {name: f"./{folder}/{name}.png" for name in names},
    }


@pytest.fixture
def cirr(tmp_path):
    """CIRR as its makers lay it out."""
    for split, prefix in (("train", "train"), ("val", "dev"), ("test1", "test1")):
        files = cirr_files(split, prefix, judged=split != "test1")
        put(tmp_path, files)
        paths = files[f"image_splits/split.rc2.{split}.json"].values()
        put_images(tmp_path / "img_raw", *paths)
    return tmp_path


@pytest.fixture
def fashioniq(tmp_path):
    """FashionIQ: one image is on two lists."""
    for category in CATEGORIES:
        for split in ("train", "val", "test"):
            asins = [f"B{category}{split}{i}" for i in range(5)]
            entries = [
                {"target": asins[1], "candidate": asins[0], "captions": ["is solid white", "is a lighter color"]},
                {"target": asins[2], "candidate": asins[3], "captions": ["Has longer sleeves.", "is Red"]},
            ]
            if split == "test":
                for entry in entries:
                    del entry["target"]
            listed = asins if category != "toptee" else [*asins, f"Bshirt{split}0"]
            put(
                tmp_path,
                {
                    f"captions/cap.{category}.{split}.json": entries,
                    f"image_splits/split.{category}.{split}.json": listed,
                },
            )
            put_images(tmp_path / "images", *(f"{asin}.jpg" for asin in asins))
    return tmp_path


SHOES = [
    {"ImageName": "img_b_1.jpg", "ReferenceImageName": "img_b_2.jpg", "RelativeCaption": "is red"},
    {"ImageName": "img_c_4.jpg", "ReferenceImageName": "img_c_5.jpg", "RelativeCaption": "has; straps"},
    {"ImageName": "img_c_5.jpg", "ReferenceImageName": "img_c_6.jpg", "RelativeCaption": "is darker"},
]


@pytest.fixture
def shoes(tmp_path):
    """Shoes as published; the images are somewhere below."""
    put(
        tmp_path / "dataset",
        {
            "relative_captions_shoes.json": SHOES,
            "train_im_names.txt": "img_b_1.jpg\nimg_b_2.jpg\nimg_b_3.jpg\n",
            "eval_im_names.txt": "img_c_4.jpg\nimg_c_5.jpg\nimg_c_6.jpg\nimg_c_7.jpg\n",
        },
    )
    put_images(tmp_path, *(f"attributedata/womens_b/0/img_b_{i}.jpg" for i in (1, 2, 3)))
    put_images(tmp_path, *(f"attributedata/womens_c/{i}/img_c_{i}.jpg" for i in (4, 5, 6, 7)))
    return tmp_path


@pytest.fixture
def circo(tmp_path):
    """CIRCO with a gallery of six."""
    query = {"reference_img_id": 4, "relative_caption": "has two dogs", "shared_concept": "a dog", "id": 0}
    judged = {**query, "target_img_id": 5, "gt_img_ids": [5, 2, 7], "semantic_aspects": ["cardinality", "negation"]}
    other = {**judged, "id": 1, "reference_img_id": 2, "target_img_id": 9, "gt_img_ids": [9]}
    images = [{"id": i, "file_name": f"{i:012d}.jpg"} for i in (2, 4, 5, 7, 9, 11)]
    coco = "COCO2017_unlabeled"
    put(
        tmp_path,
        {
            "annotations/val.json": [judged, other],
            "annotations/test.json": [query, {**query, "id": 1}],
            f"{coco}/annotations/image_info_unlabeled2017.json": {"images": images},
        },
    )
    put_images(tmp_path / coco / "unlabeled2017", *(image["file_name"] for image in images))
    return tmp_path


@pytest.fixture
def lasco(tmp_path):
    """LaSCo: the corpora name other paths than the queries."""
    for split in ("train", "val"):
        names = {i: f"{split}2014/COCO_{split}2014_{i:012d}.jpg" for i in (28, 42, 277)}
        query = {
            "qid": 28000, "query-image": [28, names[28]], "query-text": "no ball",
            "target-image": [277, names[277]],
        }  # fmt: skip
        put(
            tmp_path / "downloads",
            {
                f"lasco_{split}.json": [query],
                f"lasco_{split}_corpus.json": [{"id": i, "path": f"{split}/{name}"} for i, name in names.items()],
            },
        )
        put_images(tmp_path, *names.values())
    return tmp_path


@pytest.fixture
def fashion200k(tmp_path):
    """Fashion200K: two images have one label."""
    folder = "women/dresses/day_dresses"
    labels = [(f"{folder}/1/1_0.jpeg", "black lace dress"), (f"{folder}/1/1_1.jpeg", "black lace dress ")]
    labels += [(f"{folder}/2/2_0.jpeg", "blue lace dress"), (f"{folder}/3/3_0.jpeg", "blue dress")]
    put(
        tmp_path,
        {
            "labels/dress_test_detect_all.txt": "".join(f"{path}\t0.9\t{label}\n" for path, label in labels[:3]),
            "labels/skirt_test_detect_all.txt": f"{labels[3][0]}\t0.5\t{labels[3][1]}\n",
            "labels/skirt_train_detect_all.txt": "not read",
            "test_queries.txt": f"{labels[2][0]} {labels[0][0]}\n{labels[1][0]} {labels[3][0]}\n",
        },
    )
    put_images(tmp_path, *(path for path, _ in labels))
    return tmp_path


@pytest.fixture
def jsonl(tmp_path):
    """Triplets of a user."""
    records = [
        {"reference": "a.jpg", "text": "make it red", "target": "b.jpg", "mood": "sunny"},
        {"reference": "b.jpg", "captions": ["no dog", "brighter"], "targets": ["c.png", "a.jpg"], "id": "second"},
    ]
    put(tmp_path, {"triplets.jsonl": "\n".join(map(json.dumps, records)) + "\n\n"})
    put_images(tmp_path, "a.jpg", "b.jpg", "c.png")
    return tmp_path


@pytest.fixture
def write():
    """:func:`put`, for tests that break a miniature."""
    return put


@pytest.fixture
def change():
    """Change a JSON file by a function of its content, which may give a new one."""

    def apply(path, function):
        content = json.loads(path.read_text())
        changed = function(content)
        path.write_text(json.dumps(content if changed is None else changed))

    return apply


@pytest.fixture
def list_findings():
    """List findings without the advice: (where, count, what, first names)."""

    def rows(found, level=None):
        wanted = [f for f in found.findings if level in (None, f.level)]
        return [(f.where, f.count, f.what, *f.first) for f in wanted]

    return rows


@pytest.fixture
def without():
    """Make a change of a JSON list: its first record loses some keys."""

    def drop(*keys):
        return lambda entries: [{k: v for k, v in entries[0].items() if k not in keys}, *entries[1:]]

    return drop
