"""The features of one image for many texts: repeated, and their gradients taken back text by text."""

from types import SimpleNamespace

import pytest
import torch

from mmgrad_explain import MMGrad
from mmgrad_explain.attention.calls.shared_features import SharedFeatures
from mmgrad_explain.errors import InputError


def score(output):
    return output.embedding[:, 0]


def stages(zoo, model):
    return {
        "encode": model.tower,
        "compose": lambda grid, ids: zoo.Composed(model.compose(grid, model.words(ids))),
    }


def share(features, count):
    return SharedFeatures(features, count, SimpleNamespace(records={}))


def test_features_are_repeated_for_each_text():
    features = {"grid": torch.rand(1, 2, 3, requires_grad=True), "mask": torch.ones(1, 4), "name": "x"}
    shared = share(features, 3)
    assert torch.equal(shared.rows["grid"], features["grid"].expand(3, -1, -1))
    assert shared.rows["grid"].is_leaf
    assert shared.rows["grid"].requires_grad
    assert torch.equal(shared.rows["mask"], torch.ones(3, 4))
    assert not shared.rows["mask"].requires_grad
    assert shared.rows["name"] == "x"
    assert shared.features == [features["grid"]]


def test_features_of_several_images():
    with pytest.raises(InputError, match=r"encode gave features of shape \(2, 3\), whose batch is not 1"):
        share([torch.rand(1, 3), torch.rand(2, 3)], 4)


def test_operations_that_cannot_be_batched(zoo, model):
    class Twice(torch.autograd.Function):
        """Looks at values on the way back, which a batch of gradients does not allow."""

        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, gradient):
            return 2 * gradient if float(gradient.abs().max()) < 1e9 else gradient

    plain = stages(zoo, model)
    image, ids = zoo.pictures(1), zoo.ids(3)
    mmgrad = MMGrad(model, "tower.stem", score)
    found = mmgrad.texts(image, ids, encode=lambda x: Twice.apply(model.tower(x)) / 2, compose=plain["compose"])
    torch.testing.assert_close(found.maps, mmgrad.texts(image, ids, **plain).maps)


def test_more_texts_than_go_back_together(zoo, model):
    image, ids = zoo.pictures(1), zoo.ids(19)
    mmgrad = MMGrad(model, "tower.stem", score)
    found = mmgrad.texts(image, ids, **stages(zoo, model))
    assert len(found) == 19
    torch.testing.assert_close(found.maps, mmgrad(image.expand(19, -1, -1, -1), ids).maps, rtol=1e-4, atol=1e-7)
