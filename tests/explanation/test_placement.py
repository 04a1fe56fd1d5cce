"""A map on one's own picture, which one's own transform cropped, padded or stretched."""

import json
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from torchvision import transforms as T

from mmgrad_explain import MMGrad
from mmgrad_explain.errors import InputError, MMGradWarning
from mmgrad_explain.images.placement import Placement, fit

CROP = T.Compose([T.Resize(64), T.CenterCrop(64), T.ToTensor()])
PAD = T.Compose([T.Pad((0, 50)), T.Resize((64, 64)), T.ToTensor()])
SQUARE = (180, 60, 204, 84)  # left, top, right, bottom


class Red(torch.nn.Module):
    """Looks for red, in the picture and in the target where there is one."""

    def __init__(self):
        super().__init__()
        self.cells = torch.nn.AvgPool2d(4)

    def forward(self, picture, target=None):
        score = self.cells(picture)[:, 0].square().mean((1, 2))
        return score if target is None else score + self.cells(target)[:, 0].square().mean((1, 2))


@pytest.fixture(scope="module")
def picture():
    picture = Image.new("RGB", (300, 200), (0, 40, 40))
    picture.paste((255, 0, 0), SQUARE)
    return picture


def explained(*inputs):
    return MMGrad(Red(), "cells", lambda score: score)(*(one[None] for one in inputs))


def lies_on_the_square(peak):
    left, top, right, bottom = SQUARE
    return top - 4 <= peak[0] < bottom + 4 and left - 4 <= peak[1] < right + 4


@pytest.mark.parametrize("transform", [CROP, PAD])
def test_a_transform_is_undone(picture, transform):
    made = explained(transform(picture))
    where = {"image": picture, "placement": transform}
    heat = made.heatmap(**where)
    assert heat.shape == (200, 300)
    assert lies_on_the_square(made.peak(**where))
    region = made.brightest_region(**where)
    assert np.abs(np.subtract(region.box, SQUARE)).max() <= 14, "a cell is 12.5 pixels"
    attached = made.attach_images(picture, transform)
    assert np.array_equal(attached.heatmap(), heat)
    assert attached.peak() == made.peak(**where)
    assert "of 300 x 200 pixels of the picture" in attached.in_words()
    assert np.array_equal(np.asarray(made.overlay(**where)), np.asarray(attached.overlay()))
    assert "data:image" in attached._repr_html_()


@pytest.mark.parametrize("whole", [False, True])
def test_an_image_processor_of_transformers_is_undone(picture, whole):
    sizes = {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}}
    own = transformers.CLIPImageProcessor(**sizes, do_normalize=False)
    made = explained(torch.as_tensor(np.asarray(own(images=picture)["pixel_values"][0])))
    processor = SimpleNamespace(image_processor=own) if whole else own
    assert lies_on_the_square(made.peak(image=picture, placement=processor))
    with pytest.raises(InputError, match="placement: ConvNextImageProcessor puts the image in an unknown place: hand"):
        made.heatmap(image=picture, placement=transformers.ConvNextImageProcessor())


def test_what_a_crop_left_out_stays_as_it_is(picture):
    made = explained(CROP(picture))
    assert not made.heatmap(image=picture, placement=CROP)[:, :50].any()
    sheet = np.asarray(made.overlay(image=picture, placement=CROP, colormap="gray", contour=False))
    plain = np.asarray(made.overlay(image=picture, placement=CROP, alpha=0))
    assert np.array_equal(sheet[:, : sheet.shape[1] // 2], plain[:, : plain.shape[1] // 2])
    changed = (sheet != plain).any((0, 2)).nonzero()[0]
    assert changed.min() > sheet.shape[1] // 2 + sheet.shape[1] // 12


def test_your_own_placement(picture):
    small, placement = fit(picture, 64, "crop")
    made = explained(T.ToTensor()(small))
    assert lies_on_the_square(made.peak(placement=placement)), "it knows the picture's size"
    assert lies_on_the_square(made.peak(image=picture, placement=placement))
    with pytest.warns(MMGradWarning, match="is not that of the image that the placement is of, 300 x 200"):
        made.overlay(image=picture.crop((0, 0, 200, 200)), placement=placement)


def test_a_stretched_picture(picture):
    made = explained(T.Compose([T.Resize((64, 64)), T.ToTensor()])(picture))
    assert lies_on_the_square(made.peak(image=picture, placement="stretch"))
    with pytest.warns(MMGradWarning, match="300 x 200, is not that of the model's input, 64 x 64, so that the map is"):
        stretched = made.overlay(image=picture)
    assert np.array_equal(np.asarray(stretched), np.asarray(made.overlay(image=picture, placement="stretch")))


def test_the_same_shape_needs_no_warning(picture):
    made = explained(T.Compose([T.Resize(67), T.ToTensor()])(picture))
    assert made.input_size == (67, 100)  # 100.5 in the picture's shape
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made.overlay(image=picture)


def test_saved_with_its_pictures(picture, tmp_path):
    made = explained(CROP(picture))
    made.save(tmp_path / "saved", image=picture, placement=CROP)
    manifest = json.loads((tmp_path / "saved" / "manifest.json").read_text())
    place = Placement.from_dict(manifest["placements"][0])
    heat = place.to_original(np.load(tmp_path / "saved" / "maps.npz")["maps"][0])
    assert lies_on_the_square(np.unravel_index(heat.argmax(), heat.shape))
    with Image.open(tmp_path / "saved" / "overlay_0000.png") as drawn:
        assert np.array_equal(np.asarray(drawn), np.asarray(made.overlay(image=picture, placement=CROP)))


def test_two_pictures_and_a_batch(picture):
    other = picture.transpose(Image.Transpose.ROTATE_90)
    made = explained(CROP(picture), PAD(picture))
    attached = made.attach_images(picture, CROP, targets=picture, target_placement=PAD)
    assert lies_on_the_square(attached.peak(target=True))
    both = made.overlay(image=picture, placement=CROP, target=picture, target_placement=PAD)
    assert np.array_equal(np.asarray(both), np.asarray(attached.overlay()))
    same = made.overlay(image=picture, placement=CROP, target=picture)
    assert np.array_equal(np.asarray(same), np.asarray(made.attach_images(picture, CROP, targets=picture).overlay()))
    batch = MMGrad(Red(), "cells", lambda score: score)(torch.stack([CROP(picture), CROP(other)]))
    attached = batch.attach_images([picture, other], CROP)
    assert lies_on_the_square(attached.peak(0))
    y, x = attached.peak(1)
    assert lies_on_the_square((x, 299 - y))
    with pytest.raises(InputError, match="images: 3 for 2 samples: give one for all, or one each"):
        batch.attach_images([picture] * 3, CROP)


class TestTurnedByExif:
    """A transform takes the pixels as they are stored; so does the map of a PIL image."""

    @pytest.fixture
    def file(self, picture, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.save(tmp_path / "turned.jpg", exif=exif, quality=95)
        return tmp_path / "turned.jpg"

    def test_a_pil_image_is_drawn_as_the_model_saw_it(self, file):
        with Image.open(file) as stored:
            made = explained(CROP(stored))
            assert made.heatmap(image=stored, placement=CROP).shape == (200, 300)
            assert lies_on_the_square(made.peak(image=stored, placement=CROP))

    def test_a_path_may_mean_both_and_says_so(self, file):
        with Image.open(file) as stored:
            made = explained(CROP(stored))
        with pytest.warns(MMGradWarning, match=r"turned\.jpg is stored rotated \(EXIF\) and is drawn upright: if the"):
            assert made.heatmap(image=file, placement=CROP).shape == (300, 200)


@pytest.mark.parametrize(
    ("placement", "message"),
    [
        ("crop", "give a Placement, the transform that made the input, or 'stretch', not 'crop'"),
        (3, "give a Placement, the transform that made the input, or 'stretch', not 3"),
        (T.Resize(32), "it is for an input of 48 x 32 pixels, and the model was given one of 64 x 64: pass the"),
        (T.RandomCrop(64), "placement: RandomCrop puts the image in another place each time: hand over"),
    ],
)
def test_what_does_not_fit_is_refused(picture, placement, message):
    made = explained(CROP(picture))
    for ask in (made.heatmap, made.overlay, made.peak):
        with pytest.raises(InputError, match=message):
            ask(image=picture, placement=placement)


def test_a_transform_needs_the_picture(picture):
    made = explained(CROP(picture))
    with pytest.raises(InputError, match="placement: pass image= too: where a transform puts an image depends on"):
        made.heatmap(placement=CROP)
