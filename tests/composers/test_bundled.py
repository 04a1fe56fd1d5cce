"""Which bundled model answers."""

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

    def __init__(self, strange, unknown=()):
        self.strange, self.processor = strange, self
        self.unknown = set(unknown)

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


def test_the_picture_decides(choose):
    models = {"a": Known({0: 0.5, 1: 9.0}), "b": Known({0: 9.0, 1: 0.5}, ["dress"]), "c": Known({0: 9.0, 1: 9.0})}
    assert choose(models, [0]).name == "a"
    found = choose(models, [1], ["a red dress"])
    assert (found.name, found.composer) == ("b", models["b"])
    assert found.why == "the image is like its training images; it does not know 'dress'"
    assert choose(models, [1, 1, 0]).why == "2 of 3 images are like its training images"


def test_words_decide_where_the_picture_does_not(choose):
    strange = {0: 9.0}
    models = {
        "fillers": Known(strange, ["dress"]),
        "things": Known(strange, ["instead", "another", "make", "red"]),
        "looks": Known(strange, ["dress", "red"]),
    }
    found = choose(models, [0], ["make another dress red instead"])
    assert found.name == "things"
    assert found.why == (
        "it knows the most of the words that say what is meant; no model knows images like this one; "
        "it does not know 'red'"
    )


def test_what_is_equal_goes_to_the_least_strange(choose):
    models = {"a": Known({0: 9.0}), "b": Known({0: 3.0}), "c": Known({0: 5.0})}
    found = choose(models, [0])
    assert found.name == "b"
    assert found.why == "words and images fit no model better; no model knows images like this one"
    familiar = {"a": Known({0: 0.7}), "b": Known({0: 0.6})}
    assert choose(familiar, [0]).why == "words and images fit no model better"


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


def test_of_many_pictures_some_are_looked_at():
    items = [object() for _ in range(100)]
    some = pick_evenly(items, 32)
    assert len(some) == 32
    assert (some[0], some[16]) == (items[0], items[50])
    assert pick_evenly([items[0]] * 9, 4) == [items[0]]


@pytest.fixture(scope="module")
def shapes():
    return [Image.fromarray(one.reference) for one in scenes(21, 6, size=160)]


@pytest.mark.parametrize("text", ["make it red", "make the dress red", "a red dress instead"])
def test_scenes_are_answered_by_the_model_of_scenes(shapes, text):
    loaded = {name: load_composer(name) for name in BUNDLED}
    found = [choose_bundled([one], [text], load=loaded.get) for one in shapes]
    assert [one.name for one in found] == ["reference"] * 6
    assert ("it does not know 'dress'" in found[0].why) == ("dress" in text)


def test_what_no_model_knows_is_answered_by_words():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 60, 3), dtype=np.uint8))
    assert choose_bundled([noise], ["a red dress instead"]).name == "clothing"
    assert choose_bundled([noise], ["make the star dark"]).name == "reference"
    assert choose_bundled([noise], ["make the coat striped"]).name == "clothing"
