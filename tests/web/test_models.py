"""Which models a page offers, and what each can be asked."""

import pytest
from PIL import Image

from mmgrad_explain.attention import candidate_layers
from mmgrad_explain.composers.load import BUNDLED, load_composer
from mmgrad_explain.composers.stand_ins.build import stand_in
from mmgrad_explain.data.drawn_example import example_inputs
from mmgrad_explain.errors import InputError
from mmgrad_explain.web import models as module
from mmgrad_explain.web.models import Abilities, Models, find_abilities


def test_what_can_be_chosen(tiny_folder):
    assert Models().names == ("automatic", "reference", "clothing", "everyday")
    assert Models().first == "automatic"
    more = Models((str(tiny_folder), "reference", str(tiny_folder)))
    assert more.names == ("automatic", "reference", "clothing", "everyday", str(tiny_folder))
    assert more.first == str(tiny_folder)


def test_who_answers():
    models = Models()
    noise = [Image.effect_noise((64, 64), 64).convert("RGB")]
    assert models.choose_model("clothing", noise, ["make it red"]) == ("clothing", "")
    name, why = models.choose_model("automatic", noise, ["the small star is now a ring"])
    assert name == "reference"
    assert why == "it alone knows 'star'; but the image is unlike its training images"
    assert models.choose_model("automatic", noise, ["a pair of sandals instead of the sneakers"])[0] == "clothing"
    with pytest.raises(InputError, match="the page has no model '/etc': choose one of automatic, reference, clothing"):
        models.choose_model("/etc", noise, ["make it red"])


def test_examples_are_for_the_model_that_is_chosen_at_first(tiny_folder):
    assert (Models().example_model, Models().example_kind) == ("reference", "shapes")
    clothes = Models(("clothing",))
    assert (clothes.first, clothes.example_model, clothes.example_kind) == ("clothing", "clothing", "figures")
    assert Models((str(tiny_folder),)).example_model == "reference"


def test_each_is_loaded_once(tiny_folder, monkeypatch):
    loaded = []
    monkeypatch.setattr(module, "load_composer", lambda name: loaded.append(name) or load_composer(name))
    models = Models((str(tiny_folder),), device="cpu")
    assert models.composer(str(tiny_folder)) is models.composer(str(tiny_folder))
    assert models.abilities(str(tiny_folder)) is models.abilities(str(tiny_folder))
    assert loaded == [str(tiny_folder)]


def test_a_device_that_is_not_there():
    with pytest.raises(InputError, match="device 'tpu' is unknown"):
        Models(device="tpu")


def test_a_composer(tiny, tiny_folder):
    found = Models((str(tiny_folder),)).abilities(str(tiny_folder))
    listed = {one.name: one for one in candidate_layers(tiny, **example_inputs(tiny))}
    assert dict(found.layers)[tiny.target_layer] == listed[tiny.target_layer].grid == (8, 8)
    assert not listed["network.places"].gradient_reaches
    assert "network.places" not in dict(found.layers)
    assert found.scores == ("shift",)
    assert found.target_scores == ("similarity", "pair", "pair-different")
    assert (found.targets, found.answers) == (True, False)


def test_two_towers(tmp_path):
    found = find_abilities(load_composer(stand_in("clip", tmp_path / "clip")))
    assert "image-text" in found.scores
    assert "answer" not in found.scores + found.target_scores
    assert found.layers


def test_a_model_that_takes_no_target(tiny, monkeypatch):
    whole = tiny.preprocess

    def without_targets(images, texts, targets=None):
        if targets is not None:
            raise InputError("target: none is taken")
        return whole(images, texts)

    monkeypatch.setattr(tiny, "preprocess", without_targets)
    found = find_abilities(tiny)
    assert (found.scores, found.target_scores, found.targets) == (("shift",), (), False)


def test_a_model_that_answers(tmp_path):
    found = find_abilities(load_composer(stand_in("llava", tmp_path / "llava")))
    assert (found.scores, found.target_scores) == (("answer",), ())
    assert (found.targets, found.answers) == (False, True)
    assert found.layers


def test_what_two_share():
    one = Abilities((("a", (2, 2)), ("b", (4, 4))), ("shift", "match"), ("pair",), targets=True, answers=False)
    two = Abilities((("b", (8, 8)),), ("match",), ("pair", "similarity"), targets=True, answers=True)
    assert one.common_with(two) == Abilities((("b", (4, 4)),), ("match",), ("pair",), targets=True, answers=False)


def test_automatic_offers_what_all_bundled_ones_can():
    models = Models()
    found = models.abilities("automatic")
    for name in BUNDLED:
        layers = {one for one, _ in models.abilities(name).layers}
        assert {one for one, _ in found.layers} <= layers
    assert "network.features" in dict(found.layers)
    assert found.scores == ("shift",)


@pytest.mark.parametrize("name", BUNDLED)
def test_the_same_is_offered_each_time(name):
    composer = load_composer(name)
    Image.effect_noise((64, 64), 64)  # what else draws random numbers in the process does not matter
    found = find_abilities(composer)
    assert find_abilities(composer) == found
    assert set(composer.described_layers[1:]) < {layer for layer, _ in found.layers}
