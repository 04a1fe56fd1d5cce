"""Example images and the code that draws them."""

import cv2
import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.api import explain
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.web.examples import code_for, draw_examples, write_example_images


@pytest.mark.parametrize(("kind", "size"), [("shapes", (320, 320)), ("figures", (240, 360))])
def test_each_has_code(kind, size):
    shown = draw_examples(kind)
    assert len({one.text for one in shown}) == len(shown) == 4
    for one in shown:
        for picture in (one.image, one.target):
            assert picture.size == size
            code = code_for(picture)
            names = {}
            exec("\n".join(code.imports), names)
            drawn = eval(code.text, names)
            assert Image.fromarray(np.asarray(drawn)).tobytes() == picture.tobytes()
        assert one.image.tobytes() != one.target.tobytes()


def test_maps_of_the_figures_lie_on_what_is_asked_for():
    composer = load_composer("clothing")
    for one in draw_examples("figures"):
        changed = np.abs(np.asarray(one.image).astype(int) - np.asarray(one.target)).max(2) > 30
        around = cv2.dilate(changed.astype(np.uint8), np.ones((15, 15)))  # stripes leave much of a skirt as it is
        assert around[explain(one.image, one.text, model=composer).peak()]


def test_no_other_picture_has(picture):
    assert code_for(picture) is None
    other = draw_examples()[0].image.copy()
    other.putpixel((0, 0), (1, 2, 3))
    assert code_for(other) is None


@pytest.mark.parametrize(("kind", "count"), [("shapes", 20), ("figures", 16)])
def test_the_gallery(tmp_path, kind, count):
    files = write_example_images(tmp_path / "new" / "pictures", kind)
    assert len(files) == len(set(files)) == count
    pictures = {Image.open(file).tobytes() for file in files}
    assert len(pictures) == count
    assert all(one.target.tobytes() in pictures for one in draw_examples(kind))
    assert not any(one.image.tobytes() in pictures for one in draw_examples(kind))
    again = write_example_images(tmp_path / "new" / "pictures", kind)
    assert [file.name for file in again] == [file.name for file in files]
