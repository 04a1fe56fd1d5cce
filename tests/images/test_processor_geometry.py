"""Placement of an image by an image processor of transformers: where the processor really puts it."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import transformers
from PIL import Image
from transformers import (
    AutoImageProcessor,
    BlipImageProcessor,
    BridgeTowerImageProcessor,
    ChineseCLIPImageProcessor,
    CLIPImageProcessor,
    EfficientNetImageProcessor,
    FlavaImageProcessor,
    LlavaImageProcessor,
    Owlv2ImageProcessor,
    SiglipImageProcessor,
    ViltImageProcessor,
)

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.processor_geometry import (
    check_geometry,
    is_image_processor,
    name_crop_edge,
    place,
    place_by_processor,
    sides_of,
)

CROP = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}


# Padding to a size is new in transformers' image processors on torchvision, which are the only ones of version 5.
FAST_CLIP = getattr(transformers, "CLIPImageProcessorFast", CLIPImageProcessor)


PIL_CLIP = getattr(transformers, "CLIPImageProcessorPil", CLIPImageProcessor)


NUMPY = [PIL_CLIP(do_resize=False, crop_size={"height": 91, "width": 40})]


FAST = {"do_center_crop": False, "do_pad": True}


PADDED_LAST = [
    FAST_CLIP(size={"height": 30, "width": 40}, pad_size={"height": 32, "width": 48}, **FAST),
    FAST_CLIP(size={"shortest_edge": 32, "longest_edge": 48}, pad_size={"height": 48, "width": 48}, **FAST),
    FAST_CLIP(size={"max_height": 40, "max_width": 44}, pad_size={"height": 44, "width": 44}, **FAST),
]


@pytest.mark.parametrize("size", [(40, 60), (61, 43), (200, 90)])
@pytest.mark.parametrize(
    "image_processor",
    [
        CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        CLIPImageProcessor(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 30}),
        CLIPImageProcessor(do_resize=False, crop_size={"height": 32, "width": 30}),
        CLIPImageProcessor(do_resize=False, crop_size={"height": 91, "width": 40}),
        CLIPImageProcessor(do_resize=False, do_center_crop=False),
        ChineseCLIPImageProcessor(size={"height": 30, "width": 40}, do_center_crop=False),
        SiglipImageProcessor(size={"height": 32, "width": 48}),
        EfficientNetImageProcessor(
            size={"height": 46, "width": 46}, crop_size={"height": 33, "width": 33}, do_center_crop=True, resample=2
        ),
        FlavaImageProcessor(size={"height": 32, "width": 32}, crop_size={"height": 32, "width": 32}),
        BlipImageProcessor(size={"height": 32, "width": 32}),
        ViltImageProcessor(size={"shortest_edge": 40}, size_divisor=8),
        ViltImageProcessor(size={"shortest_edge": 52}, size_divisor=4),
        BridgeTowerImageProcessor(size={"shortest_edge": 48}, size_divisor=4, crop_size={"shortest_edge": 24}),
        BridgeTowerImageProcessor(size={"shortest_edge": 48}, size_divisor=4, crop_size={"shortest_edge": 48}),
        *NUMPY,
        LlavaImageProcessor(size={"shortest_edge": 40}, crop_size={"height": 36, "width": 32}, do_pad=True),
        *PADDED_LAST,
    ],
    ids=lambda one: type(one).__name__,
)
def test_the_placement_is_where_the_processor_puts_things(image_processor, size):
    """Pictures whose colours are their coordinates say where each pixel of the input comes from."""
    height, width = size
    rows, columns = np.mgrid[:height, :width] + 0.5
    ramp = np.stack([rows, columns, rows * 0 + 128], -1).round().astype(np.uint8)
    name_crop_edge(image_processor)
    image_processor.do_normalize = image_processor.do_rescale = False
    image_processor.include_top = False
    pixels = image_processor(images=[Image.fromarray(ramp)], return_tensors="pt")["pixel_values"].float()
    check_geometry(image_processor)
    placement = place(image_processor, size)
    assert placement.input == tuple(pixels.shape[2:])
    ends = [offset + side * by for offset, side, by in zip(placement.offset, size, placement.scale, strict=True)]
    start = [math.ceil(max(offset, 0) + 2) for offset in placement.offset]  # at a border a resize repeats the edge
    stop = [math.floor(min(end, side) - 2) for end, side in zip(ends, placement.input, strict=True)]
    inner = pixels[0, :2, start[0] : stop[0], start[1] : stop[1]].double()
    grid = np.mgrid[start[0] : stop[0], start[1] : stop[1]] + 0.5
    # What is padding is known as such: it holds no picture, whose third colour is 128 everywhere.
    outside = np.ones(placement.input, bool)
    outside[tuple(slice(max(first - 3, 0), last + 3) for first, last in zip(start, stop, strict=True))] = False
    assert not (pixels[0, 2].numpy()[outside] == 128).any()
    for axis in (0, 1):
        expected = (grid[axis] - placement.offset[axis]) / placement.scale[axis] + 0.5  # .round() takes .5 up or down
        assert np.abs(inner[axis].numpy() - expected).max() < 1.3
        assert abs((inner[axis].numpy() - expected).mean() + 0.5) < 0.52
    mask = np.zeros(size)
    mask[height // 2 - 5 : height // 2 + 5, width // 2 - 5 : width // 2 + 5] = 1
    back = placement.to_original(placement.to_input(mask))
    assert [v.mean() for v in np.nonzero(back > 0.5)] == pytest.approx([height // 2 - 0.5, width // 2 - 0.5], abs=1)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"do_pad": True}, "do_pad"),
        ({"do_pad": True, "pad_size": {"longest_edge": 40}}, "do_pad"),
        ({"do_pad": True, "pad_size": {"height": 40, "width": 40}}, "do_pad"),  # what the crop cut off would lie there
        ({"size": {"longest_edge": 32}}, "a resize to {.*}"),
        ({"do_center_crop": True, "crop_size": {"shortest_edge": 3}}, "a crop of {.*}"),
    ],
)
def test_a_geometry_that_is_not_known(options, what):
    own = CLIPImageProcessor(**CROP)
    for name, value in options.items():
        setattr(own, name, value)
    with pytest.raises(InputError, match=f"uses .*{what}, which cannot be undone on the map: supported are"):
        check_geometry(own)


def test_padding_of_another_kind_is_refused():
    """This one pads to a square below and to the right before it resizes, which its settings do not say."""
    with pytest.raises(InputError, match="Owlv2ImageProcessor uses do_pad, which cannot be undone on the map"):
        check_geometry(Owlv2ImageProcessor())


def test_a_picture_that_is_too_narrow():
    own = ViltImageProcessor(size={"shortest_edge": 32}, size_divisor=8)
    with pytest.raises(InputError, match="an image of 10 x 100 pixels is too long and narrow for this model: crop it"):
        place(own, (10, 100))


def read(tmp_path, **settings):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    image_processor = AutoImageProcessor.from_pretrained(tmp_path)
    name_crop_edge(image_processor)
    return image_processor


@pytest.mark.parametrize(
    ("settings", "size", "scale", "offset"),
    [
        ({"size": 64, "crop_size": 32, "size_divisor": 16}, (32, 32), (64 / 70, 80 / 90), (-16.0, -24.0)),
        ({"size": 64, "crop_size": {"height": 32, "width": 32}}, (32, 32), (64 / 70, 64 / 90), (-16.0, -16.0)),
        ({"size": 64, "crop_size": {"shortest_edge": 64}}, (64, 64), (64 / 70, 64 / 90), (0.0, 0.0)),
    ],
)
def test_bridgetower_with_numbers_for_sizes(settings, size, scale, offset, tmp_path):
    processor = read(tmp_path, image_processor_type="BridgeTowerImageProcessor", **settings)
    pixels = processor(images=[Image.new("RGB", (90, 70))], return_tensors="pt")["pixel_values"]
    placement = place(processor, (70, 90))
    assert (pixels.shape[2:], placement.scale, placement.offset) == (size, scale, offset)


@pytest.mark.parametrize("kind", ["ViltImageProcessor", "BlipImageProcessor", "CLIPImageProcessor"])
def test_others_with_numbers_for_sizes(kind, tmp_path):
    processor = read(tmp_path, image_processor_type=kind, size=64, crop_size=32)
    pixels = processor(images=[Image.new("RGB", (70, 70))], return_tensors="pt")["pixel_values"]
    placement = place(processor, (70, 70))
    assert pixels.shape[2:] == placement.input == ((32, 32) if kind == "CLIPImageProcessor" else (64, 64))


def test_a_number_is_the_shortest_edge():
    own = ViltImageProcessor(size_divisor=8)
    own.size, own.crop_size = 40, 24
    assert place(own, (80, 160)).input == (32, 64)


def test_a_crop_to_no_square_is_said(tmp_path):
    message = (
        r"preprocessor_config.json: BridgeTowerImageProcessor crops to a square, not to \{'height': 32, 'width': 48\}: "
        r'write "crop_size": \{"shortest_edge": 32\}'
    )
    crop = {"crop_size": {"height": 32, "width": 48}}
    with pytest.raises(InputError, match=message):
        read(tmp_path, image_processor_type="BridgeTowerImageProcessor", size=64, **crop)


def test_only_known_classes_are_placed_by_their_settings():
    class Own:
        do_resize, size = True, {"height": 8, "width": 8}

    with pytest.raises(InputError, match="placement: Own puts the image in an unknown place: hand over a Placement"):
        place_by_processor(Own(), (40, 60))


def test_a_whole_processor_is_placed_by_its_image_processor():
    own = SiglipImageProcessor(size={"height": 32, "width": 48})
    whole = SimpleNamespace(image_processor=own)
    assert is_image_processor(own)
    assert is_image_processor(whole)
    assert not is_image_processor(SimpleNamespace(preprocess=None))
    assert place_by_processor(whole, (40, 60)) == place_by_processor(own, (40, 60))


def test_sides_of_a_setting():
    own = SimpleNamespace(size={"height": 3, "width": 4.0, "longest_edge": None}, edge=5, none=None)
    assert sides_of(own, "size") == {"height": 3, "width": 4}
    assert sides_of(own, "edge") == {"shortest_edge": 5}
    assert sides_of(own, "none") == sides_of(own, "missing") == {}
