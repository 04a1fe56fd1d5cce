"""Boxes from detectors' files, chosen by what a text names."""

import json

import pytest
import torch

from mmgrad_explain.data.detections import Detection, Detections, detection_masks, named_labels, read_detections
from mmgrad_explain.errors import InputError
from mmgrad_explain.grounding import AttentionGroundingLoss


@pytest.fixture
def save(tmp_path):
    def write(content, name="boxes.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


DATASET = {
    "images": [
        {"id": 7, "file_name": "a.jpg", "height": 40, "width": 80},
        {"id": 8, "file_name": "b.jpg"},
    ],
    "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "traffic light"}],
    "annotations": [{"image_id": 7, "category_id": 1, "bbox": [0, 0, 40, 20]}],
}


class TestReading:
    def test_plain(self, save):
        read = read_detections(save({"a.jpg": [[1, 2, 3, 4, 0.5, "dog"]], "b.jpg": []}))
        assert read == Detections({"a.jpg": (Detection((1, 2, 3, 4), 0.5, "dog"),), "b.jpg": ()})

    def test_coco_results(self, save):
        results = [
            {"image_id": 7, "category_id": 2, "bbox": [10, 20, 30, 5], "score": 0.9},
            {"image_id": 7, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.2},
            {"file_name": "c.jpg", "label": "cat", "bbox": [1, 1, 2, 2], "score": 0.4},
            {"image_id": 9, "label": "cat", "bbox": [1, 1, 2, 2], "score": 0.4},
        ]
        read = read_detections(save(results), save(DATASET, "known.json"))
        assert read.found == {
            "a.jpg": (Detection((10, 20, 40, 25), 0.9, "traffic light"), Detection((0, 0, 1, 1), 0.2, "dog")),
            "b.jpg": (),
            "c.jpg": (Detection((1, 1, 3, 3), 0.4, "cat"),),
            "9": (Detection((1, 1, 3, 3), 0.4, "cat"),),
        }
        assert read.sizes == {"a.jpg": (40, 80)}

    def test_a_coco_data_set(self, save):
        read = read_detections(save(DATASET))
        assert read.found == {"a.jpg": (Detection((0, 0, 40, 20), 1.0, "dog"),), "b.jpg": ()}
        assert read.sizes == {"a.jpg": (40, 80)}

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", r"boxes\.json cannot be read as JSON"),
            ("3", "is neither a list of COCO results nor an object of boxes by image"),
            ([3], "entry 0 must be an object, not int"),
            ([{"bbox": [0, 0, 1, 1], "label": "x"}], "entry 0 has neither image_id nor file_name"),
            (
                [{"image_id": 1, "bbox": [0, 0, 1, 1], "category_id": 4}],
                "entry 0 has no label, and its category_id 4 is not explained: pass annotations=, a COCO file with",
            ),
            ([{"image_id": 1, "label": "x"}], r"entry 0: bbox must be \[x, y, w, h\], got None"),
            ([{"image_id": 1, "label": "x", "bbox": [0, 0, 1, "1"]}], "entry 0: bbox must be"),
            ("""[{"image_id": 1, "label": "x", "bbox": [0, 0, 1, NaN]}]""", "entry 0: bbox must be"),
            (
                [{"image_id": 1, "label": "x", "bbox": [3, 3, 0, 2]}],
                r"entry 0 is a box without area: \[3.0, 3.0, 3.0, 5.0\]",
            ),
            ([{"image_id": 1, "label": "x", "bbox": [3, 3, 1, 2], "score": "high"}], "entry 0: score must be a number"),
            ({"a.jpg": 3}, r"'a.jpg' must be a list of boxes \[x0, y0, x1, y1, score, label\]"),
            ({"a.jpg": [[1, 2, 3, 4, 0.5]]}, r"'a.jpg', box 0 must be \[x0, y0, x1, y1, score, label\], got"),
            ({"a.jpg": [[1, 2, 1, 4, 0.5, "x"]]}, "'a.jpg', box 0 is a box without area"),
            ({"a.jpg": [[1, 2, True, 4, 0.5, "x"]]}, "'a.jpg', box 0: must be"),
        ],
    )
    def test_what_is_wrong_is_named(self, save, content, message):
        with pytest.raises(InputError, match=message):
            read_detections(save(content))

    def test_no_file(self, tmp_path):
        with pytest.raises(InputError, match=r"no\.json cannot be read as JSON"):
            read_detections(tmp_path / "no.json")


@pytest.mark.parametrize(
    ("text", "labels", "named"),
    [
        ("make the Dog brown", ["dog", "cat"], ["dog"]),
        ("remove the dogs", ["dog", "hot dog"], ["dog"]),
        ("eat the hot dog", ["dog", "hot dog"], ["hot dog"]),
        ("the hot dog beside the dog", ["dog", "hot dog"], ["dog", "hot dog"]),
        ("darken both traffic lights", ["traffic light", "light"], ["traffic light"]),
        ("the category", ["cat"], []),
        ("three people and two buses", ["person", "bus", "knife"], ["person", "bus"]),
        (
            "the knives, cherries and glass",
            ["knife", "cherry", "glass", "glasses"],
            ["knife", "cherry", "glass", "glasses"],
        ),
        ("a dress", ["dresses", "dres"], ["dresses"]),
        ("a shoe", ["shoes"], ["shoes"]),
        ("anything", ["", "!"], []),
        ("", ["dog"], []),
    ],
)
def test_which_labels_a_text_names(text, labels, named):
    assert named_labels(text, labels) == named


class TestMasks:
    @pytest.fixture
    def detections(self):
        return Detections(
            {
                "a.jpg": (
                    Detection((0, 0, 40, 20), 0.9, "dog"),
                    Detection((60, 20, 80, 40), 0.5, "dog"),
                    Detection((0, 20, 20, 40), 0.9, "cat"),
                    Detection((0, 0, 80, 40), 0.1, "dog"),
                ),
                "b.jpg": (),
            },
            {"a.jpg": (40, 80)},
        )

    def test_the_boxes_of_what_is_named(self, detections):
        made = detection_masks(detections, ["a.jpg", "a.jpg"], ["the dogs", "the cat"], size=(2, 4))
        assert made.masks.tolist() == [[[1, 1, 0, 0], [0, 0, 0, 1]], [[0, 0, 0, 0], [1, 0, 0, 0]]]
        assert made.supervised.tolist() == [True, True]
        assert made.reasons == (None, None)

    def test_nothing_is_dropped_in_silence(self, detections):
        files = ["a.jpg", "a.jpg", "b.jpg", "A.jpg", "xyz"]
        texts = ["the horse", "the cat", "the cat", "the cat", "the cat"]
        made = detection_masks(detections, files, texts, size=(2, 4), min_score=0.95)
        assert not made.supervised.any()
        assert made.masks.shape == (5, 2, 4)
        assert made.masks.sum() == 0
        assert made.reasons == (
            "no label that was found is named in the text",
            "every box of a named label has a score below 0.95",
            "the detector found nothing in the image",
            "the detector's file has no image 'A.jpg'; did you mean 'a.jpg'?",
            "the detector's file has no image 'xyz'",
        )
        assert made.summarize().startswith("0 of 5 samples have a mask; 1 without: ")

    def test_sizes_and_units(self, detections):
        plain = Detections(detections.found)
        with pytest.raises(
            InputError, match=r"image_sizes: the size \(H, W\) of 'a.jpg' is needed for boxes in pixels"
        ):
            detection_masks(plain, ["a.jpg"], ["the cat"], size=(2, 4))
        given = detection_masks(plain, ["a.jpg"], ["the cat"], size=(2, 4), image_sizes={"a.jpg": (40, 80)})
        shares = Detections({"a.jpg": (Detection((0, 0.5, 0.25, 1), 1.0, "cat"),)})
        same = detection_masks(shares, ["a.jpg"], ["the cat"], size=(2, 4), units="fraction")
        assert torch.equal(given.masks, same.masks)

    def test_lengths(self, detections):
        with pytest.raises(InputError, match="give one text for each image, got 1 images and 2 texts"):
            detection_masks(detections, ["a.jpg"], ["one", "two"], size=(2, 2))

    def test_the_loss_takes_them(self, detections):
        made = detection_masks(detections, ["a.jpg", "b.jpg"], ["the cat", "the cat"], size=(4, 8))
        loss = AttentionGroundingLoss(reduction="none")(torch.rand(2, 2, 4), made.masks, supervised=made.supervised)
        assert loss[0] > 0
        assert loss[1] == 0
