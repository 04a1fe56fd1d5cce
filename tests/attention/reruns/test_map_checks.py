"""Checks of maps against what a model really does, on models whose truth is known."""

import warnings
from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch import nn

from mmgrad_explain.attention.mmgrad import MultiModalGradAttention
from mmgrad_explain.attention.reruns.map_checks import correlate
from mmgrad_explain.errors import InputError, MMGradWarning


class Quadrants(nn.Module):
    """Scores the mean brightness of the quadrants that the text names; ``grid`` is a grid of the image."""

    def __init__(self):
        super().__init__()
        self.grid = nn.Conv2d(3, 2, 4, stride=4, bias=False)
        self.register_buffer("places", torch.eye(4).view(4, 2, 2).repeat_interleave(4, 1).repeat_interleave(4, 2))
        nn.init.constant_(self.grid.weight, 0.1)

    def forward(self, image, text):
        where = (text[:, :, None, None] * self.places).sum(1)
        return (self.grid(image).mean(1) * where).sum((1, 2))


@pytest.fixture
def images():
    """A bright square in each quadrant, of another brightness in each image."""
    spots = torch.zeros(3, 3, 32, 32)
    for row, column in ((4, 4), (4, 20), (20, 4), (20, 20)):
        spots[:, :, row : row + 8, column : column + 8] = 1
    return spots * torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1, 1)


@pytest.fixture
def mmgrad():
    return MultiModalGradAttention(Quadrants(), "grid", lambda output: output, method="layercam")


def _wrong(explanation):
    maps = explanation.maps.flip(1, 2)
    return replace(explanation, calls=(maps,))


def test_a_right_map_stands_and_a_wrong_one_fails(mmgrad, images):
    made = mmgrad(images, torch.eye(4)[:3])
    checks = made.check()
    assert [check.verdict for check in checks] == ["good"] * 3
    assert min(check.occlusion for check in checks) > 0.4
    assert min(check.deletion for check in checks) > 0
    assert min(check.text for check in checks) > 0.5
    assert {check.other_text for check in checks} == {"the text of the next sample"}
    wrong = _wrong(made).check()
    assert [check.verdict for check in wrong] == ["fails"] * 3
    assert all(check.occlusion < 0 for check in wrong)


def test_figures_of_a_batch_are_those_of_single_calls(mmgrad, images):
    together = mmgrad(images, torch.eye(4)[:3]).check(2)[0]
    alone = mmgrad(images[2:], torch.eye(4)[2:3]).check(other={"text": torch.eye(4)[:1]})[0]
    assert together.drops == pytest.approx(torch.tensor(alone.drops), abs=1e-5)
    assert (together.occlusion, together.lowers) == pytest.approx((alone.occlusion, alone.lowers), abs=1e-5)
    assert (together.sample, alone.sample, alone.other_text) == (2, 0, "the text that was passed")


def test_the_explanation_remembers_its_checks_and_every_copy_can_be_checked(mmgrad, images):
    made = mmgrad(images, torch.eye(4)[:3])
    photo = Image.new("RGB", (32, 32))
    copy = made.to("cpu").attach_images(photo)
    assert made.check_of(1) is None
    (check,) = copy.check(-2)
    assert copy.check_of(1) == check
    assert check.sample == 1
    assert copy.check_of(0) is None
    assert copy.manifest()["checks"] == [check.to_dict()]


def test_a_map_that_ignores_the_text_is_doubtful(images):
    class Deaf(Quadrants):
        def forward(self, image, text):
            return super().forward(image, torch.ones_like(text) * torch.tensor([1.0, 0, 0, 0]))

    made = MultiModalGradAttention(Deaf(), "grid", lambda output: output, method="layercam")(images, torch.eye(4)[:3])
    check = made.check(0)[0]
    assert (check.verdict, check.text) == ("doubtful", 0)
    assert "hardly changes with the text (0)" in str(check)


def test_without_another_text_the_figure_is_left_out_with_the_way_out(mmgrad, images):
    check = mmgrad(images[:1], torch.eye(4)[:1]).check()[0]
    assert check.text is None
    assert "no other is in the batch: pass other=" in dict(check.missing)["text"]
    with pytest.raises(InputError, match="other= is a string where the explanation was made of strings"):
        mmgrad(images[:1], torch.eye(4)[:1]).check(other="a dog")


def test_a_model_that_has_changed_since_is_refused(mmgrad, images):
    made = mmgrad(images, torch.eye(4)[:3])
    with torch.no_grad():
        mmgrad.model.grid.weight.mul_(1.5)
    with pytest.raises(InputError, match="the model or its inputs have changed since these maps were made"):
        made.check()


def test_a_score_that_ignores_the_image_has_no_agreement(images):
    warnings.simplefilter("ignore", MMGradWarning)

    class Blind(Quadrants):
        def forward(self, image, text):
            return super().forward(image, text) * 0 + text.sum(1)

    made = MultiModalGradAttention(Blind(), "grid", lambda output: output)(images, torch.eye(4)[:3])
    check = made.check(0)[0]
    assert (check.occlusion, check.verdict) == (None, "fails")
    assert dict(check.missing)["occlusion"] == "the score does not change when any part of the image is hidden"


def test_the_model_comes_back_as_it_was(mmgrad, images):
    mmgrad.model.train()
    before = {name: value.clone() for name, value in mmgrad.model.state_dict().items()}
    state = torch.random.get_rng_state()
    mmgrad(images, torch.eye(4)[:3]).check()
    assert mmgrad.model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in mmgrad.model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in mmgrad.model.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not mmgrad.model.grid._forward_hooks


def test_correlation_is_pearsons_over_the_cells_of_the_image():
    first, second = torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(0))
    expected = torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1]
    assert correlate(first, second) == pytest.approx(float(expected), abs=1e-6)
    cells = torch.zeros(5, 6, dtype=torch.bool)
    cells[:2] = True
    expected = torch.corrcoef(torch.stack([first[:2].flatten(), second[:2].flatten()]))[0, 1]
    assert correlate(first, second, cells) == pytest.approx(float(expected), abs=1e-6)
    assert correlate(torch.ones(2, 2), second[:2, :2]) == 0
    assert correlate(first, torch.ones(5, 6)) is None


def test_deletion_is_a_share_of_all_scores_that_were_seen():
    """Half of the texture raises the score as much as the other half lowers it: single cells hardly move it."""

    class Halves(nn.Module):
        def __init__(self):
            super().__init__()
            self.grid = nn.Conv2d(3, 2, 4, stride=4, bias=False)
            nn.init.constant_(self.grid.weight, 0.1)

        def forward(self, image):
            power = self.grid(image.square()).mean(1)
            return power[:, :, :4].mean((1, 2)) - power[:, :, 4:].mean((1, 2))

    texture = (torch.arange(32)[:, None] + torch.arange(32)).remainder(2).mul(2.0).sub(1).expand(1, 3, 32, 32)
    made = MultiModalGradAttention(Halves(), "grid", lambda output: output, method="layercam")(texture)
    (check,) = made.check()
    assert 0.2 < check.deletion <= 1
