"""The composer that a run starts from, and saving the trained one."""

import pytest
import torch

from mmgrad_explain.composers.clip.composer import ClipComposer
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.composers.reference.named_parts import PLACED
from mmgrad_explain.composers.reference.transformers_model import ReferenceModel
from mmgrad_explain.errors import InputError
from mmgrad_explain.training import models as module
from mmgrad_explain.training.config import LoraOptions, ModelOptions
from mmgrad_explain.training.models import image_size_of, save_composer, starting_composer

WORDS = ("make", "the", "red", "coat")
SIZES = {
    "image_size": 32,
    "text_width": 16,
    "text_layers": 1,
    "heads": 2,
    "feature_width": 16,
    "embed_dim": 8,
    "backbone_options": {"layers": [1, 1, 1, 1], "channels": [8, 16, 16, 16], "stem_width": 8, "groups": 2},
}
LORA = LoraOptions(rank=2)


def parameters_trained(composer):
    return {name for name, parameter in composer.named_parameters() if parameter.requires_grad}


def test_a_new_network_knows_the_words():
    options = ModelOptions(sizes=SIZES)
    composer = starting_composer(options, WORDS)
    assert composer.training
    assert composer.network.config.vocab_size == 6
    assert composer.processor.image_size == image_size_of(options) == 32
    assert composer.processor.encode_texts(["make the coat red"])[1].sum() == 4
    assert image_size_of(ModelOptions(path="reference")) is None


def test_a_saved_reference_is_read_by_both_faces(tmp_path):
    composer = starting_composer(ModelOptions(sizes=SIZES), WORDS)
    save_composer(composer, tmp_path / "model")
    assert len({path.stat().st_mode for path in (tmp_path / "model").iterdir()}) == 1  # whoever reads one reads all
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "config.json", "model", "model.safetensors", "preprocessor_config.json", "tokenizer.json",
    ]  # fmt: skip
    read = load_composer(tmp_path / "model")
    model = ReferenceModel.from_pretrained(tmp_path / "model")
    for name, value in composer.network.state_dict().items():
        assert torch.equal(read.network.state_dict()[name], value)
        assert torch.equal(model.network.state_dict()[name], value)
    assert composer.training
    assert starting_composer(ModelOptions(path=str(tmp_path / "model")), ()).training


NAMED = {**SIZES, "parts": 3, "segmenter": 3, "named_parts": True}


def test_a_new_network_knows_the_names_of_its_parts(tmp_path):
    options = ModelOptions(sizes=NAMED, part_words={"person": ("man",), "plant": ("potted plant", "flower pot")})
    save_composer(starting_composer(options, (*WORDS, "left")), tmp_path / "model")
    composer = load_composer(tmp_path / "model")
    texts = ["make the people red", "make the coat red", "red plants", "make the left man red", "the pot"]
    named = composer.encode_text(*composer.processor.encode_texts(texts))[-1]
    assert named.sum(1).argmax(1).tolist() == [1, 0, 2, 1, 2]
    assert named.sum(2).argmax(1).tolist() == [0, 0, 0, PLACED.index("left"), 0]
    assert composer.feature_width == 16 + 12 + len(PLACED) * 3
    table = ReferenceModel.from_pretrained(tmp_path / "model").network.names.part.table
    assert torch.equal(table.weight, composer.network.names.part.table.weight)


@pytest.mark.parametrize(
    ("sizes", "words", "message"),
    [
        (NAMED, {"dog": ()}, "name the 2 parts of model.sizes.parts besides the background.*there are 1"),
        (NAMED, {"dog": ("pup",), "cat": ("pups",)}, "'pups' means two parts, 'cat' being one of them"),
        (SIZES, {"dog": ()}, "the network has no parts to name: set model.sizes.named_parts"),
    ],
)
def test_names_that_do_not_fit_the_parts(sizes, words, message):
    with pytest.raises(InputError, match=message):
        starting_composer(ModelOptions(sizes=sizes, part_words=words), WORDS)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*model: Not a directory"):
        save_composer(starting_composer(ModelOptions(sizes=SIZES), WORDS), tmp_path / "file" / "model")


def test_freezing():
    composer = starting_composer(ModelOptions(sizes=SIZES, freeze=("network.visual", "network.text")), WORDS)
    parts = {name.split(".")[1] for name in parameters_trained(composer)}
    assert parts == {name.split(".")[0] for name, _ in composer.network.named_parameters()} - {"visual", "text"}
    with pytest.raises(InputError, match=r"no part 'network.visula': did you mean 'network.visual'"):
        starting_composer(ModelOptions(sizes=SIZES, freeze=("network.visula",)), WORDS)
    with pytest.raises(InputError, match="nothing is left to train"):
        starting_composer(ModelOptions(sizes=SIZES, freeze=("network",)), WORDS)


def test_training_goes_on_at_another_size(tmp_path, clip_folder):
    save_composer(starting_composer(ModelOptions(sizes=SIZES), WORDS), tmp_path / "model")
    options = ModelOptions(path=str(tmp_path / "model"), image_size=64)
    assert starting_composer(options, ()).processor.image_size == 64
    with pytest.raises(InputError, match="image_size is for reference models"):
        starting_composer(ModelOptions(path=str(clip_folder), image_size=64), ())
    with pytest.raises(InputError, match="image_size is for a model that exists"):
        starting_composer(ModelOptions(sizes=SIZES, image_size=64), WORDS)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"image_sice": 32}, "unknown key 'model.sizes.image_sice': did you mean 'image_size'?"),
        ({**SIZES, "heads": 3}, "heads must divide text_width"),
        ({**SIZES, "embed_dim": 0}, "embed_dim must be a whole number from 1 on, not 0"),
        ({**SIZES, "backbone": "resnet10tt"}, "timm backbone 'resnet10tt' cannot be used"),
    ],
)
def test_sizes_that_do_not_fit(sizes, message):
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        starting_composer(ModelOptions(sizes=sizes), WORDS)
    with pytest.raises(InputError, match="needs to know the words"):
        starting_composer(ModelOptions(sizes=SIZES), ())


def test_other_files_in_a_model_folder_are_kept(tmp_path):
    composer = starting_composer(ModelOptions(sizes=SIZES), WORDS)
    (tmp_path / "place").mkdir()
    (tmp_path / "model").symlink_to("place")
    save_composer(composer, tmp_path / "model")
    written = {path.name for path in (tmp_path / "place").iterdir()}
    (tmp_path / "place" / "README.md").write_text("mine")
    (tmp_path / "place" / "more").mkdir()
    (tmp_path / "place" / "more" / "notes.txt").write_text("mine")
    (tmp_path / "place" / "config.json").write_text("old")
    save_composer(composer, tmp_path / "model")
    assert {path.name for path in (tmp_path / "place").iterdir()} == written | {"README.md", "more"}
    assert (tmp_path / "place" / "more" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "place" / "config.json").read_text() != "old"
    assert {path.name for path in tmp_path.iterdir()} == {"place", "model"}


# ---------------------------------------------------------------------------------------------------------------- CLIP


def test_clip_gets_a_combiner(clip_folder, tmp_path):
    composer = starting_composer(ModelOptions(path=str(clip_folder), combiner_width=16, fit="crop"), ())
    assert isinstance(composer, ClipComposer)
    assert composer.combiner.config.width == 16
    assert composer.processor.fit == "crop"
    save_composer(composer, tmp_path / "model")
    again = starting_composer(ModelOptions(path=str(tmp_path / "model")), ())
    assert isinstance(again, ClipComposer)
    assert again.name == "model"


def test_a_bundled_name_is_no_folder(monkeypatch):
    asked = []
    monkeypatch.setattr(module, "load_composer", lambda name: asked.append(name) or torch.nn.Linear(1, 1))
    starting_composer(ModelOptions(path="reference"), ())
    assert asked == ["reference"]


def test_parts_are_as_many_as_the_label_map_has_classes():
    options = ModelOptions(sizes={**SIZES, "parts": "auto"})
    assert starting_composer(options, WORDS, {"object": 5, "pixel_colour": 12}).network.config.parts == 5
    assert starting_composer(options, WORDS).network.config.parts == 0
    assert image_size_of(options) == 32


@pytest.mark.parametrize("name", ["tirg", "combiner", "sum"])
def test_a_way_to_compose_is_put_on_two_towers(name, clip_folder, tmp_path):
    from shutil import copytree

    from transformers import CLIPImageProcessor

    copytree(clip_folder, tmp_path / "clip")
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    CLIPImageProcessor(**size).save_pretrained(tmp_path / "clip")
    more = {"composer_options": {"width": 8}} if name == "tirg" else {}
    composer = starting_composer(ModelOptions(path=str(tmp_path / "clip"), composer=name, **more), ())
    kinds = {"tirg": "FusionComposer", "combiner": "ClipComposer", "sum": "HuggingFaceComposer"}
    assert type(composer).__name__ == kinds[name]
    with pytest.raises(InputError, match=r"model.composer: there is no 'tirk'; did you mean 'tirg'"):
        starting_composer(ModelOptions(path=str(tmp_path / "clip"), composer="tirk"), ())


def test_a_way_to_compose_needs_towers_and_options_a_method():
    with pytest.raises(InputError, match=r"model.composer is put on a model with two towers: name it by model.path"):
        ModelOptions(composer="tirg")
    with pytest.raises(InputError, match=r"model.composer_options are those of a new method"):
        ModelOptions(path="some/clip", composer="sum", composer_options={"width": 8})
