"""Occlusion as a method of any model."""

import pytest
import torch
from torch.nn import functional

from mmgrad_explain import MMGrad
from mmgrad_explain.attention.methods.causal.occlusion import Occlusion

pytestmark = pytest.mark.filterwarnings("ignore:.*the map is (empty|flat)")


def test_it_is_the_drop_of_the_score_square_by_square(zoo, cnn, x):
    grid = (2, 4)
    with zoo.leaves_alone(cnn):
        found = MMGrad(cnn, score=zoo.class_score(2), method=Occlusion(grid=grid, fill="zero", batch=5))(x)
    assert (found.method, found.layouts["x"]) == ("occlusion", ("2 x 4 of the image",))
    cnn = cnn.eval()
    for row in range(2):
        for column in range(4):
            changed = x.clone()
            changed[:, :, 8 * row : 8 * row + 8, 6 * column : 6 * column + 6] = 0
            drop = (cnn(x) - cnn(changed))[:, 2]
            torch.testing.assert_close(found.signed["x"][0][:, row, column], drop.detach(), rtol=1e-4, atol=1e-6)


def test_it_equals_captums(zoo, cnn, x):
    from captum.attr import Occlusion as Captums

    cnn = cnn.eval()
    found = MMGrad(cnn, score=zoo.class_score(), method=Occlusion(grid=(2, 3), fill="mean"))(x).signed["x"][0]
    means = x.mean((2, 3), keepdim=True).expand_as(x)
    theirs = Captums(cnn).attribute(x, (3, 8, 8), (3, 8, 8), baselines=means, target=1)
    torch.testing.assert_close(
        found, functional.avg_pool2d(theirs.mean(1)[:, None], 8)[:, 0].float(), rtol=1e-4, atol=1e-6
    )


def test_two_texts_have_two_maps(zoo, model, image, ids):
    first = MMGrad(model, score=lambda output: output.embedding[:, 0], method=Occlusion(grid=4))
    maps = first(image.expand(3, -1, -1, -1), ids).signed["image"][0]
    assert not torch.allclose(maps[0], maps[1], rtol=1e-2)


@pytest.mark.parametrize(
    ("options", "named"), [({"grid": 0}, "grid"), ({"fill": "noise"}, "fill"), ({"window": 0}, "window")]
)
def test_wrong_options_are_named(cnn, x, zoo, options, named):
    with pytest.raises(ValueError, match=named):
        MMGrad(cnn, score=zoo.class_score(), method=Occlusion(**options))(x)
