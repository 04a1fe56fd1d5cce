"""Transforms of torchvision, timm and open_clip are undone: a mark in a picture is found again where it was."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as v1
from torchvision.models import ResNet18_Weights
from torchvision.transforms import functional, v2

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.placement import Placement
from mmgrad_explain.images.transform_geometry import place_by_transform

SIZES = [(150, 200), (201, 117), (112, 112), (60, 256)]
RANDOM = r"placement: {} puts the image in another place each time: hand over the transform of evaluation that made"
UNKNOWN = r"placement: {} puts the image in an unknown place: hand over the transform of evaluation"


def of_open_clip(size, mode):
    return pytest.importorskip("open_clip.transform").image_transform(size, is_train=False, resize_mode=mode)


def of_timm(size, **options):
    return pytest.importorskip("timm.data").create_transform(size, **options)


TRANSFORMS = {
    "the usual": lambda: v1.Compose([v1.Resize(128), v1.CenterCrop(112), v1.ToTensor(), v1.Normalize([0.5], [0.5])]),
    "a long side": lambda: v1.Compose([v1.Resize(100, max_size=125), v1.CenterCrop(90)]),
    "sides of padding": lambda: v1.Compose([v1.Resize(101), v1.Pad((3, 7, 20, 1)), v1.CenterCrop(111)]),
    "cropped, then padded": lambda: v1.Compose([v1.CenterCrop(90), v1.Pad(31), v1.Resize(77)]),
    "padded, then stretched": lambda: v1.Compose([v1.Pad((5, 9)), v1.Resize((100, 130))]),
    "nested": lambda: v1.Compose(
        [v1.Compose([v1.Resize(90)]), v1.ColorJitter(), v1.Compose([v1.CenterCrop((72, 60))])]
    ),
    "one alone": lambda: v1.CenterCrop(64),
    "version 2": lambda: v2.Compose(
        [v2.ToImage(), v2.Resize(size=None, max_size=150), v2.Pad([4, 6]), v2.CenterCrop(99)]
    ),
    "a sequence": lambda: torch.nn.Sequential(v2.Resize((90, 70)), v2.CenterCrop(101)),
    "of weights": ResNet18_Weights.DEFAULT.transforms,
    "open_clip": lambda: of_open_clip(96, "shortest"),
    "open_clip, not square": lambda: of_open_clip((96, 64), "shortest"),
    "open_clip, everything": lambda: of_open_clip(96, "longest"),
    "open_clip, stretched": lambda: of_open_clip(96, "squash"),
    "timm": lambda: of_timm((3, 96, 96)),
    "timm, not square": lambda: of_timm((3, 64, 96), crop_pct=0.9),
    "timm, everything": lambda: of_timm((3, 96, 96), crop_mode="border", crop_pct=0.95),
    "timm, its border cut": lambda: of_timm((3, 96, 96), crop_border_pixels=9),
}


def made(transform, pixels):
    """(H, W) float of one channel, from (H, W)."""
    out = transform(Image.fromarray(np.repeat(pixels.astype(np.uint8)[..., None], 3, axis=2)))
    return (functional.to_tensor(out) if isinstance(out, Image.Image) else out.float())[0].numpy().astype(np.float64)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_mark_is_found_again(name):
    transform, radius, found = TRANSFORMS[name](), 12, 0
    for height, width in SIZES:
        place = place_by_transform(transform, (height, width))
        blank = made(transform, np.zeros((height, width)))
        assert blank.shape == place.input
        seen, (rows, columns) = place.seen(), np.mgrid[:height, :width]
        for y, x in itertools.product(range(radius, height - radius, 31), range(radius, width - radius, 31)):
            if not seen[y - radius : y + radius + 1, x - radius : x + radius + 1].all():
                continue
            mark = 255 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 32)
            out = made(transform, mark) - blank
            out[out < 0.02 * out.max()] = 0
            centre = [(out * (at + 0.5)).sum() / out.sum() for at in np.mgrid[: out.shape[0], : out.shape[1]]]
            back = [(at - offset) / scale for at, offset, scale in zip(centre, place.offset, place.scale, strict=True)]
            assert max(abs(back[0] - y - 0.5), abs(back[1] - x - 0.5)) < 0.5
            found += 1
    assert found > 5


@pytest.mark.parametrize("name", TRANSFORMS)
def test_what_was_not_seen_does_not_reach_the_input(name):
    transform = TRANSFORMS[name]()
    for height, width in SIZES:
        seen = torch.from_numpy(place_by_transform(transform, (height, width)).seen())
        near = torch.nn.functional.max_pool2d(seen[None].float(), 17, 1, 8)[0].numpy() > 0  # what a resize mixes in
        out = made(transform, np.where(near, 0, 255)) - made(transform, np.zeros((height, width)))
        assert np.abs(out).max() < 1e-5


def test_what_is_cropped_and_padded_over_is_not_seen():
    place = place_by_transform(v1.Compose([v1.CenterCrop(40), v1.Pad(20)]), (80, 100))
    assert place.window == ((20, 60), (30, 70))
    assert (place.input, place.scale, place.offset) == ((80, 80), (1, 1), (0, -10))
    seen = np.zeros((80, 100), bool)
    seen[20:60, 30:70] = True
    assert np.array_equal(place.seen(), seen)
    assert np.array_equal(place.to_original(np.ones((4, 4))), seen)
    assert place.to_input(np.ones((80, 100))).sum() == 40 * 40
    assert Placement.from_dict(place.to_dict()) == place
    half = place.of_copy((40, 50))
    assert np.array_equal(half.seen(), seen[::2, ::2])


def test_random_changes_of_colour_move_nothing():
    steps = [v1.RandomApply([v1.ColorJitter(0.4)]), v1.RandomGrayscale(), v2.GaussianBlur(3), v1.Resize(50)]
    assert place_by_transform(v1.Compose(steps), (100, 120)) == Placement((100, 120), (50, 60), (0.5, 0.5), (0, 0))


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (v1.Compose([v1.RandomResizedCrop(64), v1.ToTensor()]), RANDOM.format("RandomResizedCrop")),
        (v2.RandomHorizontalFlip(), RANDOM.format("RandomHorizontalFlip")),
        (v1.RandomApply([v1.ColorJitter(), v1.CenterCrop(3)]), RANDOM.format("RandomApply")),
        (v1.FiveCrop(30), RANDOM.format("FiveCrop")),
        (v1.Compose([v1.Resize(9), v1.Lambda(lambda x: x)]), UNKNOWN.format("Lambda")),
        (lambda image: image, UNKNOWN.format("<lambda>")),
        (torch.nn.Upsample(scale_factor=2), UNKNOWN.format("Upsample")),
        (v1.Compose([v1.CenterCrop(5), v1.Pad(-9)]), "the transform leaves nothing of an image of 120 x 100 pixels"),
    ],
)
def test_what_cannot_be_undone_is_refused(transform, message):
    with pytest.raises(InputError, match=message):
        place_by_transform(transform, (100, 120))


def test_training_transforms_of_timm_and_open_clip_are_refused():
    with pytest.raises(InputError, match=RANDOM.format("RandomResizedCropAndInterpolation")):
        place_by_transform(of_timm((3, 32, 32), is_training=True), (100, 120))
    training = pytest.importorskip("open_clip.transform").image_transform(32, is_train=True)
    with pytest.raises(InputError, match=RANDOM.format("RandomResizedCrop")):
        place_by_transform(training, (100, 120))
