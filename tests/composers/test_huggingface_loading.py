"""Folders as the hub has them: the processor's geometry, texts, weights, the command line, and what can be wrong."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BlipImageProcessor,
    BridgeTowerImageProcessor,
    ChineseCLIPImageProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    EfficientNetImageProcessor,
    FlavaImageProcessor,
    LlavaImageProcessor,
    Owlv2ImageProcessor,
    PreTrainedTokenizerFast,
    SiglipImageProcessor,
    ViltImageProcessor,
)
from transformers.utils import logging

from mmgrad_explain.cli.main import main
from mmgrad_explain.composers.clip.composer import ClipComposer
from mmgrad_explain.composers.dual_encoder import unit_features
from mmgrad_explain.composers.huggingface import files as huggingface_files
from mmgrad_explain.composers.huggingface.processor import HuggingFaceProcessor
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.processor_geometry import place

WORDS = ["<pad>", "<start>", "make", "it", "red", "blue", "<unk>", "<end>"]
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


def word_tokenizer(**names):
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 7)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **names)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    word_tokenizer(pad_token="<pad>", eos_token="<end>").save_pretrained(folder)
    CLIPImageProcessor(**CROP).save_pretrained(folder)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"bos_token_id": 1, "eos_token_id": 7, "pad_token_id": 0}
    torch.manual_seed(0)
    model = CLIPModel(
        CLIPConfig(
            text_config={**small, **ids, "vocab_size": len(WORDS), "max_position_embeddings": 6},
            vision_config={**small, "image_size": 32, "patch_size": 8},
            projection_dim=8,
        )
    )
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(3)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(clip_folder, tmp_path):
    return shutil.copytree(clip_folder, tmp_path / "model")


def change(folder, file, **values):
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


# ------------------------------------------------------------------------------------------------------------- pictures


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


def test_pictures_of_several_sizes(picture):
    processor = HuggingFaceProcessor(
        CLIPImageProcessor(do_resize=False, do_center_crop=False), word_tokenizer(pad_token="<pad>"), 8
    )
    with pytest.raises(
        InputError, match=r"have different sizes for this model \(40 x 60, 60 x 40\): explain them one at"
    ):
        processor.encode_images([picture, picture.transpose(Image.Transpose.TRANSPOSE)])


def test_a_processor_that_does_something_else(picture):
    class Own:
        do_resize, size, do_center_crop = True, {"height": 8, "width": 8}, False

        def __call__(self, images, return_tensors):
            return {"pixel_values": torch.zeros(1, 3, 9, 8)}

    with pytest.raises(InputError, match="gives pictures of 9 x 8 pixels where its settings say 8 x 8"):
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
def test_a_geometry_that_is_not_known(options, what):
    own = CLIPImageProcessor(**CROP)
    for name, value in options.items():
        setattr(own, name, value)
    with pytest.raises(InputError, match=f"uses .*{what}, which cannot be undone on the map: supported are"):
        HuggingFaceProcessor(own, word_tokenizer(pad_token="<pad>"), 8)


def test_padding_of_another_kind_is_refused():
    """This one pads to a square below and to the right before it resizes, which its settings do not say."""
    with pytest.raises(InputError, match="Owlv2ImageProcessor uses do_pad, which cannot be undone on the map"):
        HuggingFaceProcessor(Owlv2ImageProcessor(), word_tokenizer(pad_token="<pad>"), 8)


def test_a_picture_that_is_too_narrow():
    own = ViltImageProcessor(size={"shortest_edge": 32}, size_divisor=8)
    with pytest.raises(InputError, match="an image of 10 x 100 pixels is too long and narrow for this model: crop it"):
        HuggingFaceProcessor(own, word_tokenizer(pad_token="<pad>"), 8).encode_images([Image.new("RGB", (100, 10))])


# ---------------------------------------------------------------------------------------------------------------- texts


def test_long_texts_are_cut_with_their_end(clip_folder, picture):
    composer = load_composer(clip_folder)
    prepared = composer.preprocess([picture] * 2, ["make it red make it blue", "red"])
    assert prepared.tensors["input_ids"].tolist() == [[1, 2, 3, 4, 2, 7], [1, 4, 7, 0, 0, 0]]
    assert prepared.tensors["attention_mask"].tolist() == [[1] * 6, [1, 1, 1, 0, 0, 0]]
    assert [note.text for note in prepared.notices] == ["the text has 8 tokens, the model takes 6: the rest was cut"]
    assert composer.processor.encode_texts([" "])[1].tolist() == [[0, 0]]


def test_a_tokenizer_that_cannot_pad():
    with pytest.raises(InputError, match="the tokenizer has no padding token: name one as pad_token"):
        HuggingFaceProcessor(CLIPImageProcessor(**CROP), word_tokenizer(), 8)


# -------------------------------------------------------------------------------------------------------------- folders


def test_the_weights_are_those_of_the_folder(clip_folder, folder):
    composer = load_composer(folder)
    assert (composer.name, composer.training) == ("model", False)
    weights = CLIPModel.from_pretrained(clip_folder).state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in composer.model.state_dict().items())
    (folder / "model.safetensors").unlink()
    torch.save({name: value.half() for name, value in weights.items()}, folder / "pytorch_model.bin")
    composer = load_composer(folder)
    assert composer.model.dtype == torch.float32
    torch.testing.assert_close(composer.model.logit_scale, weights["logit_scale"].half().float())


class Attack:
    def __reduce__(self):
        return print, ("ran",)


def test_weights_that_cannot_be_used(folder, capsys):
    change(folder, "config.json", projection_dim=9)
    with pytest.raises(InputError, match="cannot be loaded as CLIP: "):
        load_composer(folder)
    change(folder, "config.json", projection_dim=8)
    (folder / "model.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match=r"the safetensors file in .* is damaged"):
        load_composer(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no weights: expected model\.safetensors"):
        load_composer(folder)
    torch.save({"w": Attack()}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="code is never run"):
        load_composer(folder)
    torch.save({"logit_scale": torch.ones(())}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"do not fit its config\.json: text_model\.\S+ and \d+ more missing"):
        load_composer(folder)
    assert capsys.readouterr() == ("", "")


def test_one_weight_is_missing(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["logit_scale"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"do not fit its config\.json: logit_scale missing"):
        load_composer(folder)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "bert"}, "model is a 'bert' model: supported types are 'clip', .*'blip', 'blip-2', 'vilt'"),
        (
            {"model_type": "clip_vision_model"},
            "a 'clip_vision_model' model, a vision tower without its text tower: supp",
        ),
        ({"model_type": "siglip_text_model"}, "a 'siglip_text_model' model, a text tower without its vision tower: su"),
        ({"model_type": "owlv2"}, "a 'owlv2' model, which finds boxes and has no score of a whole picture and text: "),
        (
            {"model_type": "blip-2", "architectures": ["Blip2ForConditionalGeneration"]},
            "which has no image-text matching head: use a Blip2ForImageTextRetrieval, such as Salesforce/blip2-itm-vit",
        ),
        (
            {"model_type": "vilt", "architectures": ["ViltForQuestionAnswering"]},
            "which does not say how well picture and text match: use a ViltForImageAndTextRetrieval, such as dandelin",
        ),
        (
            {"model_type": "blip", "architectures": ["BlipForQuestionAnswering"]},
            "of class BlipForQuestionAnswering, which has no image-text matching head: use a BlipForImageTextRetrieval",
        ),
    ],
)
def test_models_of_other_kinds(folder, values, message):
    change(folder, "config.json", **values)
    with pytest.raises(InputError, match=message):
        load_composer(folder)


def test_files_that_are_missing_or_damaged(folder):
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=r"the tokenizer in .* cannot be read"):
        load_composer(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"has no tokenizer: it needs one of tokenizer\.json, vocab\.json"):
        load_composer(folder)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match=r"says nothing about pictures: it needs preprocessor_config\.json"):
        load_composer(folder)


@pytest.mark.parametrize("end", [None, [7], -1, 3, 10**25])
def test_an_end_token_that_no_text_has(folder, end):
    """Every text would be read at its first token, and all of them would mean the same."""
    config = json.loads((folder / "config.json").read_text())
    change(folder, "config.json", text_config={**config["text_config"], "eos_token_id": end})
    with pytest.raises(InputError, match=r"eos_token_id is .*'a' is \[1, \d+, 7\]\): set it to the tokenizer's end"):
        load_composer(folder)
    with pytest.raises(InputError, match="set it to the tokenizer's end token"):
        ClipComposer.from_clip(folder)


def test_a_transformers_without_the_class(folder, monkeypatch):
    import transformers

    monkeypatch.setattr(transformers, "CLIPModel", None)
    with pytest.raises(InputError, match=r"CLIPModel is not in transformers \d.*: get a newer one"):
        load_composer(folder)


def test_features_of_transformers_4():
    torch.testing.assert_close(unit_features(torch.full((1, 4), 3.0)), torch.full((1, 4), 0.5))


def test_bars_are_put_back():
    logging.disable_progress_bar()
    with huggingface_files.silent():
        pass
    assert not logging.is_progress_bar_enabled()
    logging.enable_progress_bar()
    with huggingface_files.silent():
        assert not logging.is_progress_bar_enabled()
    assert logging.is_progress_bar_enabled()


# --------------------------------------------------------------------------------------------------------- command line


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")
def test_overlay_and_layers_take_such_a_folder(clip_folder, picture_file, tmp_path, capsys):
    out = tmp_path / "where.png"
    assert (
        main(["overlay", str(picture_file), "make it red", "--model", str(clip_folder), "--out", str(out), "--json"])
        == 0
    )
    (result,) = json.loads(capsys.readouterr().out)
    assert result["score_name"] == "image-text"
    assert (result["layers"], result["grid"]) == (["model.vision_model.encoder.layers.1.layer_norm1"], [4, 4])
    assert Image.open(out).width > 60
    assert main(["layers", "--model", str(clip_folder)]) == 0
    assert "*  model.vision_model.encoder.layers.1.layer_norm1" in capsys.readouterr().out


def test_the_command_says_what_is_wrong(folder, picture_file, capsys):
    change(folder, "config.json", model_type="bert")
    assert main(["overlay", str(picture_file), "make it red", "--model", str(folder)]) == 2
    assert "supported types are" in capsys.readouterr().err


# ------------------------------------------------------------------------------------ sizes that are written as numbers


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


# ------------------------------------------------------------------------------------------------------------- saved


def test_a_saved_model_is_the_same_and_readable(folder, tmp_path, picture, capfd):
    composer = load_composer(folder)
    composer.save_pretrained(tmp_path / "again")
    assert capfd.readouterr() == ("", "")
    inputs = composer.preprocess([picture], ["make it red"]).tensors
    again = load_composer(tmp_path / "again")
    assert all(
        torch.equal(value, inputs[name]) for name, value in again.preprocess([picture], ["make it red"]).tensors.items()
    )
    torch.testing.assert_close(again(**inputs).embedding, composer(**inputs).embedding)
    assert len({(tmp_path / "again" / one).stat().st_mode for one in ("config.json", "model.safetensors")}) == 1
