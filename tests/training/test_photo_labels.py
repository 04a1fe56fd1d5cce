"""Photographs labelled by a trained segmentation network."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from mmgrad_explain.composers.reference.plain_mobilenet import PlainMobileNetV2
from mmgrad_explain.composers.reference.segmenter import Segmenter
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.photo_labels import PhotoLabeller, label_folder
from mmgrad_explain.training.sources.photo_folder import PhotoFolder

NAMES = ["background", "dog", "cat"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A trunk with random weights, and a head that is sure of the dog everywhere, and next of the cat."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    head = Segmenter(320, 3)
    torch.nn.init.zeros_(head.logits.weight)
    head.logits.bias.data = torch.tensor([0.0, 8.0, 4.0])
    trunk, last = folder / "trunk.safetensors", folder / "head.safetensors"
    save_file(PlainMobileNetV2(1.0, (1, 2, 3, 4), "same", 16).state_dict(), trunk)
    save_file(head.state_dict(), last)
    return str(trunk), str(last)


@pytest.fixture(scope="module")
def labeller(weights):
    return PhotoLabeller(*weights, 3, size=32)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    for name, size in {"a": (30, 20), "b": (16, 24)}.items():
        Image.new("RGB", size, "gray").save(tmp_path / "photos" / f"{name}.jpg")
    return tmp_path


def test_every_pixel_gets_the_likeliest_class(labeller):
    labels = labeller(Image.new("RGB", (30, 20)))
    assert labels.shape == (20, 30)
    assert labels.dtype == np.uint8
    assert (labels == 1).all()


def test_a_class_that_is_not_shown_is_not_given(labeller):
    assert (labeller(Image.new("RGB", (30, 20)), [2]) == 2).all()


def test_what_looks_like_a_class_that_is_not_shown_is_unknown(labeller):
    assert (labeller(Image.new("RGB", (30, 20)), []) == 255).all()


def test_unsure_pixels_are_unknown(weights):
    assert (PhotoLabeller(*weights, 3, size=32, sure=0.999)(Image.new("RGB", (8, 8))) == 255).all()


def test_a_folder_becomes_one_to_train_on(folder, labeller):
    (folder / "tags.json").write_text(json.dumps({"b": ["cat"]}))
    seen = []
    found = label_folder(folder, NAMES, labeller, lambda *of: seen.append(of))
    assert found == {"background": 0, "dog": 1, "cat": 1}
    assert seen[-1] == ("photographs", 2, 2)
    photos = PhotoFolder(folder)
    assert photos.names == NAMES
    assert [np.unique(photos[i][1]).tolist() for i in range(2)] == [[1], [2]]


def test_labels_that_are_there_are_kept(folder, labeller):
    (folder / "labels").mkdir()
    Image.new("L", (30, 20), 2).save(folder / "labels" / "a.png")
    assert label_folder(folder, NAMES, labeller)["cat"] == 1


def test_other_names_than_those_of_the_folder(folder, labeller):
    (folder / "labels.json").write_text(json.dumps(["background", "cow"]))
    with pytest.raises(InputError, match="lists other names than those given"):
        label_folder(folder, NAMES, labeller)


def test_a_folder_without_photographs(tmp_path, labeller):
    with pytest.raises(InputError, match="to label"):
        label_folder(tmp_path, NAMES, labeller)


def test_a_head_of_other_classes(weights):
    with pytest.raises(InputError, match=r"does not fit the segmentation head: its 'logits\.\w+' has the shape \[3"):
        PhotoLabeller(*weights, 4)
