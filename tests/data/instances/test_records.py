"""A photograph decodes the masks of its objects, and reports those that cannot be decoded."""

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.data.instances.records import Label, Photo
from mmgrad_explain.errors import InputError

TRIANGLE = [[0, 0, 4, 0, 0, 4]]


def save_index_mask(folder):
    values = np.zeros((6, 8), np.uint8)
    values[1:3, 1:3] = values[4:6, 5:8] = 2
    Image.fromarray(values).save(folder / "mask.png")
    return folder / "mask.png"


def test_labels_become_instances(tmp_path):
    labels = (Label("dog", TRIANGLE), Label("grass", TRIANGLE, is_thing=False, editable=False))
    found, problems = Photo("a.png", tmp_path / "a.png", labels).instances(6, 8)
    assert [(one.class_name, one.is_thing, one.editable) for one in found] == [
        ("dog", True, True), ("grass", False, False),
    ]  # fmt: skip
    assert found[0].mask.shape == (6, 8)
    assert problems == []


def test_what_cannot_be_decoded_is_named():
    labels = (Label("cat", [[1, 2]]), Label("dog", [[20, 20, 24, 20, 20, 24]]), Label("cow", TRIANGLE))
    found, problems = Photo("a.png", None, labels).instances(6, 8)
    assert [one.class_name for one in found] == ["cow"]
    assert problems[0].startswith("cat: a polygon is not a list of at least three points")
    assert problems[1:] == ["dog: its mask is empty"]


def test_connected_parts_and_values_without_a_name(tmp_path):
    labels = (Label("dress", 2), Label("shoes", 3))
    mask = save_index_mask(tmp_path)
    photo = Photo("a.png", tmp_path / "a.png", labels, "index", mask, split_components=True, unlabelled=(0,))
    found, problems = photo.instances(6, 8)
    assert [int(one.mask.sum()) for one in found] == [4, 6]
    assert problems == []
    assert Photo("a.png", None, labels, "index", mask).instances(6, 8)[1] == ["value 0 has no class name"]


def test_sizes_that_differ_are_refused(tmp_path):
    with pytest.raises(InputError, match="it is 8 x 6 pixels, but its annotations are for 9 x 6"):
        Photo("a.png", None, size=(6, 9)).instances(6, 8)
    with pytest.raises(InputError, match=r"its mask mask.png has 8 x 6 pixels, not 8 x 7"):
        Photo("a.png", None, (), "index", save_index_mask(tmp_path)).instances(7, 8)
