"""Figures on triplets of images: folders, floors by hand, and a model with the right answer."""

import math

import numpy as np
import pytest

from mmgrad_explain.errors import InputError
from mmgrad_explain.evaluation.maps import IMAGE_ONLY, MapKind, default_kind
from mmgrad_explain.evaluation.triplet_inputs import PhotoTriplet
from mmgrad_explain.evaluation.triplets import evaluate_triplets, floor_figures, triplet_faithfulness
from mmgrad_explain.metrics.map_figures import figure_names


def test_a_model_that_looks_right(triplets, colours):
    kinds = [MapKind("shift", "gradcam"), MapKind(IMAGE_ONLY, "gradcam")]
    found = evaluate_triplets(colours, triplets, kinds=kinds, batch=2)
    right = found.maps["shift, gradcam"]
    assert tuple(right) == figure_names(full_size=True)
    assert right["pointing"].tolist() == [1.0, 1.0, 1.0]  # the added square is looked for on the target
    assert right["dead"].tolist() == [0.0, 0.0, 0.0]
    assert (right["auc"] > 0.95).all()
    assert (right["energy"] > 0.5).all()
    assert found.contrast["shift, gradcam"].tolist() == [1.0, 1.0]
    assert found.contrast_of.tolist() == [0, 1]
    assert sum(found.contrast["image only, gradcam"].tolist()) == 1.0
    assert found.on_target.tolist() == [False, False, True]
    assert found.by_edit(right["pointing"]) == {"add": 1.0, "recolour": 1.0}
    assert found.means("shift, gradcam")["contrast"] == 1.0
    assert math.isnan(found.means("shift, gradcam", found.on_target)["contrast"])
    assert found.means("shift, gradcam", found.on_target)["pointing"] == 1.0
    assert found.gallery == 5
    assert found.notices == ["seen"]
    assert found.recall.shape == found.sibling_recall.shape == (3,)
    assert (found.sibling_recall >= found.recall).all()


def test_the_bundled_kind_of_model_goes_the_same_way(tiny, triplets):
    found = evaluate_triplets(tiny, triplets)
    assert list(found.maps) == [default_kind(tiny).name]
    assert all(values.isfinite().all() for values in found.maps[default_kind(tiny).name].values())


def test_floors_by_hand(triplets):
    floors = floor_figures(triplets)
    assert list(floors) == ["random pixel", "image centre", "best fixed point", "centre Gaussian"]
    share = 144 / (32 * 64)
    random = floors["random pixel"]
    assert random.maps["random pixel"]["pointing"].tolist() == pytest.approx([share] * 3)
    assert random.contrast["random pixel"].tolist() == [0.5, 0.5]
    assert floors["image centre"].maps["image centre"]["pointing"].tolist() == [0.0, 0.0, 0.0]
    assert floors["best fixed point"].maps["best fixed point"]["pointing"].tolist() == [0.0, 1.0, 1.0]
    gaussian = floors["centre Gaussian"]
    assert gaussian.maps["centre Gaussian"]["pointing"].tolist() == [0.0, 0.0, 0.0]
    assert gaussian.contrast["centre Gaussian"].sum() == 1.0
    assert gaussian.contrast.keys() == {"centre Gaussian"}


def test_faithfulness_leaves_out_triplets_that_are_measured_on_the_target(triplets, colours):
    kind = MapKind("shift", "gradcam")
    found = triplet_faithfulness(colours, triplets, kinds=[kind], steps=8)
    assert len(found[kind].randomized) == 2
    assert (found[kind].shift["deletion"] > 0.2).all()
    assert (found[kind].shift["insertion"] > 0.2).all()
    with pytest.raises(InputError, match="triplets: none is measured on its reference"):
        triplet_faithfulness(colours, triplets[2:])


def test_regions_that_touch_are_still_disjoint(triplets, colours):
    touching = triplets[0].mask.copy()
    touching[12, 46] = True
    a = PhotoTriplet(**{**vars(triplets[0]), "mask": touching})
    assert len(evaluate_triplets(colours, [a, triplets[1]]).contrast_of) == 2
    touching[10:22, 46:50] = True
    other_size = PhotoTriplet(
        **{**vars(triplets[2]), "on_target": False, "reference_name": "p", "mask": np.ones((8, 8), bool)}
    )
    assert len(floor_figures([a, triplets[1]])["random pixel"].contrast_of) == 0
    assert len(floor_figures([triplets[1], other_size])["random pixel"].contrast_of) == 0


def test_what_does_not_fit_is_refused(triplets, colours):
    with pytest.raises(InputError, match="triplets: there are none"):
        evaluate_triplets(colours, [])
    small = PhotoTriplet(**{**vars(triplets[0]), "mask": np.ones((8, 16), bool)})
    with pytest.raises(InputError, match="triplet a: the mask is 16 x 8 pixels, its image 64 x 32"):
        evaluate_triplets(colours, [small])
