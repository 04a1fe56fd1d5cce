"""Images in a folder, and a gallery of them that is made once."""

import shutil

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.gallery.gallery import Gallery


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    for i in range(7):
        pixels = np.random.default_rng(i).integers(0, 255, (16, 20 + 4 * (i % 2), 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{i}.png")
    shutil.copy(root / "2.png", root / "copy of 2.png")
    return root


@pytest.fixture(scope="session")
def made(tmp_path_factory, tiny_folder, pictures):
    place = tmp_path_factory.mktemp("gallery") / "mine.db"
    with Gallery(place, tiny_folder, create=True) as gallery:
        gallery.index([pictures])
    return place


@pytest.fixture
def gallery(made):
    with Gallery(made) as gallery:
        yield gallery
