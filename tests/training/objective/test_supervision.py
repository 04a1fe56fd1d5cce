"""Which triplets get a supervised map."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmgrad_explain.data.batches.batch import encode_batch, take_images
from mmgrad_explain.training.objective.options import GroundingOptions
from mmgrad_explain.training.objective.supervision import draw_rows, masks_of, no_rows
from mmgrad_explain.training.sources.scenes import SceneSource, SceneSourceOptions

SOURCE = SceneSource(32, SceneSourceOptions(pictures=4, edits=2))


def test_add_is_supervised_on_the_target_alone(batch, rng):
    batch = replace(batch, edits=["add", "remove", "recolour"] * 2)
    rows = draw_rows(batch, GroundingOptions(target_side={"recolour": 1.0}), rng())
    assert rows.reference.tolist() == [1, 2, 4, 5]
    assert rows.target.tolist() == [0, 2, 3, 5]
    unknown = replace(batch, supervised=torch.tensor([False, False, True] * 2))
    rows = draw_rows(unknown, GroundingOptions(target_side={"recolour": 0.0}), rng())
    assert (rows.reference.tolist(), rows.target.tolist()) == ([2, 5], [])
    assert rows
    assert not no_rows()
    fewer = draw_rows(batch, GroundingOptions(share=0.5, target_side={"recolour": 1.0}), rng())
    assert len(fewer.every) == 4


@pytest.mark.parametrize("options", [{}, {"share": 0.4}, {"share": 0.7, "consistency": 1.0}])
def test_parts_get_the_rows_that_the_whole_batch_would_draw(tiny_processor, options):
    options = GroundingOptions(**options)
    for seed in range(4):
        whole = SOURCE.batch(seed, 0)
        whole = replace(whole, supervised=whole.supervised & (np.arange(len(whole.texts)) % 3 > 0))
        rng = np.random.default_rng(seed)
        expected = draw_rows(encode_batch(whole, tiny_processor), options, rng, without_masks=True)
        found, masked = [], []
        for first in (0, 2):
            part = encode_batch(take_images(whole, np.array([first, first + 1])), tiny_processor)
            rows = draw_rows(part, options, np.random.default_rng(seed), without_masks=True)
            found.append([side + 2 * first for side in (rows.reference, rows.target)])
            masked.append(rows.supervised[: len(rows.reference)])
        for side, rows in enumerate((expected.reference, expected.target)):
            assert torch.cat([found[0][side], found[1][side]]).tolist() == rows.tolist()
        assert torch.cat(masked).tolist() == expected.supervised[: len(expected.reference)].tolist()


def test_terms_without_masks_look_at_references_whose_region_is_unknown(batch, rng):
    batch = replace(batch, edits=["add", "recolour", "recolour"] * 2, supervised=torch.arange(6) == 1)
    options = GroundingOptions(selfeq=1.0, target_side={"recolour": 1.0})
    rows = draw_rows(batch, options, rng(), without_masks=True)
    assert (rows.reference.tolist(), rows.target.tolist()) == ([1, 2, 4, 5], [1])
    assert rows.supervised.tolist() == [True, False, False, False, True]
    assert masks_of(batch, rows)[1:4].any() == 0
    assert masks_of(batch, rows)[0].equal(batch.reference_masks[1])
    fewer = draw_rows(batch, replace(options, share=0.5), rng(), without_masks=True)
    assert len(fewer.reference) == 2
    assert 1 in fewer.reference.tolist()  # supervised ones first
