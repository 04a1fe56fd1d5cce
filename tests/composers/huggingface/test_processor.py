"""Where a model's own image processor puts an image, and how texts are cut."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from transformers import (
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

from mmgrad_explain.composers.huggingface.processor import HuggingFaceProcessor
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.processor_geometry import place

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
def test_the_placement_is_where_the_processor_puts_things(image_processor, size, word_tokenizer):
    """Pictures whose colours are their coordinates say where each pixel of the input comes from."""
    height, width = size
    rows, columns = np.mgrid[:height, :width] + 0.5
    ramp = np.stack([rows, columns, rows * 0 + 128], -1).round().astype(np.uint8)
    processor = HuggingFaceProcessor(image_processor, word_tokenizer(pad_token="<pad>"), 8)
    image_processor.do_normalize = image_processor.do_rescale = False
    image_processor.include_top = False
    pixels, (placement,) = processor.encode_images([Image.fromarray(ramp)])
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


def test_pictures_of_several_sizes(picture, word_tokenizer):
    processor = HuggingFaceProcessor(
        CLIPImageProcessor(do_resize=False, do_center_crop=False), word_tokenizer(pad_token="<pad>"), 8
    )
    with pytest.raises(
        InputError, match=r"have different sizes for this model \(40 x 60, 60 x 40\): explain them one at"
    ):
        processor.encode_images([picture, picture.transpose(Image.Transpose.TRANSPOSE)])


def test_a_processor_that_does_something_else(picture, word_tokenizer):
    class Own:
        do_resize, size, do_center_crop = True, {"height": 8, "width": 8}, False

        def __call__(self, images, return_tensors):
            return {"pixel_values": torch.zeros(1, 3, 9, 8)}

    with pytest.raises(InputError, match="gives images of 9 x 8 pixels, its settings give 8 x 8"):
        HuggingFaceProcessor(Own(), word_tokenizer(pad_token="<pad>"), 8).encode_images([picture])


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
def test_a_geometry_that_is_not_known(options, what, word_tokenizer):
    own = CLIPImageProcessor(**CROP)
    for name, value in options.items():
        setattr(own, name, value)
    with pytest.raises(InputError, match=f"uses .*{what}, which cannot be undone on the map: supported are"):
        HuggingFaceProcessor(own, word_tokenizer(pad_token="<pad>"), 8)


def test_padding_of_another_kind_is_refused(word_tokenizer):
    """This one pads to a square below and to the right before it resizes, which its settings do not say."""
    with pytest.raises(InputError, match="Owlv2ImageProcessor uses do_pad, which cannot be undone on the map"):
        HuggingFaceProcessor(Owlv2ImageProcessor(), word_tokenizer(pad_token="<pad>"), 8)


def test_a_picture_that_is_too_narrow(word_tokenizer):
    own = ViltImageProcessor(size={"shortest_edge": 32}, size_divisor=8)
    with pytest.raises(InputError, match="an image of 10 x 100 pixels is too long and narrow for this model: crop it"):
        HuggingFaceProcessor(own, word_tokenizer(pad_token="<pad>"), 8).encode_images([Image.new("RGB", (100, 10))])


def test_long_texts_are_cut_with_their_end(clip_folder, picture):
    composer = load_composer(clip_folder)
    prepared = composer.preprocess([picture] * 2, ["make it red make it blue", "red"])
    assert prepared.tensors["input_ids"].tolist() == [[1, 2, 3, 4, 2, 7], [1, 4, 7, 0, 0, 0]]
    assert prepared.tensors["attention_mask"].tolist() == [[1] * 6, [1, 1, 1, 0, 0, 0]]
    assert [note.text for note in prepared.notices] == ["the text has 8 tokens, the model takes 6: the rest was cut"]
    assert composer.processor.encode_texts([" "])[1].tolist() == [[0, 0]]


def test_a_tokenizer_that_cannot_pad(word_tokenizer):
    with pytest.raises(InputError, match="the tokenizer has no padding token: name one as pad_token"):
        HuggingFaceProcessor(CLIPImageProcessor(**CROP), word_tokenizer(), 8)


def read(folder, tmp_path, **settings):
    made = shutil.copytree(folder, tmp_path / "numbers")
    (made / "preprocessor_config.json").write_text(json.dumps(settings))
    return HuggingFaceProcessor.from_pretrained(made, 6, fixed_length=False)


@pytest.mark.parametrize(
    ("settings", "size", "scale", "offset"),
    [
        ({"size": 64, "crop_size": 32, "size_divisor": 16}, (32, 32), (64 / 70, 80 / 90), (-16.0, -24.0)),
        ({"size": 64, "crop_size": {"height": 32, "width": 32}}, (32, 32), (64 / 70, 64 / 90), (-16.0, -16.0)),
        ({"size": 64, "crop_size": {"shortest_edge": 64}}, (64, 64), (64 / 70, 64 / 90), (0.0, 0.0)),
    ],
)
def test_bridgetower_with_numbers_for_sizes(settings, size, scale, offset, clip_folder, tmp_path):
    processor = read(clip_folder, tmp_path, image_processor_type="BridgeTowerImageProcessor", **settings)
    pixels, (lies,) = processor.encode_images([Image.new("RGB", (90, 70))])
    assert (pixels.shape[2:], lies.scale, lies.offset) == (size, scale, offset)


@pytest.mark.parametrize("kind", ["ViltImageProcessor", "BlipImageProcessor", "CLIPImageProcessor"])
def test_others_with_numbers_for_sizes(kind, clip_folder, tmp_path):
    processor = read(clip_folder, tmp_path, image_processor_type=kind, size=64, crop_size=32)
    pixels, (lies,) = processor.encode_images([Image.new("RGB", (70, 70))])
    assert pixels.shape[2:] == lies.input == ((32, 32) if kind == "CLIPImageProcessor" else (64, 64))


def test_a_number_is_the_shortest_edge():
    own = ViltImageProcessor(size_divisor=8)
    own.size, own.crop_size = 40, 24
    assert place(own, (80, 160)).input == (32, 64)


def test_a_crop_to_no_square_is_said(clip_folder, tmp_path):
    message = (
        r"preprocessor_config.json: BridgeTowerImageProcessor crops to a square, not to \{'height': 32, 'width': 48\}: "
        r'write "crop_size": \{"shortest_edge": 32\}'
    )
    crop = {"crop_size": {"height": 32, "width": 48}}
    with pytest.raises(InputError, match=message):
        read(clip_folder, tmp_path, image_processor_type="BridgeTowerImageProcessor", size=64, **crop)
