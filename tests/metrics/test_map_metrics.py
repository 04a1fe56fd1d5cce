"""Localization, faithfulness and agreement over a data set, against the pure functions and other libraries."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score, roc_auc_score

from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics import (
    MAP_FIGURES,
    AgreementMetric,
    FaithfulnessMetric,
    LocalizationMetric,
    deletion_insertion,
    measure_maps,
    rank_correlation,
)


def samples(count, side=12):
    maps = torch.rand(count, side, side)
    masks = torch.zeros(count, side, side, dtype=torch.bool)
    for i in range(count):
        masks[i, i % 4 : i % 4 + 5, 2:8] = True
    return maps, masks


def test_it_has_every_figure_of_the_list():
    assert set(LocalizationMetric.figures) == {figure.name for figure in MAP_FIGURES}


def test_batches_give_what_the_pure_functions_give():
    maps, masks = samples(7)
    metric = LocalizationMetric().update(maps[:3], masks[:3]).update(maps[3:], masks[3:])
    for name, values in measure_maps(maps, masks, full_size=True).items():
        torch.testing.assert_close(metric.samples()[name], values.double())
        assert float(metric.compute()[name]) == pytest.approx(float(values.mean()), abs=1e-6)
    assert metric.compute()["contrast"].isnan()
    assert pickle.loads(pickle.dumps(metric)).compute()["energy"] == metric.compute()["energy"]


def test_images_of_different_sizes_and_maps_on_a_grid():
    grid = torch.zeros(2, 2)
    grid[0, 0] = 1
    masks = [torch.zeros(8, 12, dtype=torch.bool), torch.zeros(20, 10, dtype=torch.bool)]
    masks[0][:4, :6] = True
    masks[1][10:, 5:] = True
    found = LocalizationMetric().update([grid, grid], masks).samples()
    assert found["pointing"].tolist() == [1, 0]
    expected = torch.nn.functional.interpolate(grid[None, None], size=(8, 12), mode="bilinear")[0]
    assert found["energy"][0] == pytest.approx(float(measure_maps(expected, masks[0][None])["energy"]))


def test_contrast_needs_two_regions_with_pixels_of_their_own():
    maps = torch.zeros(4, 4, 4)
    maps[:, 0, 0] = 1
    own, other, none = torch.zeros(3, 4, 4, dtype=torch.bool)
    own[0, :2] = other[3, 2:] = True
    found = LocalizationMetric().update(maps, [own, other, own, own], [other, own, none, own]).samples()["contrast"]
    assert found[:2].tolist() == [1, 0]
    assert found[2:].isnan().all()


def test_scikit_learn_has_the_same_auc_and_iou():
    maps, masks = samples(5)
    found = LocalizationMetric().update(maps, masks).samples()
    for i, (heat, mask) in enumerate(zip(maps.numpy(), masks.numpy(), strict=True)):
        assert found["auc"][i] == pytest.approx(roc_auc_score(mask.ravel(), heat.ravel()), abs=1e-6)
        bright = heat >= 0.5 * heat.max()
        assert found["iou"][i] == pytest.approx(jaccard_score(mask.ravel(), bright.ravel()), abs=1e-6)


def test_quantus_has_the_same_pointing_energy_and_auc():
    quantus = pytest.importorskip("quantus")
    maps, masks = samples(5)
    found = LocalizationMetric().update(maps, masks).samples()
    options = {"abs": False, "normalise": False, "disable_warnings": True}
    theirs = {
        "pointing": quantus.PointingGame(**options),
        "energy": quantus.AttributionLocalisation(positive_attributions=True, **options),
        "auc": quantus.AUC(**options),
    }
    heat, inside = maps[:, None].numpy().astype(np.float64), masks[:, None].numpy()
    images = np.zeros_like(heat)
    for name, metric in theirs.items():
        values = metric(
            model=None, x_batch=images, y_batch=np.zeros(5), a_batch=heat, s_batch=inside, channel_first=True
        )
        np.testing.assert_allclose(found[name].numpy(), np.asarray(values, np.float64).ravel(), atol=1e-6)


@pytest.mark.parametrize(
    ("maps", "masks", "message"),
    [
        (torch.ones(2, 3, 3), torch.ones(1, 3, 3), "one mask a map: 2 maps, 1 masks$"),
        (-torch.ones(1, 3, 3), torch.ones(1, 3, 3), "at least 0 everywhere, without NaN"),
        (torch.full((1, 3, 3), torch.nan), torch.ones(1, 3, 3), "at least 0 everywhere, without NaN"),
        (torch.ones(1, 1, 3, 3), torch.ones(1, 3, 3), r"must be \(h, w\), got \(1, 3, 3\) and \(3, 3\)"),
    ],
)
def test_maps_that_cannot_be_measured(maps, masks, message):
    with pytest.raises(InputError, match=message):
        LocalizationMetric().update(maps, masks)


# ----------------------------------------------------------------------------------------------------- faithfulness


def corner(images, _index):
    """A score that sees only the upper left quarter."""
    return images[:, :, :4, :4].mean((1, 2, 3))


def test_deletion_and_insertion_are_those_of_the_pure_function():
    images = torch.rand(4, 3, 8, 8)
    right = torch.zeros(4, 4, 4)
    right[:, :2, :2] = 1
    metric = FaithfulnessMetric(fill="zero", steps=8).update(corner, images, right)
    curves = deletion_insertion(corner, images, right, fill="zero", steps=8)
    for name in metric.figures:
        torch.testing.assert_close(metric.samples()[name], getattr(curves, name))
    assert metric.compute()["deletion_gain"] > 0.1
    assert FaithfulnessMetric().update(curves).compute().keys() == metric.compute().keys()


def test_a_map_that_shows_the_other_places_has_a_loss():
    images = torch.rand(4, 3, 8, 8)
    wrong = torch.ones(4, 4, 4)
    wrong[:, :2, :2] = 0
    found = FaithfulnessMetric(fill="zero").update(corner, images, wrong).intervals()
    assert found["deletion_gain"].high < 0
    assert found["insertion_gain"].high < 0


def test_what_faithfulness_needs():
    with pytest.raises(InputError, match="a score, images and maps, or a Perturbation alone"):
        FaithfulnessMetric().update(corner)
    two = deletion_insertion(lambda x, _: x.mean((2, 3))[:, :2], torch.rand(1, 3, 8, 8), torch.rand(1, 4, 4))
    with pytest.raises(InputError, match=r"one number an image, \(N,\): it gave \(2,\)"):
        FaithfulnessMetric().update(two)


# -------------------------------------------------------------------------------------------------------- agreement


def test_agreement_is_the_rank_correlation():
    maps, others = torch.rand(3, 5, 5), torch.rand(3, 5, 5)
    found = AgreementMetric().update(maps, others).samples()["correlation"]
    torch.testing.assert_close(found, rank_correlation(maps, others).double())
    assert AgreementMetric().update(maps, maps**3).compute()["correlation"] == pytest.approx(1)


def test_agreement_of_maps_on_two_grids():
    coarse = torch.rand(2, 3, 3)
    fine = torch.nn.functional.interpolate(coarse[:, None], size=(9, 9), mode="bilinear")[:, 0]
    assert AgreementMetric().update(fine, coarse).compute()["correlation"] == pytest.approx(1)
    with pytest.raises(InputError, match="of one batch"):
        AgreementMetric().update(fine, coarse[:1])
