"""Which bundled model answers."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain.composers import bundled as choosing
from mmgrad_explain.composers.bundled import choose_bundled, choose_by_images, pick_evenly
from mmgrad_explain.composers.load import BUNDLED, load_composer
from mmgrad_explain.data.scenes.scene import scenes
from mmgrad_explain.errors import InputError


class Known:
    """Stands for a model: what it finds strange, and the words that it does not know."""

    def __init__(self, strange, unknown=(), nameless=(), breadth=1.0):
        self.familiarity = SimpleNamespace(breadth=breadth)
        self.strange, self.processor = strange, self
        self.unknown, self.nameless = set(unknown), nameless

    def names_things(self, texts):
        return [text not in self.nameless for text in texts]

    def unknown_words(self, texts):
        return [word for text in texts for word in text.split() if word in self.unknown]


@pytest.fixture
def choose(monkeypatch):
    """Choose among made-up models, by their names, for pictures of one grey level each."""

    def call(models, levels, texts=("make it red",), by=choose_bundled):
        monkeypatch.setattr(choosing, "BUNDLED", tuple(models))
        monkeypatch.setattr(
            choosing,
            "strangeness_of",
            lambda one, images: torch.tensor([one.strange[i.getpixel((0, 0))] for i in images]),
        )
        images = [Image.new("L", (2, 2), level) for level in levels]
        return by(images, texts, load=models.get) if by is choose_bundled else by(images, load=models.get)

    return call


def test_the_words_decide_even_against_the_picture(choose):
    models = {"a": Known({0: 0.5}, ["dress", "dog"]), "b": Known({0: 9.0}, ["dog"]), "c": Known({0: 0.4}, ["dress"])}
    found = choose(models, [0], ["a red dress"])
    assert (found.name, found.composer) == ("b", models["b"])
    assert found.why == "it alone knows 'dress'; but the image is unlike its training images"
    found = choose(models, [0], ["make the dog brown"])
    assert (found.name, found.why) == ("c", "it alone knows 'dog'")


def test_things_count_before_looks_and_fillers_not_at_all(choose):
    strange = {0: 0.5}
    models = {
        "fillers": Known(strange, ["dress"]),
        "things": Known(strange, ["instead", "another", "make", "red", "left"]),
        "looks": Known(strange, ["dress", "red"]),
    }
    found = choose(models, [0], ["make another dress on the left red instead"])
    assert (found.name, found.why) == ("things", "it alone knows 'dress'; it does not know 'left', 'red'")
    actions = {"a": Known(strange, ["remove"]), "b": Known({0: 9.0}, ["dress"])}
    assert choose(actions, [0], ["remove it"]).name == "b"
    assert choose(actions, [0], ["remove the dress"]).name == "a"


def test_a_familiar_image_counts_before_looks_and_they_before_what_is_more_familiar(choose):
    models = {"a": Known({0: 0.9, 1: 9.0, 2: 9.0}, ["white"]), "b": Known({0: 9.0, 1: 0.9, 2: 8.0}, ["left"])}
    found = choose(models, [0], ["make the white one darker"])
    assert (found.name, found.why) == ("a", "the image is like its training images; it does not know 'white'")
    both = {"a": Known({0: 0.1}, ["white"]), "b": Known({0: 0.9}, ["left"])}
    more = "it understands more of the other words"
    found = choose(both, [0], ["make the white one darker"])
    assert (found.name, found.why) == ("b", f"the image is like its training images, and {more}")
    found = choose(models, [2], ["make the one on the left darker"])
    assert (found.name, found.why) == ("a", f"{more}; but the image is unlike its training images")


def test_a_word_for_a_thing_or_a_place_goes_to_the_model_that_knows_the_thing(choose):
    models = {"a": Known({0: 0.1, 1: 0.5}, nameless=["make the top red"]), "b": Known({0: 0.9, 1: 9.0})}
    assert choose(models, [0], ["make the top red"]).name == "b"
    assert choose(models, [0], ["make it red"]).name == choose(models, [1], ["make the top red"]).name == "a"


def test_each_thing_can_be_known_by_another_model(choose):
    models = {"a": Known({0: 2.0}, ["dog"]), "b": Known({0: 0.5}, ["hat"]), "c": Known({0: 0.1}, ["dog", "hat"])}
    found = choose(models, [0], ["put a hat on the dog"])
    assert found.name == "b"
    assert found.why == (
        "it and a best know the words that say what is meant, and the image is like its training images; "
        "it does not know 'hat'"
    )
    both = {"a": Known({0: 1.0}, ["hat"]), "b": Known({0: 1.0}, ["dog"]), "c": Known({0: 0.1}, ["dog", "hat"])}
    assert choose(both, [0], ["put a hat on the dog"]).why.startswith(
        "it and b best know the words that say what is meant, and the images fit none of them better; "
    )


def test_words_that_no_model_knows_do_not_count(choose):
    models = {"a": Known({0: 9.0}, ["silk", "dress"]), "b": Known({0: 0.5}, ["silk"]), "c": Known({0: 0.1}, ["silk"])}
    found = choose(models, [0], ["a silk thing"])
    assert found.name == "c"
    assert found.why == "the image is most like its training images; it does not know 'silk'"
    assert choose(models, [0], ["a silk dress"]).name == "c"


def test_the_picture_decides_where_the_words_do_not(choose):
    models = {"a": Known({0: 0.5, 1: 9.0}), "b": Known({0: 9.0, 1: 0.5}), "c": Known({0: 9.0, 1: 9.0})}
    for text in ("make it red", "change it"):
        found = choose(models, [0], [text])
        assert (found.name, found.why) == ("a", "the image is like its training images")
    found = choose(models, [1, 1, 0])
    assert (found.name, found.why) == ("b", "2 of 3 images are like its training images")
    known_by_two = {"a": Known({0: 0.9}), "b": Known({0: 0.2})}
    found = choose(known_by_two, [0])
    assert (found.name, found.why) == ("b", "the image is most like its training images")


def test_each_picture_counts_for_the_model_to_which_it_is_least_strange(choose):
    """On average the pictures are the least strange to the first."""
    models = {"a": Known({0: 0.01, 1: 0.9}), "b": Known({0: 0.9, 1: 0.8})}
    assert choose(models, [0, 1, 1]).name == "b"
    assert choose(models, [0, 1]).name == "a"


def test_a_picture_that_several_know_counts_for_the_one_that_knows_least_else(choose):
    models = {"a": Known({0: 0.1, 1: 0.2, 2: 3.0}, breadth=0.8), "b": Known({0: 0.9, 1: 2.0, 2: 4.0}, breadth=0.0)}
    assert [choose(models, levels).name for levels in ([0], [1], [2], [0, 0, 1])] == ["b", "a", "a", "a"]
    assert choose(models, [0, 0, 0, 1], by=choose_by_images).name == "b"


def test_what_is_unlike_everything_goes_to_the_least_strange(choose):
    models = {"a": Known({0: 9.0}), "b": Known({0: 3.0}), "c": Known({0: 5.0})}
    found = choose(models, [0])
    assert (found.name, found.why) == (
        "b", "the image is unlike the training images of each, least unlike its own"
    )  # fmt: skip
    same = {"b": Known({0: 0.7}), "a": Known({0: 0.7})}
    assert (choose(same, [0]).name, choose(same, [0]).why) == ("b", "words and images fit no model better")
    assert choose({"a": Known({0: 0.5})}, [0], ["a dress"]).why == "it is the only bundled model"


def test_pictures_alone(choose):
    models = {"a": Known({0: 0.5, 1: 9.0, 2: 9.0}), "b": Known({0: 9.0, 1: 0.5, 2: 9.0})}
    assert choose(models, [1, 1, 1, 0, 2], by=choose_by_images).name == "b"
    assert choose(models, [0, 0], by=choose_by_images).why == "the images are like its training images, of 2 looked at"
    for levels in ([0, 1], [2], [0, 2], []):
        with pytest.raises(InputError, match=r"do not tell which bundled model to take .* a model folder, or a hub id"):
            choose(models, levels, by=choose_by_images)
    both = {"a": Known({0: 0.5}), "b": Known({0: 0.5})}
    with pytest.raises(InputError, match="2 like those of a, 2 like those of b"):
        choose(both, [0, 0], by=choose_by_images)
    one_is_more_like = {"a": Known({0: 0.9, 1: 0.1}), "b": Known({0: 0.5, 1: 0.7}), "c": Known({0: 0.1, 1: 9.0})}
    found = choose(one_is_more_like, [0, 0, 1, 1, 0], by=choose_by_images)
    assert (found.name, found.why) == ("c", "3 of 5 images are most like its training images")
    assert choose(one_is_more_like, [0, 1, 1], by=choose_by_images).name == "a"


def test_of_many_pictures_some_are_looked_at():
    items = [object() for _ in range(100)]
    some = pick_evenly(items, 32)
    assert len(some) == 32
    assert (some[0], some[16]) == (items[0], items[50])
    assert pick_evenly([items[0]] * 9, 4) == [items[0]]


SENTENCES = {
    "make the dress red": "clothing",
    "a red dress instead": "clothing",
    "make the coat striped": "clothing",
    "make the circle red": "reference",
    "make the star dark": "reference",
    "make it red": None,
    "change it": None,
    "make the zebra red": None,  # no model knows it
}
"""The model that the words choose; None where they fit all models."""


@pytest.mark.parametrize(("text", "named"), SENTENCES.items())
def test_sentences_about_scenes_and_about_what_no_model_was_made_for(bundled, text, named):
    (scene,) = scenes(21, 1, size=160)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 60, 3), dtype=np.uint8))
    of_scene, of_noise = (
        choose_bundled([image], [text], load=bundled.get) for image in (Image.fromarray(scene.reference), noise)
    )
    assert of_scene.name == (named or "reference")
    assert ("unlike" in of_scene.why) == (of_scene.name != "reference")
    assert named in (of_noise.name, None)
    assert "unlike" in of_noise.why


def test_the_model_of_everyday_things_tells_their_names_from_places(bundled):
    texts = ["make the top purple", "make the dog brown", "make the one at the top brown"]
    assert bundled["everyday"].names_things(texts) == [False, True, False]
    assert bundled["everyday"].names_things([]) == []
    assert bundled["clothing"].names_things(texts) == [True] * 3  # it cannot tell


@pytest.fixture(scope="module")
def bundled():
    return {name: load_composer(name) for name in BUNDLED}
