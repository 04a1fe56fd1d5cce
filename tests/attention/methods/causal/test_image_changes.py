"""What the methods that run the model again do with the images of a call: one map each, any batch, any arguments."""

import pytest
import torch
from torch import nn

from mmgrad_explain import MMGrad, explain
from mmgrad_explain.attention.methods.causal.occlusion import Occlusion
from mmgrad_explain.attention.methods.causal.path_gradients import IntegratedGradients
from mmgrad_explain.attention.methods.causal.rise import Rise
from mmgrad_explain.errors import InputError

# What random models score may fall everywhere: their signed maps are compared.
pytestmark = pytest.mark.filterwarnings("ignore:.*the map is (empty|flat)")

METHODS = {
    "occlusion": Occlusion(grid=4),
    "rise": Rise(masks=12),
    "pixels": IntegratedGradients(steps=4),
    "layer": IntegratedGradients(steps=4, at="layer"),
}


@pytest.fixture(params=METHODS)
def method(request):
    return METHODS[request.param]


def to_target(output):
    return torch.cosine_similarity(output.embedding, output.target)


def test_reference_and_target_each_have_a_map(zoo, model, method):
    reference, target, ids = zoo.pictures(seed=1), zoo.pictures(seed=2), zoo.ids()
    with zoo.leaves_alone(model):
        found = MMGrad(model, "tower.body", score=to_target, method=method)(reference, ids, target)
    assert found.image_of_calls == (0, 1)
    assert found.image_names == ("image", "target")
    assert len(found.calls) == 2
    assert all(bool(maps.any()) for maps in found.calls)


def test_an_image_that_the_score_does_not_see_has_an_empty_map(zoo, model):
    ran = []
    model.register_forward_hook(lambda *_: ran.append(1))
    of_reference = lambda output: output.embedding[:, 0]  # noqa: E731
    inputs = zoo.pictures(seed=1), zoo.ids(), zoo.pictures(seed=2)
    found = MMGrad(model, score=of_reference, method=Occlusion(grid=8, batch=2))(*inputs)
    assert found.calls[0].any()
    assert not found.calls[1].any()
    assert len(ran) < 80  # 64 squares of the reference, none of the target


def test_a_batch_is_its_samples(zoo, model, method, same_maps):
    image, target, ids = zoo.pictures(3, seed=1), zoo.pictures(3, seed=2), zoo.ids(3)
    mmgrad = MMGrad(model, "tower.body", score=to_target, method=method)
    batch = mmgrad(image, ids, target)
    singles = [mmgrad(image[i, None], ids[i, None], target[i, None]) for i in range(3)]
    for name, of_calls in batch.signed.items():
        for call, maps in enumerate(of_calls):
            same_maps(maps, torch.cat([single.signed[name][call] for single in singles]), share=2e-3)


def test_many_texts_of_one_image(zoo, method, same_maps):
    model, ids = zoo.clip(), zoo.ids(3)
    image = zoo.pictures(1, size=(32, 32))
    layer = "vision_model.encoder.layers.1.layer_norm1"
    repeated = MMGrad(model, layer, method=method)(input_ids=ids, pixel_values=image.expand(3, -1, -1, -1))
    singles = [MMGrad(model, layer, method=method)(input_ids=i[None], pixel_values=image) for i in ids]
    ((name, (maps,)),) = repeated.signed.items()
    same_maps(maps, torch.cat([single.signed[name][0] for single in singles]), share=2e-3)
    assert not torch.allclose(maps[0], maps[1])


def test_texts_of_one_image_are_as_each_by_itself(tiny, picture, method, same_maps):
    texts = ["make it red", "make it large"]
    mmgrad = MMGrad(tiny, method=method)
    together = mmgrad.texts(picture, texts)
    for number, text in enumerate(texts):
        alone = explain(picture, text, model=tiny, method=method)
        for name, (maps,) in together.signed.items():
            same_maps(maps[number, None], alone.signed[name][0], share=2e-3)


class ComparesSamples(nn.Module):
    """Its scores depend on the other samples of the batch."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3, stride=2, padding=1)

    def forward(self, x):
        return self.body(x).tanh().mean((2, 3)).sum(1).softmax(0)


def test_a_model_that_compares_samples_runs_on_its_own_batch(zoo):
    model, x = zoo.build(ComparesSamples), zoo.pictures()
    found = MMGrad(model, "body", method=Occlusion(grid=2, fill="mean"))(x)
    changed = x.clone()
    changed[:, :, :8, 12:] = x.mean((2, 3))[:, :, None, None]
    torch.testing.assert_close(found.signed["x"][0][:, 0, 1], (model(x) - model(changed)).detach())
    integrated = MMGrad(model, "body", method=IntegratedGradients(steps=20, baseline="zero"))(x).signed["x"][0]
    assert integrated.isfinite().all()


class ReadsBytes(nn.Module):
    """Takes images of whole numbers, as from a file."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3, stride=2, padding=1)

    def forward(self, image):
        return self.body(image.float() / 255).square().mean((1, 2, 3))


def test_images_of_whole_numbers(zoo):
    model = zoo.build(ReadsBytes)
    image = torch.randint(0, 256, (2, 3, 16, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = MMGrad(model, "body", method=Occlusion(grid=2, fill="mean"))(image)
    changed = image.clone()
    changed[:, :, 8:, :12] = image.float().mean((2, 3)).round().byte()[:, :, None, None]
    drop = model(image) - model(changed)
    torch.testing.assert_close(found.signed["image"][0][:, 1, 0], drop)
    assert MMGrad(model, "body", method=Rise(masks=8))(image).maps.isfinite().all()
    assert MMGrad(model, "body", method=IntegratedGradients(steps=4, at="layer"))(image).maps.any()
    with pytest.raises(InputError, match=r"whole numbers.*at='layer'"):
        MMGrad(model, "body", method="integrated-gradients")(image)


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(12, 4)

    def forward(self, pixel_values, spatial_shapes=None):
        return self.body(pixel_values).mean((1, 2))


def test_what_cannot_be_changed_is_refused_with_a_way_out(zoo, method):
    model = zoo.build(Packed)
    with pytest.raises(InputError, match=r"packed patches.*layercam"):
        MMGrad(model, "body", method=method, layout=lambda x: x.mT.unflatten(2, (2, 2)))(
            pixel_values=torch.rand(2, 4, 12), spatial_shapes=torch.tensor([[2, 2]] * 2)
        )
    with pytest.raises(InputError, match=r"no argument of the call is an image.*layercam"):
        MMGrad(model, "body", method=method, layout=lambda x: x.mT.unflatten(2, (2, 2)))(torch.rand(2, 4, 12))


class Tiles(nn.Module):
    """One score of four tiles."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3)

    def forward(self, tiles):
        return self.body(tiles).mean()[None]


def test_tiles_of_one_image_are_refused(zoo):
    with pytest.raises(InputError, match="holds 4 images for 1 score"):
        MMGrad(zoo.build(Tiles), method="occlusion")(torch.rand(4, 3, 16, 16))


def test_a_step_of_training_cannot_run_the_model_again(zoo, cnn, x):
    mmgrad = MMGrad(cnn, "late", method="occlusion")
    with mmgrad.capture() as seen:
        score = cnn(x)[:, 0]
    with pytest.raises(InputError, match="mmgrad"):
        mmgrad.attend(score, seen)
