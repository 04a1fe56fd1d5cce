"""Miniatures of the composed-retrieval benchmarks in their published layouts, complete and in order."""

import hashlib
import json

import numpy as np
from PIL import Image

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


def write_cirr(root):
    """CIRR as its makers lay it out."""
    for split, prefix in (("train", "train"), ("val", "dev"), ("test1", "test1")):
        files = cirr_files(split, prefix, judged=split != "test1")
        put(root, files)
        paths = files[f"image_splits/split.rc2.{split}.json"].values()
        put_images(root / "img_raw", *paths)
    return root


def write_fashioniq(root):
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
                root,
                {
                    f"captions/cap.{category}.{split}.json": entries,
                    f"image_splits/split.{category}.{split}.json": listed,
                },
            )
            put_images(root / "images", *(f"{asin}.jpg" for asin in asins))
    return root


SHOES = [
    {"ImageName": "img_b_1.jpg", "ReferenceImageName": "img_b_2.jpg", "RelativeCaption": "is red"},
    {"ImageName": "img_c_4.jpg", "ReferenceImageName": "img_c_5.jpg", "RelativeCaption": "has; straps"},
    {"ImageName": "img_c_5.jpg", "ReferenceImageName": "img_c_6.jpg", "RelativeCaption": "is darker"},
]


def write_shoes(root):
    """Shoes as published; the images are somewhere below."""
    put(
        root / "dataset",
        {
            "relative_captions_shoes.json": SHOES,
            "train_im_names.txt": "img_b_1.jpg\nimg_b_2.jpg\nimg_b_3.jpg\n",
            "eval_im_names.txt": "img_c_4.jpg\nimg_c_5.jpg\nimg_c_6.jpg\nimg_c_7.jpg\n",
        },
    )
    put_images(root, *(f"attributedata/womens_b/0/img_b_{i}.jpg" for i in (1, 2, 3)))
    put_images(root, *(f"attributedata/womens_c/{i}/img_c_{i}.jpg" for i in (4, 5, 6, 7)))
    return root


def write_circo(root):
    """CIRCO with a gallery of six."""
    query = {"reference_img_id": 4, "relative_caption": "has two dogs", "shared_concept": "a dog", "id": 0}
    judged = {**query, "target_img_id": 5, "gt_img_ids": [5, 2, 7], "semantic_aspects": ["cardinality", "negation"]}
    other = {**judged, "id": 1, "reference_img_id": 2, "target_img_id": 9, "gt_img_ids": [9]}
    images = [{"id": i, "file_name": f"{i:012d}.jpg"} for i in (2, 4, 5, 7, 9, 11)]
    coco = "COCO2017_unlabeled"
    put(
        root,
        {
            "annotations/val.json": [judged, other],
            "annotations/test.json": [query, {**query, "id": 1}],
            f"{coco}/annotations/image_info_unlabeled2017.json": {"images": images},
        },
    )
    put_images(root / coco / "unlabeled2017", *(image["file_name"] for image in images))
    return root


def write_lasco(root):
    """LaSCo: the corpora name other paths than the queries."""
    for split in ("train", "val"):
        names = {i: f"{split}2014/COCO_{split}2014_{i:012d}.jpg" for i in (28, 42, 277)}
        query = {
            "qid": 28000, "query-image": [28, names[28]], "query-text": "no ball",
            "target-image": [277, names[277]],
        }  # fmt: skip
        put(
            root / "downloads",
            {
                f"lasco_{split}.json": [query],
                f"lasco_{split}_corpus.json": [{"id": i, "path": f"{split}/{name}"} for i, name in names.items()],
            },
        )
        put_images(root, *names.values())
    return root


FASHION200K = ("red silk skirt", "red silk skirt", "blue silk skirt", "red wool skirt", "grey long coat")
"""Labels of the training split."""


def write_fashion200k(root):
    """Fashion200K: two images have one label."""
    folder = "women/dresses/day_dresses"
    labels = [(f"{folder}/1/1_0.jpeg", "black lace dress"), (f"{folder}/1/1_1.jpeg", "black lace dress ")]
    labels += [(f"{folder}/2/2_0.jpeg", "blue lace dress"), (f"{folder}/3/3_0.jpeg", "blue dress")]
    trained = [(f"{folder}/{i}/{i}_0.jpeg", label) for i, label in enumerate(FASHION200K, 4)]
    put(
        root,
        {
            "labels/dress_test_detect_all.txt": "".join(f"{path}\t0.9\t{label}\n" for path, label in labels[:3]),
            "labels/skirt_test_detect_all.txt": f"{labels[3][0]}\t0.5\t{labels[3][1]}\n",
            "labels/skirt_train_detect_all.txt": "".join(f"{path}\t0.9\t{label}\n" for path, label in trained),
            "test_queries.txt": f"{labels[2][0]} {labels[0][0]}\n{labels[1][0]} {labels[3][0]}\n",
        },
    )
    put_images(root, *(path for path, _ in [*labels, *trained]))
    return root


def write_jsonl(root):
    """Triplets of a user."""
    records = [
        {"reference": "a.jpg", "text": "make it red", "target": "b.jpg", "mood": "sunny"},
        {"reference": "b.jpg", "captions": ["no dog", "brighter"], "targets": ["c.png", "a.jpg"], "id": "second"},
    ]
    put(root, {"triplets.jsonl": "\n".join(map(json.dumps, records)) + "\n\n"})
    put_images(root, "a.jpg", "b.jpg", "c.png")
    return root


MINIATURES = {
    "cirr": write_cirr, "fashioniq": write_fashioniq, "shoes": write_shoes, "circo": write_circo, "lasco": write_lasco,
    "fashion200k": write_fashion200k, "jsonl": write_jsonl,
}  # fmt: skip


def draw_product(name):
    """Draw a coloured garment on white, both of a size, a place and a colour of their own for each name."""
    draw = np.random.default_rng(list(hashlib.sha256(name.encode()).digest()[:8]))
    height, width = draw.integers(48, 97, 2)
    pixels = np.full((height, width, 3), 250, np.uint8)
    top, left = draw.integers(6, 14, 2)
    garment = draw.integers(0, 200, 3) + draw.integers(-15, 16, (height - top - 10, width - left - 8, 3))
    pixels[top : height - 10, left : width - 8] = np.clip(garment, 0, 255)
    return Image.fromarray(pixels)


def draw_images(name, root):
    """Draw every image of a miniature in its place."""
    from mmgrad_explain.data.cir.formats import read_cir

    for split in read_cir(name, root).queries:
        for image, path in read_cir(name, root, [split.rpartition(".")[2]]).images.paths.items():
            draw_product(image).convert("RGB").save(path)
    return root


COLOURS = {"red": (210, 40, 40), "green": (40, 160, 60), "blue": (40, 60, 200), "yellow": (230, 200, 40)}


def write_learnable_cirr(root):
    """CIRR with photographs that can be learned: garments at places of their own; each text asks for a colour.

    The images of a split are 4 places in 4 colours, of test1 13 places, as answers for the server have 50 images; those
    of one place are a set of similar images.
    """
    for split, prefix, shift in (("train", "train", 0), ("val", "dev", 1), ("test1", "test1", 2)):
        places = 13 if split == "test1" else 4
        names = [[f"{prefix}-{place}-0-{colour}" for colour in COLOURS] for place in range(places)]
        entries = []
        for place, reference, target in np.ndindex(4, 4, 4):
            if reference == target:
                continue
            own = names[place]
            entry = {"pairid": len(entries), "reference": own[reference], "caption": f"make it {list(COLOURS)[target]}"}
            entry["img_set"] = {"id": place, "members": own, "reference_rank": reference}
            if split != "test1":
                entry |= {"target_hard": own[target], "target_soft": {own[target]: 1.0}}
                entry["img_set"]["target_rank"] = target
            entries.append(entry)
        put(root, {
            f"captions/cap.rc2.{split}.json": entries,
            f"image_splits/split.rc2.{split}.json": {name: f"./{prefix}/{name}.png" for of in names for name in of},
        })  # fmt: skip
        (root / "img_raw" / prefix).mkdir(parents=True)
        for place, number in np.ndindex(places, 4):
            pixels = np.full((48, 48, 3), 250, np.uint8)
            top, left = 3 + shift + 20 * (place // 2 % 2), 3 + shift + 20 * (place % 2) + place // 4
            pixels[top : top + 20, left : left + 18] = list(COLOURS.values())[number]
            Image.fromarray(pixels).save(root / "img_raw" / prefix / f"{names[place][number]}.png")
    return root
