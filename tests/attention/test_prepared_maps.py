"""Maps of images whose tower is frozen: the maps and gradients of the whole graph, from one product a map."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from mmgrad_explain.attention import MMGrad, attend_prepared, prepare_maps
from mmgrad_explain.errors import GradientError, InputError
from mmgrad_explain.grounding import dice_loss

LAYER = "blocks.2.norm1"


@pytest.fixture
def tower(zoo):
    return zoo.build(zoo.ViT).requires_grad_(False)


@pytest.fixture
def head(zoo):
    """What is trained: it composes embeddings of images and texts."""
    return zoo.build(nn.Sequential, nn.Linear(10, 16), nn.GELU(), nn.Linear(16, 5))


def score_of(head, image, text):
    composed = image + head(torch.cat([image, text], -1))
    return functional.normalize(composed, dim=-1)[:, :3].sum(-1)


def loss_of(maps):
    masks = torch.zeros_like(maps[0])
    masks[:, :1] = 1
    return torch.stack([dice_loss(one, masks).mean() for one in maps]).sum()


def test_maps_and_the_gradients_of_a_loss_are_those_of_the_whole_graph(zoo, tower, head):
    methods = ["gradcam", "xgradcam", "hirescam"]
    pixels, text = zoo.pictures(3), torch.randn(3, 5, generator=torch.Generator().manual_seed(3), requires_grad=True)
    mmgrad = MMGrad(tower, LAYER)
    output, seen = zoo.captured(mmgrad, tower, pixels)
    expected = mmgrad.attend(score_of(head, output, text), seen, create_graph=True, method=methods, relu=False)
    wanted = [text, *head.parameters()]
    theirs = torch.autograd.grad(loss_of(expected), wanted, allow_unused=True)

    with zoo.leaves_alone(tower):
        prepared = prepare_maps(mmgrad, pixels, tower, method=methods)
    image = prepared.embeddings.requires_grad_()
    made = attend_prepared(score_of(head, image, text), image, prepared.operators, create_graph=True, relu=False)
    ours = torch.autograd.grad(loss_of(made), wanted, allow_unused=True)
    assert made.shape == (3, 3, 2, 3)
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5 * float(expected.detach().abs().max()))
    for one, other in zip(ours, theirs, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


def test_rows_can_be_stored_in_half_precision_and_taken_from_the_store(zoo, tower, head):
    pixels, text = zoo.pictures(3), torch.ones(2, 5)
    prepared = prepare_maps(MMGrad(tower, LAYER, method="gradcam"), pixels, tower)
    assert prepared.operators.shape == (3, 2, 3, 5)
    rows = torch.tensor([2, 0])
    image = prepared.embeddings[rows].requires_grad_()
    made = attend_prepared(score_of(head, image, text), image, prepared.operators.half()[rows])
    mmgrad = MMGrad(tower, LAYER, method="gradcam")
    output, seen = zoo.captured(mmgrad, tower, pixels[rows])
    expected = mmgrad.attend(score_of(head, output, text), seen)
    assert made.dtype == torch.float32
    assert torch.allclose(made, expected, atol=0.01 * float(expected.max()))


class WithPatches(nn.Module):
    """A tower that also gives the output of its layer on the grid, or something else."""

    def __init__(self, tower, added=0):
        super().__init__()
        self.tower, self.added = tower, added

    def forward(self, pixels):
        found = []
        with self.tower.get_submodule(LAYER).register_forward_hook(lambda _m, _i, tokens: found.append(tokens)):
            pooled = self.tower(pixels)
        return pooled, self.added + found[0][:, 1:].transpose(1, 2).reshape(len(pixels), -1, 2, 3)


@pytest.mark.parametrize("reads_pooled", [True, False], ids=["both", "patches alone"])
def test_a_score_may_read_the_patches_too(zoo, tower, head, reads_pooled):
    model, methods = WithPatches(tower), ["gradcam", "xgradcam", "hirescam"]
    pixels, text = zoo.pictures(3), torch.ones(3, 5)

    def score(pooled, patches):
        read = (patches.relu() ** 2).mean((2, 3))[:, :5]
        return score_of(head, pooled + read if reads_pooled else read, text)

    mmgrad = MMGrad(model, f"tower.{LAYER}")
    with mmgrad.capture() as seen:
        output = model(pixels)
    expected = mmgrad.attend(score(*output), seen, create_graph=True, method=methods, relu=False)
    wanted = list(head.parameters())
    theirs = torch.autograd.grad(loss_of(expected), wanted, allow_unused=True)

    prepared = prepare_maps(mmgrad, pixels, model, method=methods)
    image, patches = prepared.embeddings.requires_grad_(), prepared.patches.requires_grad_()
    made = attend_prepared(
        score(image, patches), image, prepared.operators, patches=patches, method=methods, create_graph=True, relu=False
    )
    ours = torch.autograd.grad(loss_of(made), wanted, allow_unused=True)
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5 * float(expected.detach().abs().max()))
    for one, other in zip(ours, theirs, strict=True):
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


def test_patches_that_are_not_the_layers_or_not_weighted_are_refused(zoo, tower, head):
    model = WithPatches(tower, 2)
    with pytest.raises(InputError, match="patches must be the output of the target layer on its grid"):
        prepare_maps(MMGrad(model, f"tower.{LAYER}", method="gradcam"), zoo.pictures(2), model)
    prepared = prepare_maps(MMGrad(tower, LAYER, method="gradcam"), zoo.pictures(2), WithPatches(tower))
    image, patches = prepared.embeddings.requires_grad_(), prepared.patches
    with pytest.raises(InputError, match=r"patches need a gradient: call patches\.requires_grad_\(\)"):
        attend_prepared(image.sum(-1), image, prepared.operators, patches=patches)
    patches.requires_grad_()
    score = image.square().sum(-1) + patches.square().sum((1, 2, 3))
    for options, said in (
        ({"patches": patches, "method": ["gradcam", "hirescam"]}, "must name the methods of the operators"),
        ({"patches": patches, "method": "relevancy"}, "'relevancy' is no weighting"),
    ):
        with pytest.raises(InputError, match=said):
            attend_prepared(score, image, prepared.operators, **options)


def test_a_tower_that_is_frozen_by_nobody_comes_back_trainable(zoo, head):
    trained = zoo.build(zoo.ViT).train()
    with zoo.leaves_alone(trained):
        prepared = prepare_maps(MMGrad(trained, LAYER, method="hirescam"), zoo.pictures(1), trained)
    assert not prepared.embeddings.requires_grad
    assert not prepared.operators.requires_grad


@pytest.mark.parametrize("method", ["layercam", "gradcam++"])
def test_a_method_that_is_not_linear_is_refused(zoo, tower, method):
    with pytest.raises(InputError, match=r"not linear in the gradient.*'gradcam'"):
        prepare_maps(MMGrad(tower, LAYER, method=method), zoo.pictures(2), tower)


def test_what_does_not_fit_is_refused(zoo, tower, head):
    mmgrad = MMGrad(tower, LAYER, method="gradcam")
    with pytest.raises(
        InputError, match=r"encode must return embeddings \(B, D\), or these and patches .*, not \(1, 5, 1\)"
    ):
        prepare_maps(mmgrad, zoo.pictures(1), lambda x: tower(x)[..., None])
    prepared = prepare_maps(mmgrad, zoo.pictures(2), tower)
    image, text = prepared.embeddings, torch.ones(2, 5)
    score = score_of(head, image, text)
    with pytest.raises(InputError, match=r"requires_grad_\(\)"):
        attend_prepared(score, image, prepared.operators)
    image = image.clone().requires_grad_()
    with pytest.raises(GradientError, match="does not depend on the embeddings"):
        attend_prepared(score, image, prepared.operators)
    score = score_of(head, image, text)
    with pytest.raises(InputError, match=r"operators must be \(B, h, w, D\)"):
        attend_prepared(score, image, prepared.operators[:1])
    with pytest.raises(GradientError, match="train nothing"):  # the gradient of a sum is constant
        attend_prepared(image.sum(-1), image, prepared.operators, create_graph=True)
