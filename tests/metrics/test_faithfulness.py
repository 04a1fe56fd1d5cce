"""Deletion, insertion and randomized weights, where the answer is known."""

import itertools

import pytest
import torch
from torch import nn

from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics.faithfulness import (
    deletion_insertion,
    fill_images,
    parameter_randomization,
    rank_correlation,
)

WEIGHTS = torch.tensor([[4.0, 3.0], [2.0, 1.0]])


def linear(images, index):
    """The sum of all pixels under fixed weights: deleting a pixel takes its own share, whatever is there besides."""
    return (images[:, 0] * WEIGHTS).sum((1, 2))


def test_areas_of_a_linear_score_by_hand():
    ones = torch.ones(1, 1, 2, 2)
    found = deletion_insertion(linear, ones, WEIGHTS[None], fill="zero", steps=4, draws=50)
    # Deletion 10, 6, 3, 1, 0 and insertion 0, 4, 7, 9, 10 by the trapezoidal rule.
    assert found.deletion.tolist() == pytest.approx([(10 / 2 + 6 + 3 + 1) / 4])
    assert found.insertion.tolist() == pytest.approx([(4 + 7 + 9 + 10 / 2) / 4])
    # What goes by deletion comes by insertion; a random order is half of all on average.
    assert (found.random_deletion + found.random_insertion).tolist() == pytest.approx([10.0])
    assert found.random_deletion.tolist() == pytest.approx([5.0], abs=0.3)
    assert found.deletion_gain.tolist() == pytest.approx([float(found.random_deletion) - 3.75])
    assert found.insertion_gain.tolist() == pytest.approx([6.25 - float(found.random_insertion)])


def test_no_order_beats_the_gradient_times_input_of_a_linear_score():
    ones = torch.ones(1, 1, 2, 2)
    areas = {
        order: float(deletion_insertion(linear, ones, torch.tensor(order).view(1, 2, 2), fill="zero", steps=4).deletion)
        for order in itertools.permutations([1.0, 2.0, 3.0, 4.0])
    }
    assert min(areas, key=areas.get) == (4.0, 3.0, 2.0, 1.0)
    assert max(areas, key=areas.get) == (1.0, 2.0, 3.0, 4.0)


def test_samples_scores_and_batches_do_not_mix():
    images = torch.rand(3, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    maps = torch.rand(3, 2, 2, generator=torch.Generator().manual_seed(1))
    factor = torch.tensor([1.0, 10.0, 100.0])

    def both(changed, index):
        score = linear(changed, index) * factor[index]
        return torch.stack([score, -score], 1)

    together = deletion_insertion(both, images, maps, fill="zero", steps=4, batch=4)
    assert together.deletion.shape == (3, 2)
    torch.testing.assert_close(together.deletion[:, 0], -together.deletion[:, 1])
    for i in range(3):
        alone = deletion_insertion(linear, images[i : i + 1], maps[i : i + 1], fill="zero", steps=4)
        torch.testing.assert_close(together.deletion[i, 0], float(factor[i]) * alone.deletion[0])


def test_a_coarse_map_is_resized_to_the_image_and_a_flat_one_is_uninformative():
    def left_half(images, index):
        return images[:, 0, :, :4].mean((1, 2))

    ones = torch.ones(1, 1, 8, 8)
    knows = deletion_insertion(left_half, ones, torch.tensor([[[1.0, 0.0]]]), fill="zero", steps=8)
    assert knows.deletion.tolist() == pytest.approx([0.25])  # all of it is gone at half of the picture
    flat = deletion_insertion(left_half, ones, torch.zeros(1, 2, 2), fill="zero", steps=8)
    assert flat.deletion.tolist() == pytest.approx([0.5], abs=0.08)


def test_equal_seeds_and_the_global_generator():
    images, maps = torch.rand(2, 1, 8, 8), torch.rand(2, 2, 2)
    score = lambda changed, index: changed.var((1, 2, 3))  # noqa: E731
    state = torch.get_rng_state()
    one, two = (deletion_insertion(score, images, maps, seed=4) for _ in range(2))
    assert torch.equal(one.random_deletion, two.random_deletion)
    assert torch.equal(torch.get_rng_state(), state)


def test_fills():
    images = torch.rand(2, 3, 12, 10, generator=torch.Generator().manual_seed(0))
    assert fill_images(images, "zero").count_nonzero() == 0
    torch.testing.assert_close(fill_images(images, "mean")[1, 2, 3, 4], images[1, 2].mean())
    blurred = fill_images(images, "blur")
    assert blurred.shape == images.shape
    assert blurred.var((2, 3)).max() < 0.3 * images.var((2, 3)).min()
    torch.testing.assert_close(fill_images(torch.ones(1, 3, 4, 4), "blur"), torch.ones(1, 3, 4, 4))
    assert fill_images(images, images) is images


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fill": "blurr"}, "fill: there is no 'blurr'; did you mean 'blur'"),
        ({"fill": torch.zeros(1, 1, 3, 3)}, r"fill must have the images' shape \(1, 1, 2, 2\), not \(1, 1, 3, 3\)"),
        ({"steps": 0}, "steps and draws must be at least 1, got 0 and 1"),
        ({"maps": torch.zeros(2, 2, 2)}, r"of one batch, got \(1, 1, 2, 2\) and \(2, 2, 2\)"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    arguments = {"images": torch.ones(1, 1, 2, 2), "maps": WEIGHTS[None], **options}
    with pytest.raises(InputError, match=message):
        deletion_insertion(linear, **arguments)


class Two(nn.Module):
    """A model in two parts, of which the maps hang on the first only; with a constant that must stay finite."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.second = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.ones(()))

    def maps(self):
        picture = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        return (self.first(picture)[:, 0] * self.scale).relu()


def test_maps_that_depend_on_the_weights_change_and_the_model_does_not():
    torch.manual_seed(0)
    model = Two()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    found = parameter_randomization(model, Two.maps, ["second", "first"])
    assert list(found) == ["second", "first"]
    assert found["second"].tolist() == pytest.approx([1.0] * 3)
    assert (found["first"] < 0.9).all()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    everything = parameter_randomization(model, Two.maps)
    assert list(everything) == ["all"]
    assert not torch.equal(everything["all"], parameter_randomization(model, Two.maps, seed=1)["all"])


def test_maps_that_ignore_the_weights_are_found_out():
    """A map that only shows the picture keeps its ranks whatever the weights are."""
    picture = torch.rand(2, 4, 4)
    assert parameter_randomization(Two(), lambda model: picture)["all"].tolist() == pytest.approx([1.0, 1.0])


def test_a_single_parameter_is_a_part_and_an_unknown_one_is_refused():
    assert list(parameter_randomization(Two(), Two.maps, ["scale"])) == ["scale"]
    with pytest.raises(InputError, match="parts: 'third' has no parameters in this model; its parts are first, scale"):
        parameter_randomization(Two(), Two.maps, ["third"])


def test_rank_correlation_by_hand():
    first = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]])
    assert rank_correlation(first, first**3).tolist() == pytest.approx([1.0])
    assert rank_correlation(first, -first).tolist() == pytest.approx([-1.0])
    assert rank_correlation(first, torch.zeros_like(first)).tolist() == [0.0]
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5.
    tied = torch.tensor([[[0.0, 5.0, 5.0, 9.0]]])
    assert rank_correlation(tied, first).tolist() == pytest.approx([4.5 / (4.5 * 5.0) ** 0.5])
    with pytest.raises(ValueError, match=r"must both be \(B, h, w\)"):
        rank_correlation(first, first[0])
