"""What MMGrad keeps between calls."""

import pytest
import torch

from mmgrad_explain.attention import Cells, Layout, MMGrad
from mmgrad_explain.attention.word_values.embedding_gradient import WordCapture


def first(output):
    return output.embedding[:, 0]


def test_the_layer_that_was_found_is_remembered(zoo, model):
    runs = []
    model.register_forward_pre_hook(lambda *_: runs.append(1))
    settings = MMGrad(model, score=first).settings
    assert settings.layers is None
    found = settings.layers = settings.find_target_layers((zoo.pictures(), zoo.ids()), {})
    assert list(found) == ["tower"]
    assert len(runs) == 4, "one to find the layer, three with a marked place"
    assert settings.find_target_layers((zoo.pictures(), zoo.ids()), {}) is found
    assert len(runs) == 4


def test_a_named_layer_is_not_searched(model):
    settings = MMGrad(model, "tower.stem", first).settings
    assert settings.find_target_layers((), {}) == {"tower.stem": model.tower.stem}


@pytest.mark.parametrize(
    ("layout", "packed"),
    [(None, False), ("nchw", False), (Layout("tokens"), False), (lambda x: x, True), (Cells(abs, abs), True)],
)
def test_packed_images_are_placed_by_the_callers_layout(model, layout, packed):
    assert MMGrad(model, "tower", first, layout=layout).settings.packed is packed


def test_packed_images_are_placed_by_the_model(model):
    model.layout_for = lambda layer, *args, **kwargs: None
    assert MMGrad(model, "tower", first).settings.packed


def test_words_are_recorded_where_they_are_wanted(zoo, model):
    args = zoo.pictures(), zoo.ids()
    with MMGrad(model, "tower", first).settings.record_words(args, {}) as recorded:
        assert recorded is None
    with MMGrad(model, "tower", first, words=True).settings.record_words(args, {}) as recorded:
        model(*args)
    assert isinstance(recorded, WordCapture)
    assert torch.equal(recorded.calls[0].ids, args[1])


def test_kinds_of_graph_are_checked_once(zoo, model):
    mmgrad = MMGrad(model, "tower.body")
    for _ in range(2):
        output, seen = zoo.captured(mmgrad, model, zoo.pictures(), zoo.ids())
        mmgrad.attend(first(output), seen, create_graph=True)
        assert mmgrad.settings.verified == {("tower.body", True)}
