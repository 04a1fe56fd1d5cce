"""Attention rollout against its product in plain float64."""

import importlib.util
from pathlib import Path

import pytest
import torch

from mmgrad_explain import MMGrad

_SPEC = importlib.util.spec_from_file_location("plain", Path(__file__).with_name("plain_relevancy.py"))
plain = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(plain)


@pytest.mark.parametrize(("pool", "prefix"), [("token", 1), ("mean", 0)])
def test_it_is_the_product_of_normalised_rows(zoo, pool, prefix):
    model, x = zoo.build(zoo.ViT, depth=2, pool=pool, prefix=prefix), zoo.pictures(3)
    with zoo.leaves_alone(model):
        found = MMGrad(model, score=zoo.class_score(), method="attention-rollout")(x)
    seen = plain.watch(model, zoo.class_score(), lambda one: one(x.double()))
    totals = [plain.rollout(seen, sample) for sample in range(3)]
    rows = torch.stack([total[0] if prefix else total.mean(0) for total in totals])
    torch.testing.assert_close(found.maps.double(), rows[:, prefix:].unflatten(1, (2, 3)), rtol=1e-4, atol=1e-6)


def test_it_says_that_it_knows_no_score_and_no_text(zoo):
    model, x = zoo.clip(), zoo.pictures(1, (32, 32))
    mmgrad = MMGrad(model, method="attention-rollout")
    first = mmgrad(pixel_values=x, input_ids=torch.tensor([[1, 2, 19]]))
    second = mmgrad(pixel_values=x, input_ids=torch.tensor([[5, 7, 19]]))
    assert torch.equal(first.maps, second.maps)
    assert "does not know the score, and the text only" in str(first.notes[0])


def test_it_can_be_differentiated(zoo, x):
    model = zoo.build(zoo.ViT, depth=2)
    mmgrad = MMGrad(model, score=zoo.class_score(), method="attention-rollout")
    expected = mmgrad(x).maps
    with mmgrad.capture() as seen:
        score = zoo.class_score()(model(x))
    maps = mmgrad.attend(score, seen, create_graph=True)
    torch.testing.assert_close(maps.detach(), expected)
    maps[:, 0, 0].sum().backward()
    assert model.blocks[0].qkv.weight.grad.abs().max() > 0
