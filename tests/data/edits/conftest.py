"""A small data set of photographs with object masks."""

import json

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.data.instances.readers import read_coco

SIZE = 96


@pytest.fixture(scope="session")
def coco_folder(tmp_path_factory):
    """Eight photographs with two or three boxes each; one file is damaged, one has no objects that are large enough."""
    folder = tmp_path_factory.mktemp("coco")
    (folder / "images" / "sub").mkdir(parents=True)
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(8):
        name = f"sub/{number}.png" if number % 2 else f"{number}.jpg"
        pixels = rng.integers(100, 130, (SIZE, SIZE, 3)).astype(np.uint8)
        images.append(
            {"id": number, "file_name": name, "license": 1 + number % 2, "coco_url": f"http://x.org/{number}"}
        )
        for category, (left, top) in enumerate([(8, 10), (60, 20), (30, 62)][: 2 + number % 2]):
            width, height = (24, 28) if number != 5 else (3, 3)
            pixels[top : top + height, left : left + width] = rng.integers(0, 255, 3)
            box = [left, top, left + width, top, left + width, top + height, left, top + height]
            annotations.append(
                {"id": len(annotations), "image_id": number, "category_id": category, "segmentation": [box]}
            )
        Image.fromarray(pixels).save(folder / "images" / name)
    (folder / "images" / "6.jpg").write_bytes(b"\xff\xd8\xff damaged")
    data = {
        "licenses": [{"id": 1, "name": "Attribution License", "url": "http://x.org/by"}],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 0, "name": "dog"}, {"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
    }
    (folder / "instances.json").write_text(json.dumps(data))
    return folder


@pytest.fixture(scope="session")
def source(coco_folder):
    return read_coco(coco_folder / "images", coco_folder / "instances.json")
