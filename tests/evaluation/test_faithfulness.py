"""Faithfulness of a composer's maps: shapes, ends of the curves, and a model that stays unchanged."""

import pytest
import torch
from torch.nn import functional as F

from mmgrad_explain.data.batches.scenes import scene_batch
from mmgrad_explain.evaluation.faithfulness import collect_candidates, measure_faithfulness
from mmgrad_explain.evaluation.maps import MapKind, unit_embeddings
from mmgrad_explain.evaluation.scenes import model_inputs

KINDS = [MapKind("shift", "gradcam"), MapKind("shift", "hirescam")]


@pytest.fixture
def tensors(tiny):
    return model_inputs(scene_batch(3, 0, 2, tiny.processor, edits=3))


def test_faithfulness_of_a_model(tiny, tensors):
    with torch.no_grad():
        output = tiny(**tensors)
    _, targets, references = unit_embeddings(output)
    candidates = torch.stack([targets, references], 1)
    before = {name: value.clone() for name, value in tiny.state_dict().items()}
    found = measure_faithfulness(tiny, tensors, KINDS[:2], candidates, steps=3, batch=5)
    assert list(found) == KINDS[:2]
    one = found[KINDS[0]]
    assert one.areas["deletion"].shape == one.areas["insertion"].shape == (6, 2)
    assert one.shift["deletion"].shape == one.retrieval["insertion"].shape == one.randomized.shape == (6,)
    assert ((one.areas["deletion"][:, 1] >= 0) & (one.areas["deletion"][:, 1] <= 1)).all()
    assert all(torch.equal(value, before[name]) for name, value in tiny.state_dict().items())
    # With the whole picture, the shift is along itself: both curves have an end at 1.
    sharp = measure_faithfulness(tiny, tensors, KINDS[:1], candidates, steps=1)[KINDS[0]]
    blurred = 2 * sharp.areas["deletion"][:, 0] - 1
    torch.testing.assert_close(sharp.areas["insertion"][:, 0], (1 + blurred) / 2)
    near = (F.normalize(output.embedding, dim=-1)[:, None] * candidates).sum(-1)
    right = (near[:, 0] > near[:, 1]).double()
    rest = 2 * sharp.areas["deletion"][:, 1] - right  # what is found without the picture: yes or no
    assert ((rest.abs() < 1e-6) | ((rest - 1).abs() < 1e-6)).all()


def test_candidates_have_the_right_one_first_and_are_filled_up():
    targets, references = torch.eye(4), -torch.eye(4)
    found = collect_candidates(targets, references, torch.tensor([0, 0, 1, 0]))
    assert found.shape == (4, 4, 4)
    for i, expected in enumerate(
        [
            [targets[0], targets[1], targets[3], references[0]],
            [targets[1], targets[0], targets[3], references[1]],
            [targets[2], references[2], references[2], references[2]],
            [targets[3], targets[0], targets[1], references[3]],
        ]
    ):
        assert torch.equal(found[i], torch.stack(expected))
