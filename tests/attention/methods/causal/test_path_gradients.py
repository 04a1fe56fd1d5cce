"""Integrated gradients as a method: complete on pixels and at layers, and equal to captum's."""

import pytest
import torch

from mmgrad_explain import MMGrad
from mmgrad_explain.attention.methods.causal.path_gradients import IntegratedGradients
from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics import fill_images


@pytest.mark.parametrize("baseline", ["blur", "mean", "zero"])
def test_the_map_of_pixels_adds_up_to_what_the_score_gains(zoo, cnn, x, baseline):
    method = IntegratedGradients(steps=30, baseline=baseline)
    with zoo.leaves_alone(cnn):
        found = MMGrad(cnn, score=zoo.class_score(), method=method)(x)
    cnn = cnn.eval()
    gained = (cnn(x) - cnn(fill_images(x, baseline)))[:, 1].detach()
    torch.testing.assert_close(found.signed["x"][0].sum((1, 2)), gained, rtol=1e-3, atol=1e-5)


def test_each_image_has_its_own_way(zoo, model):
    reference, target, ids = zoo.pictures(seed=1), zoo.pictures(seed=2), zoo.ids()

    def score(output):
        return torch.cosine_similarity(output.embedding, output.target)

    found = MMGrad(model, score=score, method=IntegratedGradients(steps=40, baseline="zero"))(reference, ids, target)
    model = model.eval()
    whole = score(model(reference, ids, target))
    gains = whole - score(model(0 * reference, ids, target)), whole - score(model(reference, ids, 0 * target))
    for name, gain in zip(("image", "target"), gains, strict=True):
        torch.testing.assert_close(found.signed[name][0].sum((1, 2)), gain.detach(), rtol=2e-2, atol=1e-3)


def test_the_map_of_a_layer_adds_up_too_and_equals_captums(zoo, cnn, x):
    from captum.attr import LayerIntegratedGradients

    with zoo.leaves_alone(cnn):
        found = MMGrad(cnn, "late", zoo.class_score(), IntegratedGradients(steps=30, baseline="zero", at="layer"))(x)
    (signed,) = found.signed["late"]
    cnn = cnn.eval()
    theirs = LayerIntegratedGradients(cnn, cnn.late).attribute(x, 0 * x, target=1, n_steps=30)
    torch.testing.assert_close(signed, theirs.sum(1).detach().float(), rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(signed.sum((1, 2)), (cnn(x) - cnn(0 * x))[:, 1].detach(), rtol=1e-3, atol=1e-5)


def test_a_layer_that_runs_on_reference_and_target(zoo, model):
    reference, target, ids = zoo.pictures(seed=1), zoo.pictures(seed=2), zoo.ids()

    def score(output):
        return torch.cosine_similarity(output.embedding, output.target)

    method = IntegratedGradients(steps=40, baseline="mean", at="layer")
    found = MMGrad(model, "tower.body", score, method)(reference, ids, target)
    model = model.eval()
    whole = score(model(reference, ids, target))
    of_each = fill_images(reference, "mean"), fill_images(target, "mean")
    gains = whole - score(model(of_each[0], ids, target)), whole - score(model(reference, ids, of_each[1]))
    for maps, gain in zip(found.signed["tower.body"], gains, strict=True):
        torch.testing.assert_close(maps.sum((1, 2)), gain.detach(), rtol=2e-2, atol=1e-3)


@pytest.mark.parametrize("at", ["pixels", "layer"])
def test_what_the_score_holds_constant_stays_that_of_the_image(zoo, model, at):
    image, ids = zoo.pictures(seed=1), zoo.ids()

    def score(output):
        return (output.embedding * output.embedding.detach()).sum(-1)

    method = IntegratedGradients(steps=40, baseline="mean", at=at)
    found = MMGrad(model, "tower.body", score, method)(image, ids)
    model = model.eval()
    whole, less = (model(x, ids).embedding for x in (image, fill_images(image, "mean")))
    ((maps,),) = found.signed.values()
    torch.testing.assert_close(maps.sum((1, 2)), ((whole - less) * whole).sum(-1).detach(), rtol=1e-2, atol=1e-4)


def test_the_place_must_be_known():
    with pytest.raises(InputError, match="at"):
        IntegratedGradients(at="voxels")
