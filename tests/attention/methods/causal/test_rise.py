"""RISE as a method of any model."""

import pytest
import torch

from mmgrad_explain import MMGrad
from mmgrad_explain.attention.methods.causal.rise import Rise
from mmgrad_explain.attention.reruns.rise import rise_map

pytestmark = pytest.mark.filterwarnings("ignore:.*the map is (empty|flat)")


def test_it_is_the_map_of_the_models_own_scores(zoo, cnn, x):
    method = Rise(masks=20, seed=3, cells=4, keep=0.6, fill="mean", batch=6)
    with zoo.leaves_alone(cnn):
        found = MMGrad(cnn, score=zoo.class_score(), method=method)(x)
    cnn = cnn.eval()
    with torch.no_grad():
        expected = rise_map(
            lambda images, _: cnn(images)[:, 1], x, cnn(x)[:, 1],
            masks=20, seed=3, cells=4, keep=0.6, fill="mean", batch=6,
        )  # fmt: skip
    torch.testing.assert_close(found.signed["x"][0], expected, rtol=1e-3, atol=1e-6)
    assert found.layouts["x"] == ("16 x 24 of the image",)


def test_the_name_stands_for_the_defaults(zoo, cnn, x):
    found = MMGrad(cnn, score=zoo.class_score(), method="rise")(x)
    assert found.method == "rise"
    again = MMGrad(cnn, score=zoo.class_score(), method=Rise())(x)
    assert torch.equal(found.maps, again.maps)
