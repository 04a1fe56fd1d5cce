"""Makers of masks on drawn images: of the data set, of boxes, of CLIPSeg."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain.data.masks.makers import build_maker, read_image, words_for
from mmgrad_explain.data.masks.settings import MaskSettings
from mmgrad_explain.data.masks.spoken_things import find_things
from mmgrad_explain.data.masks.units import Unit
from mmgrad_explain.data.pseudo_masks import PseudoMasks, ReferringSegmenter


@pytest.fixture
def unit(tmp_path, photo, recoloured):
    Image.fromarray(photo).save(tmp_path / "a.png")
    Image.fromarray(recoloured).resize((200, 150)).save(tmp_path / "b.png")
    soft = np.zeros((60, 80), np.uint8)
    soft[:30] = 100
    Image.fromarray(soft).save(tmp_path / "m.png")
    return Unit(tmp_path / "a.png", tmp_path / "b.png", ("a.png", "a"), ("b.png",), "has a long sleeve", "dress",
                (tmp_path / "m.png", None))  # fmt: skip


def test_soft_masks_of_the_set_stay_soft(unit):
    (made,) = build_maker("given", MaskSettings())([unit])
    assert made.target is None
    assert np.allclose(np.unique(made.reference), [0, 100 / 255])


def test_the_difference_is_made_once_for_all_captions(unit):
    first, second = build_maker("difference", MaskSettings())([unit, unit])
    assert first is second
    assert first.reason is None
    assert read_image(unit.target)[1] == (150, 200)


def test_boxes_count_where_their_label_is_named_or_is_the_subject(unit, tmp_path):
    boxes = {"a": [[10, 10, 50, 50, 0.9, "sleeve"], [0, 0, 160, 120, 0.9, "dress"]], "b.png": []}
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps(boxes))
    maker = build_maker(f"detections:{file}", MaskSettings((f"detections:{file}",), size=16))
    (made,) = maker([unit])
    assert 0 < (made.reference > 0).mean() < 0.2
    assert (made.target, made.named_by) == (None, "text")
    plain = Unit(unit.reference, unit.target, unit.names, unit.target_names, "is red", "dress")
    (whole,) = maker([plain])
    assert (whole.named_by, whole.reference.min()) == ("subject", 1)
    alone = Unit(unit.reference, unit.target, ("z",), ("z",), "is red")
    assert maker([alone])[0].reason == "the detector's file has no such image"


def test_clipseg_marks_what_is_named_on_the_side_where_it_is(unit, monkeypatch):
    asked = []

    class Segmenter:
        def __call__(self, images, phrases, *, least, batch):
            asked.extend(phrases)
            masks = torch.full((len(images), 8, 8), 0.4)
            found = torch.tensor([image.width != 200 for image in images])  # not in the target
            return PseudoMasks(masks * found[:, None, None], found, (None,) * len(images))

    monkeypatch.setattr(ReferringSegmenter, "from_pretrained", lambda *_: Segmenter())
    maker = build_maker("clipseg", MaskSettings(("clipseg",)))
    silent = Unit(unit.reference, unit.target, (), (), "is darker")
    made, nothing = maker([unit, silent])
    assert asked == ["a sleeve", "a sleeve"]
    assert made.target is None
    assert made.reference.max() == np.float32(0.4)
    assert nothing.reason == "the text names no thing"
    unit = Unit(None, None, (), (), "is darker", "dress")
    assert words_for(unit, find_things, whole=True) == (("dress",), "subject")
    assert words_for(unit, find_things, whole=False) == ((), "")


def test_segments_do_not_mark_the_background(unit):
    about = Unit(unit.reference, unit.target, (), (), "has a darker background")
    reasons = [made.reason for made in build_maker("segments", MaskSettings())([about, unit])]
    assert reasons == ["the text speaks of the background", "the background is not even"]
