"""Figures on triplets of pictures: folders, floors by hand, and a model with the right answer."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain.composers.base import Composer, ComposerInputs
from mmgrad_explain.composers.outputs import ComposedOutput
from mmgrad_explain.errors import InputError
from mmgrad_explain.evaluation.maps import IMAGE_ONLY, MapKind, default_kind
from mmgrad_explain.evaluation.triplet_inputs import PhotoTriplet, batch_triplets, folder_triplets
from mmgrad_explain.evaluation.triplets import (
    PHOTO_FIGURES,
    evaluate_triplets,
    floor_figures,
    triplet_faithfulness,
)
from mmgrad_explain.images.placement import fit
from mmgrad_explain.notes import Note

RED, BLUE, GREY = (230, 30, 30), (30, 30, 230), (120, 120, 120)


def painted(left, right):
    """A picture twice as wide as high: a square on the left, one on the right."""
    pixels = np.full((32, 64, 3), GREY, np.uint8)
    pixels[10:22, 6:18], pixels[10:22, 46:58] = left, right
    return Image.fromarray(pixels)


def region(left):
    mask = np.zeros((32, 64), bool)
    mask[10:22, 6 : 18 if left else 58] = True
    if not left:
        mask[:, :46] = False
    return mask


@pytest.fixture
def triplets():
    before = painted(RED, BLUE)
    return [
        PhotoTriplet("a", before, painted(BLUE, BLUE), "make the red one blue", region(left=True), "recolour", "p"),
        PhotoTriplet("b", before, painted(RED, RED), "make the blue one red", region(left=False), "recolour", "p"),
        PhotoTriplet(
            "c",
            painted(RED, GREY),
            before,
            "add a blue square on the right",
            region(left=False),
            "add",
            "q",
            on_target=True,
        ),
    ]


class Colours(Composer):
    """Knows two words, and looks at the channel of the colour that is named first."""

    target_layer = "grid"
    default_score = "shift"

    def __init__(self):
        super().__init__()
        self.grid = torch.nn.Sequential(torch.nn.AvgPool2d(4), torch.nn.Softshrink(0.6))  # nothing grey is left
        self.scale = torch.nn.Parameter(torch.tensor([1.0, 1.0, 1.0]))

    def preprocess(self, images, texts, targets=None):
        def made(pictures):
            fitted = [fit(picture, 64, mode="letterbox", fill=(0, 0, 0)) for picture in pictures]
            pixels = np.stack([np.asarray(one) for one, _ in fitted])
            return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255, [placement for _, placement in fitted]

        words = [min((text.find(c), i) for i, c in ((0, "red"), (2, "blue")) if c in text)[1] for text in texts]
        pixels, placements = made(images)
        target_pixels, target_placements = made(targets)
        tensors = {"pixel_values": pixels, "target_pixel_values": target_pixels, "colour": torch.tensor(words)}
        return ComposerInputs(tensors, placements, target_placements, [Note("caution", "seen")])

    def embed(self, pixel_values, colour):
        vector = self.grid(pixel_values).mean((2, 3)) * self.scale
        shift = torch.nn.functional.one_hot(colour, 3).to(vector) * vector
        return vector + 0.1, shift

    def forward(self, pixel_values, colour, target_pixel_values=None):
        own, shift = self.embed(pixel_values, colour)
        if target_pixel_values is None:
            return ComposedOutput(own + shift, shift)
        target, target_shift = self.embed(target_pixel_values, colour)
        return ComposedOutput(own + shift, shift, target, target_shift, target + target_shift)


def test_a_model_that_looks_right(triplets):
    kinds = [MapKind("shift", "gradcam"), MapKind(IMAGE_ONLY, "gradcam")]
    found = evaluate_triplets(Colours(), triplets, kinds=kinds, batch=2)
    right = found.maps["shift, gradcam"]
    assert tuple(right) == PHOTO_FIGURES
    assert right["pointing"].tolist() == [1.0, 1.0, 1.0]  # the added square is looked for on the target
    assert right["dead"].tolist() == [0.0, 0.0, 0.0]
    assert (right["auc"] > 0.95).all()
    assert (right["energy"] > 0.5).all()
    assert found.contrast["shift, gradcam"].tolist() == [1.0, 1.0]
    assert found.contrast_of.tolist() == [0, 1]
    assert sum(found.contrast["image only, gradcam"].tolist()) == 1.0
    assert found.on_target.tolist() == [False, False, True]
    assert found.by_edit(right["pointing"]) == {"add": 1.0, "recolour": 1.0}
    assert found.means("shift, gradcam")["contrast"] == 1.0
    assert math.isnan(found.means("shift, gradcam", found.on_target)["contrast"])
    assert found.means("shift, gradcam", found.on_target)["pointing"] == 1.0
    assert found.gallery == 5
    assert found.notices == ["seen"]
    assert found.recall.shape == found.sibling_recall.shape == (3,)
    assert (found.sibling_recall >= found.recall).all()


def test_the_bundled_kind_of_model_goes_the_same_way(tiny, triplets):
    found = evaluate_triplets(tiny, triplets)
    assert list(found.maps) == [default_kind(tiny).name]
    assert all(values.isfinite().all() for values in found.maps[default_kind(tiny).name].values())


def test_floors_by_hand(triplets):
    floors = floor_figures(triplets)
    assert list(floors) == ["random pixel", "image centre", "best fixed point", "centre Gaussian"]
    share = 144 / (32 * 64)
    random = floors["random pixel"]
    assert random.maps["random pixel"]["pointing"].tolist() == pytest.approx([share] * 3)
    assert random.contrast["random pixel"].tolist() == [0.5, 0.5]
    assert floors["image centre"].maps["image centre"]["pointing"].tolist() == [0.0, 0.0, 0.0]
    assert floors["best fixed point"].maps["best fixed point"]["pointing"].tolist() == [0.0, 1.0, 1.0]
    gaussian = floors["centre Gaussian"]
    assert gaussian.maps["centre Gaussian"]["pointing"].tolist() == [0.0, 0.0, 0.0]
    assert gaussian.contrast["centre Gaussian"].sum() == 1.0
    assert gaussian.contrast.keys() == {"centre Gaussian"}


def test_faithfulness_leaves_out_what_is_judged_on_the_target(triplets):
    kind = MapKind("shift", "gradcam")
    found = triplet_faithfulness(Colours(), triplets, kinds=[kind], steps=8)
    assert len(found[kind].randomized) == 2
    assert (found[kind].shift["deletion"] > 0.2).all()
    assert (found[kind].shift["insertion"] > 0.2).all()
    with pytest.raises(InputError, match="triplets: none is judged on its reference"):
        triplet_faithfulness(Colours(), triplets[2:])


def test_regions_that_touch_are_still_apart(triplets):
    touching = region(left=True)
    touching[12, 46] = True
    a = PhotoTriplet(**{**vars(triplets[0]), "mask": touching})
    assert len(evaluate_triplets(Colours(), [a, triplets[1]]).contrast_of) == 2
    touching[10:22, 46:50] = True
    other_size = PhotoTriplet(
        **{**vars(triplets[2]), "on_target": False, "picture": "p", "mask": np.ones((8, 8), bool)}
    )
    assert len(floor_figures([a, triplets[1]])["random pixel"].contrast_of) == 0
    assert len(floor_figures([triplets[1], other_size])["random pixel"].contrast_of) == 0


def test_what_does_not_fit_is_refused(triplets):
    with pytest.raises(InputError, match="triplets: there are none"):
        evaluate_triplets(Colours(), [])
    small = PhotoTriplet(**{**vars(triplets[0]), "mask": np.ones((8, 16), bool)})
    with pytest.raises(InputError, match="triplet a: the mask is 16 x 8 pixels, its picture 64 x 32"):
        evaluate_triplets(Colours(), [small])


@pytest.fixture
def folder(tmp_path, triplets):
    lines = []
    for one in triplets:
        files = {name: f"{one.id}_{name}.png" for name in ("reference", "target", "mask")}
        Image.fromarray(one.mask).save(tmp_path / files["mask"])
        one.reference.save(tmp_path / files["reference"])
        one.target.save(tmp_path / files["target"])
        files["reference"] = "a_reference.png" if one.id == "b" else files["reference"]
        side = "target" if one.on_target else "both"
        lines.append(
            json.dumps(
                {**files, "id": one.id, "text": one.text, "edit": one.edit, "class": "square", "mask_object_in": side}
            )
        )
    (tmp_path / "triplets.jsonl").write_text("\n\n".join(lines) + "\n")
    return tmp_path


def test_a_folder_gives_the_same_figures(folder, triplets):
    read = folder_triplets(folder)
    assert [one.id for one in read] == ["a", "b", "c"]
    assert np.array_equal(read[0].mask, triplets[0].mask)
    memory, disk = (evaluate_triplets(Colours(), some) for some in (triplets, read))
    torch.testing.assert_close(memory.maps["shift, gradcam"], disk.maps["shift, gradcam"])
    assert torch.equal(memory.sibling_recall, disk.sibling_recall)


def test_an_empty_set_is_refused(folder):
    (folder / "triplets.jsonl").write_text("\n")
    with pytest.raises(InputError, match="holds no triplets"):
        folder_triplets(folder)


def test_triplets_of_a_training_batch():
    from mmgrad_explain.data.batches.batch import PictureBatch

    pixels = np.random.default_rng(0).integers(0, 255, (5, 8, 8, 3), dtype=np.uint8)
    masks = np.zeros((2, 3, 8, 8), bool)
    masks[0, :, 0], masks[1, :, 1] = True, True
    batch = PictureBatch(
        references=pixels[:2], targets=pixels[2:], reference_masks=masks[0], target_masks=masks[1],
        texts=["x", "y", "z"], edits=["recolour", "add", "recolour"], picture=np.array([0, 0, 1]),
        partner=np.array([-1, -1, -1]), supervised=np.array([True, True, False]),
    )  # fmt: skip
    first, second = batch_triplets(batch)
    assert (first.picture, first.text, first.on_target) == ("0", "x", False)
    assert np.array_equal(first.mask, masks[0, 0])
    assert second.on_target
    assert np.array_equal(second.mask, masks[1, 1])
    assert np.array_equal(second.reference, pixels[0])
    assert np.array_equal(second.target, pixels[3])
