"""What the readers share: images found in several folders, samples that cannot be used, shapes of annotations."""

import pytest

from mmgrad_explain.data.phrases import Box, PhraseSample, Region, Segmentation
from mmgrad_explain.data.phrases.collector import PhraseCollector, region_of, shape_of, size_of
from mmgrad_explain.errors import InputError

REGION = Region((Box(0, 0, 1, 1),))


@pytest.fixture
def collector(tmp_path):
    return PhraseCollector("coco", tmp_path)


def test_an_image_is_found_in_any_folder_and_with_any_suffix(collector, tmp_path, put_image):
    put_image(tmp_path / "b" / "x.png")
    folders = [tmp_path / "a", tmp_path / "b"]
    assert collector.find_image("x.png", folders) == tmp_path / "b" / "x.png"
    assert collector.find_image("x", folders) == tmp_path / "b" / "x.png"
    assert collector.find_image("train/x.png", folders) == tmp_path / "b" / "x.png"
    assert collector.find_image("y.png", folders) == tmp_path / "a" / "y.png"
    assert collector.find_image("/etc/passwd", folders) is None
    assert collector.problems == {"image whose path leads out of the folder": ["/etc/passwd"]}


def test_samples_that_cannot_be_used_are_named(collector, tmp_path):
    for sample, text in (("1", "a dog"), ("1", "a dog"), ("2", " "), ("3", "\ud800")):
        collector.add(PhraseSample(sample, text, "dog", tmp_path, "x", REGION))
    assert len(collector.samples) == 1
    assert collector.problems == {"sample that is listed twice": ["1"], "phrase without a word": ["2", "3"]}


def test_a_set_without_a_sample_is_refused(collector):
    with pytest.raises(InputError, match="holds no phrase with a region"):
        collector.make_set()


def test_shapes_and_sizes_of_entries():
    assert shape_of({"segmentation": [[1]], "bbox": [0, 0, 1, 1]}) == Segmentation([[1]])
    assert shape_of({"segmentation": [], "bbox": [1, 2, 3, 4]}) == Box(1, 2, 4, 6)
    with pytest.raises(InputError, match="neither a segmentation nor a box"):
        shape_of({"bbox": "1 2 3 4"})
    assert size_of({"height": 4, "width": 6}) == (4, 6)
    assert size_of({"height": "4", "width": 6}) is None
    assert region_of([Box(0, 0, 1, 1), Box(0, 0, 1, 1)]).shapes == (Box(0, 0, 1, 1),)
