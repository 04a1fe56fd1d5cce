"""Names, folders, hub ids, and everything that is none of these."""

import json
import shutil

import pytest

from mmgrad_explain.composers.load import BUNDLED, load_composer
from mmgrad_explain.errors import InputError


@pytest.fixture
def folder(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder, tmp_path / "model")


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_models_load_by_name(name):
    composer = load_composer(name)
    assert composer.name == name
    assert not composer.training


def test_a_folder_by_path_and_by_string(folder):
    assert load_composer(folder).name == "model"
    assert load_composer(str(folder)).name == "model"


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(InputError, match=r"no model 'referense': did you mean 'reference'\? give a bundled name"):
        load_composer("referense")


def test_a_file_is_not_a_folder(folder):
    with pytest.raises(InputError, match="is a file, not a model folder"):
        load_composer(folder / "config.json")


def test_a_folder_without_config(tmp_path):
    with pytest.raises(InputError, match=r"is not a model folder: it has no config\.json"):
        load_composer(tmp_path)


def test_a_hub_id_without_network(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"the model hub cannot be reached for 'someone/model'"):
        load_composer("someone/model")


def test_a_hub_model_is_loaded_like_a_folder(monkeypatch, folder):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(folder))
    assert load_composer("someone/model").name == "someone/model"


def test_a_hub_id_that_is_no_id():
    with pytest.raises(InputError, match=r"cannot be fetched"):
        load_composer("some one/mo del")


SPOILED = [
    ("config.json", ("heads",), 0, "heads must be a whole number from 1 on, not 0"),
    ("config.json", ("heads",), None, "heads must be a whole number from 1 on, not None"),
    ("config.json", ("backbone_options",), [1], "backbone_options must be names with values"),
    ("config.json", ("backbone_options", "layers"), [1, 10**30, 1, 1], f"layers is {10**30}, and no"),
    ("config.json", ("text_layers",), 10**30, f"text_layers is {10**30}, and no"),
    ("config.json", ("text_width",), 2**26, "do not fit its config.json: the model is far larger than its weights"),
    ("config.json", ("backbone_options", "channels"), [8, 2**26, 16, 16], "the model is far larger than its weights"),
    ("config.json", ("vocab_size",), 10**12, "vocab_size is 1000000000000, and no model has more than"),
    ("config.json", ("text_width",), {"a": [1]}, "text_width must be a whole number from 1 on, not {'a': [1]}"),
    ("preprocessor_config.json", ("mean",), "x", "cannot be loaded"),
    ("preprocessor_config.json", ("std",), 0, "its processor and its network have different std: 0 and 0.25"),
    ("preprocessor_config.json", ("std",), [0.25, 0.25, 0.5], "have different std: 0.25, 0.25, 0.5 and 0.25"),
    ("preprocessor_config.json", ("fill",), [1], "cannot be loaded"),
    ("preprocessor_config.json", ("image_size",), 10**9, "image_size must be a whole number from 1 to 16384"),
    ("preprocessor_config.json", ("image_size",), 64, "its processor and its network have different image_size"),
    ("preprocessor_config.json", ("max_words",), {}, "cannot be loaded"),
    ("tokenizer.json", ("model",), 3, "tokenizer.json is not a tokenizer"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "keys", "value", "message"), SPOILED)
def test_values_of_another_kind_are_said_of_the_folder(tiny_folder, tmp_path, file, keys, value, message):
    folder = shutil.copytree(tiny_folder, tmp_path / "m")
    found = json.loads((folder / file).read_text())
    inner = found
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    (folder / file).write_text(json.dumps(found))
    with pytest.raises(InputError) as caught:
        load_composer(folder)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)


def test_pixels_that_are_not_finite_are_found_where_a_folder_does_not_say_what_it_takes(tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder, tmp_path / "m")
    for file, change in (("config.json", {"mean": None, "std": None}), ("preprocessor_config.json", {"std": 0})):
        found = {**json.loads((folder / file).read_text()), **change}
        (folder / file).write_text(json.dumps({key: value for key, value in found.items() if value is not None}))
    with pytest.raises(InputError, match="turns images into values that are not finite: check mean and std"):
        load_composer(folder)


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json", "tokenizer.json"])
def test_json_that_is_nested_too_deeply(tiny_folder, tmp_path, file):
    folder = shutil.copytree(tiny_folder, tmp_path / "m")
    (folder / file).write_text("[" * 100_000)
    with pytest.raises(InputError, match=str(folder)):
        load_composer(folder)


@pytest.mark.parametrize("error", [ImportError("bitsandbytes is not there"), AssertionError(), IndexError("x")])
def test_whatever_a_library_raises_is_said_of_the_folder(tiny_folder, monkeypatch, error):
    """As the quantizers of transformers do that are not installed."""

    def broken(*_, **__):
        raise error

    monkeypatch.setattr("mmgrad_explain.composers.reference.composer.ReferenceComposer.from_pretrained", broken)
    with pytest.raises(InputError, match=rf"the model in {tiny_folder} cannot be loaded: "):
        load_composer(tiny_folder)
