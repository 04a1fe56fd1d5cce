"""What is said of generated triplets, measured the long way round."""

import cv2
import numpy as np
import pytest

from mmgrad_explain.data.scenes.records import DILATE, make_records
from mmgrad_explain.data.scenes.scene import scenes
from mmgrad_explain.data.triplets import Triplet


def _lab(pixels):
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB).astype(float) * (100 / 255, 1, 1)


@pytest.mark.parametrize(("size", "edits"), [(32, 4), (45, 1), (64, 7)])
def test_records(size, edits):
    for index, scene in enumerate(scenes(5, 4, size=size, edits=edits)):
        put = {}

        def keep(folder, name, pixels, put=put):
            assert (folder, name) not in put
            put[folder, name] = pixels
            return f"{folder}/{name}"

        records = make_records(scene, index, keep)
        assert len(records) == edits
        assert put["references", f"{index:07d}"] is scene.reference
        for record, triplet in zip(records, scene.triplets, strict=True):
            read = Triplet.from_record(record)
            assert list(read.to_record().items()) == list(record.items())
            assert put["targets", record["id"]] is triplet.target
            assert np.array_equal(put[tuple(record["target_mask"].split("/"))], triplet.target_mask)
            rows, columns = np.nonzero(triplet.reference_mask)
            left, top, width, height = record["bbox"]
            assert (left, top) == (columns.min(), rows.min())
            assert (left + width - 1, top + height - 1) == (columns.max(), rows.max())
            inside = triplet.reference_mask | triplet.target_mask
            distance = np.sqrt(((_lab(triplet.target) - _lab(scene.reference)) ** 2).sum(2))
            grown = cv2.dilate(inside.astype(np.uint8), np.ones((2 * DILATE + 1,) * 2, np.uint8)) > 0
            assert record["de_in"] == pytest.approx(distance[inside].mean(), abs=0.006)
            assert record["changed_in"] == pytest.approx((distance[inside] > 5).mean(), abs=0.001)
            assert record["de_out"] == pytest.approx(distance[::4, ::4][~grown[::4, ::4]].mean(), abs=0.001)
            change = (_lab(triplet.target) - _lab(scene.reference))[inside].mean(0)
            assert record["mean_shift"] == pytest.approx(np.linalg.norm(change), abs=0.006)
