"""timm's and open_clip's preprocessing, and the exact way back to the picture's own pixels."""

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torchvision import transforms

from mmgrad_explain.composers.towers.framing import framing_of, open_clip_framing, timm_framing
from mmgrad_explain.errors import InputError

DATA = {"input_size": (3, 48, 48), "interpolation": "bilinear", "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}
CLIP = {"size": 48, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4), "interpolation": "bilinear"}
FRAMINGS = {
    "timm center": lambda: timm_framing({**DATA, "crop_pct": 0.875, "crop_mode": "center"}),
    "timm center, wide": lambda: timm_framing(
        {**DATA, "input_size": (3, 48, 80), "crop_pct": 0.9, "crop_mode": "center"}
    ),
    "timm squash": lambda: timm_framing({**DATA, "crop_pct": 0.9, "crop_mode": "squash"}),
    "timm border": lambda: timm_framing({**DATA, "crop_pct": 1.0, "crop_mode": "border"}),
    "timm border, cropped": lambda: timm_framing({**DATA, "crop_pct": 0.8, "crop_mode": "border"}),
    "open_clip shortest": lambda: open_clip_framing({**CLIP, "resize_mode": "shortest"}),
    "open_clip shortest, tall": lambda: open_clip_framing({**CLIP, "size": (80, 48)}),
    "open_clip longest": lambda: open_clip_framing({**CLIP, "resize_mode": "longest"}),
    "open_clip squash": lambda: open_clip_framing({**CLIP, "resize_mode": "squash"}),
}


@pytest.mark.parametrize("size", [(123, 211), (190, 97), (101, 101)])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_every_pixel_comes_from_where_the_placement_says(framing, size):
    """A picture whose colours are its own coordinates is read again in the model's input."""
    framing = FRAMINGS[framing]()
    height, width = size
    colours = np.zeros((height, width, 3), np.uint8)
    colours[..., 0] = (np.arange(height) + 0.5)[:, None] / height * 255
    colours[..., 1] = (np.arange(width) + 0.5) / width * 255
    pixels, (placement,) = framing([Image.fromarray(colours)])
    assert pixels.dtype == torch.float32
    assert tuple(pixels.shape) == (1, 3, *framing.size)
    assert placement.input == framing.size
    mean, std = torch.tensor(DATA["mean"])[:, None, None], torch.tensor(DATA["std"])[:, None, None]
    read = (pixels[0] * std + mean).numpy()
    for axis in (0, 1):
        place = (np.arange(framing.size[axis]) + 0.5 - placement.offset[axis]) / placement.scale[axis] / size[axis]
        seen = (place > 0.03) & (place < 0.97)
        other = (np.arange(framing.size[1 - axis]) + 0.5 - placement.offset[1 - axis]) / placement.scale[1 - axis]
        middle = int(np.abs(other - size[1 - axis] / 2).argmin())
        line = read[axis, :, middle] if axis == 0 else read[axis, middle]
        assert seen.sum() > 20
        assert np.abs(line[seen] - place[seen]).max() < 0.006


def test_settings_that_are_not_known_are_refused():
    with pytest.raises(InputError, match=r"asks for 3 channels and the crop mode 'corners': use RGB, center"):
        timm_framing({**DATA, "crop_pct": 1.0, "crop_mode": "corners"})
    with pytest.raises(InputError, match=r"timm's data config cannot be used: KeyError 'crop_pct'"):
        timm_framing(DATA)
    with pytest.raises(InputError, match=r"open_clip's preprocess_cfg cannot be used: .*'resize_mode': 'odd'"):
        open_clip_framing({**CLIP, "resize_mode": "odd"})


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", [(32, 32), (32, 48)])
def test_a_transform_is_read_as_its_settings_say(mode, size, picture):
    config = {"size": size, "resize_mode": mode}
    framing = framing_of(image_transform_v2(PreprocessCfg(**config), is_train=False))
    for shape in ((40, 60), (61, 37), (400, 90)):
        assert framing.place(shape) == open_clip_framing(config).place(shape)
    assert framing([picture])[0].shape == (1, 3, *size)


def test_a_marked_place_is_found_again():
    """Through a transform of torchvision: a resize that is larger than the crop."""
    steps = [transforms.Resize(64), transforms.CenterCrop(48), transforms.ToTensor()]
    framing = framing_of(transforms.Compose([transforms.Compose(steps[:2]), *steps[2:]]))
    image = Image.new("RGB", (120, 80))
    image.paste("white", (60, 50, 64, 54))
    pixels, (placement,) = framing([image])
    rows, columns = (pixels[0, 0] > 0.5).nonzero().T.float()
    centre = [(float(one.mean()) + 0.5 - placement.offset[axis]) / placement.scale[axis] for axis, one in
              enumerate((rows, columns))]  # fmt: skip
    assert centre == pytest.approx([52, 62], abs=0.5)
