"""Which triplets get a supervised map."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmgrad_explain.data.batches.batch import encode_batch, take_images
from mmgrad_explain.training.objective.options import GroundingOptions
from mmgrad_explain.training.objective.supervision import draw_rows, no_rows
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
    assert len(torch.cat(fewer)) == 4


@pytest.mark.parametrize("options", [{}, {"share": 0.4}, {"share": 0.7, "consistency": 1.0}])
def test_parts_get_the_rows_that_the_whole_batch_would_draw(tiny_processor, options):
    options = GroundingOptions(**options)
    for seed in range(4):
        whole = SOURCE.batch(seed, 0)
        expected = draw_rows(encode_batch(whole, tiny_processor), options, np.random.default_rng(seed))
        found = []
        for first in (0, 2):
            part = encode_batch(take_images(whole, np.array([first, first + 1])), tiny_processor)
            found.append([rows + 2 * first for rows in draw_rows(part, options, np.random.default_rng(seed))])
        for side, rows in enumerate(expected):
            assert torch.cat([found[0][side], found[1][side]]).tolist() == rows.tolist()
