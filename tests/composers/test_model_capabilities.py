"""What models offer, and what is said by name where something is missing."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mmgrad_explain import Gallery, explain, load_composer
from mmgrad_explain.composers.base import Composer
from mmgrad_explain.composers.embedding import embed_images, embed_query
from mmgrad_explain.composers.files import load_weights
from mmgrad_explain.composers.model_capabilities import capabilities, check_trainable
from mmgrad_explain.composers.outputs import ComposedOutput
from mmgrad_explain.composers.processor import SquareProcessor
from mmgrad_explain.composers.stand_ins.build import stand_in
from mmgrad_explain.data.batches.batch import encode_batch
from mmgrad_explain.errors import InputError
from mmgrad_explain.evaluation.composed_retrieval import evaluate_cir
from mmgrad_explain.training.objective.grounded_objective import GroundedObjective
from mmgrad_explain.training.objective.options import ObjectiveOptions
from mmgrad_explain.training.sources.scenes import SceneSource, SceneSourceOptions

HOW_TO = re.escape('see the how-to "A model of your own"')


def letters(text):
    """A tokenizer that is a plain function."""
    return [1 + ord(letter) % 9 for letter in text]


class Bare(Composer):
    """A network and nothing else."""

    def __init__(self, processor=None):
        super().__init__()
        self.grid = nn.Conv2d(3, 8, 8, 8)
        self.words = nn.Embedding(10, 8)
        if processor is not None:
            self.processor = processor


class Whole(Bare):
    """With a forward that knows no targets."""

    target_layer = "grid"

    def forward(self, pixel_values, input_ids, attention_mask):
        gate = self.words(input_ids).mean(1)
        image = self.grid(pixel_values).relu().mean((2, 3))
        return SimpleNamespace(embedding=image * gate, shift=image * gate - image)


class Staged(Bare):
    """In stages, without embeddings of images alone."""

    target_layer = "grid"

    def encode_image(self, pixel_values):
        return self.grid(pixel_values).relu()

    def encode_text(self, input_ids, attention_mask):
        return (self.words(input_ids).mean(1),)

    def compose(self, features, text):
        image = features.mean((2, 3))
        return ComposedOutput(image * text[0], image * text[0] - image)


@pytest.fixture
def processor():
    return SquareProcessor(letters, image_size=32)


def missing(match, call, *args, **options):
    with pytest.raises(InputError, match=f"{match}.*{HOW_TO}"):
        call(*args, **options)


def test_a_model_without_a_processor(picture):
    missing("Bare has no processor, which .*SquareProcessor", explain, picture, "red", model=Bare())


def test_a_model_without_a_forward(picture, processor):
    model = Bare(processor)
    lacking = r"Bare has neither forward nor all the stages that make one \(.*\): write forward, or "
    missing(f"{lacking}encode_image, encode_text, compose;", explain, picture, "red", model=model, layer="grid")
    model.encode_image = model.compose = lambda *_: None
    missing(f"{lacking}encode_text;", explain, picture, "red", model=model, layer="grid")


def test_a_processor_that_gives_something_else(picture, processor):
    model = Whole(lambda *batch: processor(*batch).tensors)
    missing("the processor of Whole must give ComposerInputs .*not a dict", explain, picture, "red", model=model)


def test_a_module_that_is_no_composer(processor):
    match = r"model is a Linear and no composer: derive it from Composer .*, or make one .* by load_composer"
    with pytest.raises(InputError, match=match):
        check_trainable(nn.Linear(2, 2))
    with pytest.raises(InputError, match=match):
        evaluate_cir(nn.Linear(2, 2), None)


def test_words_without_a_tokenizer(picture, processor):
    model = Whole(processor)
    missing("the tokenizer of Whole is a function without encode", explain, picture, "red", model=model, words=True)
    processor.tokenizer = None
    missing(r"words: Whole has no processor\.tokenizer", explain, picture, "red", model=model, words=True)
    assert explain(picture, "red", model=load_composer(Staged(SquareProcessor(letters, 32))), score="shift").maps.any()


def test_a_gallery_of_a_model_without_targets(picture, processor, tmp_path):
    missing(
        "gives no embedding of an image alone.*write embed", Gallery, tmp_path / "a.db", Whole(processor), create=True
    )
    assert list(tmp_path.iterdir()) == []
    missing("Staged has no embed, which gives", embed_images, Staged(processor), [picture])


def test_a_search_without_a_composed_embedding(picture, processor):
    model = Staged(processor)
    model.embed = lambda features: features.mean((2, 3))
    assert embed_images(model, [picture]).shape == (1, 8)
    model.compose = lambda features, text: features
    missing("Staged.compose must give a ComposedOutput .*not a Tensor", embed_query, model, picture, "red")
    model.forward = lambda **_: SimpleNamespace(shift=None)
    missing(r"to search with it a model's output must have \.embedding", embed_query, model, picture, "red")


def test_training_without_this_and_that(processor):
    bare = Bare(SimpleNamespace(image_size=32))
    missing(
        r"Bare cannot be trained: it has no processor\.normalise \(.*\), processor\.encode_texts", check_trainable, bare
    )
    assert [one.split(" ")[0] for one in capabilities(bare).missing_to_train] == [
        "processor.normalise", "processor.encode_texts", "target_layer"
    ]  # fmt: skip
    assert capabilities(Staged(processor)).missing_to_train == ()


def test_training_on_an_output_without_a_target(processor):
    batch = encode_batch(SceneSource(32, SceneSourceOptions(pictures=1, edits=2)).batch(0, 0), processor)

    class Half(Staged):
        def embed(self, features):
            return None

    objective = GroundedObjective(Half(processor), ObjectiveOptions())
    missing(r"to be trained a model's output must have .*has no \.target: return", objective, batch, None, 0.0)


def test_training_by_maps_of_targets_that_the_output_lacks(processor):
    batch = encode_batch(SceneSource(32, SceneSourceOptions(pictures=2, edits=6)).batch(0, 0), processor)

    class References(Staged):
        def embed(self, features):
            return features.mean((2, 3))

        def forward(self, *inputs, **named):
            return super().forward(*inputs, **named)._replace(target_shift=None)

    objective = GroundedObjective(References(processor), ObjectiveOptions())
    trained = (objective, batch, np.random.default_rng(0))
    missing(r"to be trained by maps of targets a model's output must have \.target_shift", *trained)


def test_a_model_without_save_pretrained_is_saved_by_its_weights(processor, tmp_path):
    model, other = Staged(processor), Staged(processor)
    capabilities(model).save(tmp_path / "model")
    assert not torch.equal(model.grid.weight, other.grid.weight)
    load_weights(other, tmp_path / "model")
    torch.testing.assert_close(other.state_dict(), model.state_dict(), rtol=0, atol=0)
    model.save_pretrained = lambda folder: (folder / "own").write_text("")
    capabilities(model).save(tmp_path)
    assert [path.name for path in tmp_path.glob("*.*")] == []  # its maps are of the usual method
    model.default_method = "legrad"
    capabilities(model).save(tmp_path)
    assert json.loads((tmp_path / "maps.json").read_text()) == {"method": "legrad"}


def test_what_is_offered(processor, tiny):
    bare, staged, whole = (capabilities(model) for model in (Bare(), Staged(processor), tiny))
    assert (bare.processor, bare.reader, bare.stages, bare.answers, bare.tokenizer, bare.unknown_words) == (None,) * 6
    assert not bare.takes_many_texts
    assert staged.stages is staged.composer
    assert (staged.training_stages, staged.embed_features) == (None, None)
    assert whole.training_stages is tiny
    assert whole.embed_features == tiny.embed
    assert whole.unknown_words(["a zzz"]) == ["zzz"]


def test_a_model_that_answers_in_words(tmp_path):
    model = load_composer(stand_in("llava", tmp_path / "llava"))
    assert capabilities(model).answers is model
    image = Image.new("RGB", (32, 32))
    assert explain(image, "What?", model=model, answer="yes").answers == ("yes",)
