"""Half precision and memory formats, through every door, on each device that is there."""

import pytest
import torch

from mmgrad_explain import MMGrad, candidate_layers
from mmgrad_explain.errors import GradientError

pytestmark = pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")

DOORS = ("call", "capture", "texts", "words", "captum")
ROUNDING = {torch.bfloat16: 0.05, torch.float16: 0.01}


def alike(found, expected, share):
    """Equal to within a share of the largest value."""
    assert found.dtype == torch.float32
    assert found.shape == expected.shape
    assert expected.abs().max() > 0
    assert (found - expected).abs().max() <= share * expected.abs().max()


@pytest.fixture
def model(zoo, device):
    return zoo.build(zoo.TwoInput).to(device)


@pytest.fixture
def image(zoo, device):
    return zoo.pictures(1).to(device)


@pytest.fixture
def ids(zoo, device):
    return zoo.ids(3).to(device)


@pytest.fixture
def expected(zoo, model, image, ids):
    found = zoo.by_plain_autograd(model, image, ids)
    return {door: found["words" if door == "words" else "maps"] for door in DOORS}


@pytest.mark.parametrize("door", DOORS)
def test_every_door_gives_the_plain_gradient(zoo, model, image, ids, expected, door):
    with zoo.leaves_alone(model):
        alike(zoo.through(door, model, image, ids), expected[door], 1e-4)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("dtype", ROUNDING)
def test_autocast(zoo, model, image, ids, expected, device, door, dtype):
    with zoo.leaves_alone(model), torch.autocast(device.type, dtype):
        found = zoo.through(door, model, image, ids)
        assert torch.is_autocast_enabled(device.type)
    alike(found, expected[door], ROUNDING[dtype])
    assert not torch.allclose(found, expected[door], rtol=1e-6, atol=0), "half precision is half precision"


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("dtype", ROUNDING)
def test_weights_in_half_precision(zoo, model, image, ids, expected, door, dtype):
    model = model.to(dtype)
    with zoo.leaves_alone(model):
        found = zoo.through(door, model, image.to(dtype), ids)
    alike(found, expected[door], ROUNDING[dtype])


@pytest.mark.parametrize("dtype", ROUNDING)
def test_a_layer_is_found_in_half_precision(zoo, model, image, ids, device, dtype):
    score = lambda output: output.embedding[:, 0]  # noqa: E731
    batch = image.expand(3, -1, -1, -1)
    with torch.autocast(device.type, dtype):
        cast = candidate_layers(model, batch, ids, score=score)
    half = candidate_layers(model.to(dtype), batch.to(dtype), ids, score=score)
    for found in (cast, half):
        assert [one.name for one in found if one.chosen] == ["tower"]


def test_the_gradient_of_an_autocast_step_is_scaled_and_comes_back(zoo, model, image, ids, device):
    """A loss on the maps under a gradient scaler: the step is that of full precision, to within rounding."""
    batch, steps = image.expand(3, -1, -1, -1), []
    for cast in (False, True):
        model.zero_grad()
        mmgrad = MMGrad(model, "tower.body")
        scaler = torch.amp.GradScaler(device.type, init_scale=1024.0, enabled=cast)
        with torch.autocast(device.type, torch.float16, enabled=cast):
            with mmgrad.capture() as seen:
                output = model(batch, ids).embedding
            maps = mmgrad.attend(output[:, 0], seen, create_graph=True, relu=False)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        scaler.scale(output.float().square().mean() + maps.square().mean()).backward()
        scaler.unscale_(optimizer)
        steps.append(torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None]))
    alike(steps[1], steps[0], 0.02)


def test_a_map_that_overflows_raises(zoo, model, image, ids):
    with pytest.raises(GradientError, match=r"not finite for samples \[0, 1, 2\].*try bfloat16 or float32"):
        MMGrad(model.half(), "tower.body", lambda output: output.embedding[:, 0] * 1e6)(
            image.half().expand(3, -1, -1, -1), ids
        )


@pytest.mark.parametrize("door", DOORS)
def test_channels_last(zoo, model, image, ids, expected, door):
    model = model.to(memory_format=torch.channels_last)
    image = image.contiguous(memory_format=torch.channels_last)
    seen = []
    handle = model.tower.body.register_forward_hook(lambda _m, _i, output: seen.append(output))
    with zoo.leaves_alone(model):
        alike(zoo.through(door, model, image, ids), expected[door], 1e-4)
    handle.remove()
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in seen)


@pytest.mark.parametrize("door", DOORS)
def test_another_default_dtype(zoo, model, image, ids, expected, door):
    torch.set_default_dtype(torch.bfloat16)
    try:
        found = zoo.through(door, model, image, ids)
    finally:
        torch.set_default_dtype(torch.float32)
    alike(found, expected[door], 1e-4)
