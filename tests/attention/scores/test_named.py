"""Scores by name, and which of them fit an output."""

from types import SimpleNamespace

import pytest
import torch

from mmgrad_explain.attention.scores.base import Score
from mmgrad_explain.attention.scores.embedding import (
    EMBEDDING_SCORES,
    PairScore,
)
from mmgrad_explain.attention.scores.matching import MATCHING_SCORES
from mmgrad_explain.attention.scores.named import SCORES, ensure_score
from mmgrad_explain.errors import InputError


def vectors(batch=3, width=4, seed=0):
    return torch.randn(batch, width, generator=torch.Generator().manual_seed(seed)).double()


class TestEnsureScore:
    def test_names(self):
        assert {name: ensure_score(name).name for name in SCORES} == {name: name for name in SCORES}
        assert set(SCORES) == set(EMBEDDING_SCORES) | set(MATCHING_SCORES)

    def test_objects_and_functions(self):
        score = PairScore("different")
        assert ensure_score(score) is score
        assert isinstance(score, Score)

        def brightness(output):
            return output.mean(1)

        assert ensure_score(brightness).name == "brightness"
        assert ensure_score(torch.nn.Flatten(0)).name == "Flatten"

    def test_errors(self):
        with pytest.raises(InputError, match="there is no 'similar'; did you mean 'similarity'"):
            ensure_score("similar")
        with pytest.raises(TypeError, match="score must be a name or a callable of the model's output, not int"):
            ensure_score(1)
        with pytest.raises(TypeError, match="score must return a tensor with one number a sample, not float"):
            ensure_score(lambda output: 1.0)(vectors())


def works(score, output):
    try:
        return score(output).ndim == 1
    except (InputError, TypeError, RuntimeError):
        return False


VECTORS, OTHERS = torch.rand(2, 4), torch.rand(3, 4)
OUTPUTS = {
    "a tensor": VECTORS,
    "a grid": torch.rand(2, 4, 3, 3),
    "a pair": (VECTORS, VECTORS + 1),
    "an unequal pair": (VECTORS, OTHERS),
    "one text for all": (VECTORS, VECTORS[:1]),
    "nothing": (),
    "a shift": SimpleNamespace(embedding=VECTORS, shift=VECTORS),
    "a shift of a grid": SimpleNamespace(embedding=VECTORS, shift=torch.rand(2, 4, 3)),
    "a shift with a wrong target": SimpleNamespace(embedding=VECTORS, shift=VECTORS, target_shift=torch.rand(3)),
    "an empty text": {"embedding": VECTORS, "empty": VECTORS[0]},
    "a wrong empty text": {"embedding": VECTORS, "empty": OTHERS},
    "a target": {"embedding": VECTORS, "target": VECTORS[0]},
    "a wrong target": {"embedding": VECTORS, "target": OTHERS},
    "composed": SimpleNamespace(embedding=VECTORS, target_composed=VECTORS),
    "image and text": {"image_embeds": VECTORS, "text_embeds": VECTORS, "target": VECTORS},
    "image and wrong target": {"image_embeds": VECTORS, "text_embeds": VECTORS, "target": OTHERS},
    "matching": {"itm_score": torch.rand(2, 2)},
    "a match": {"match": torch.rand(2)},
    "an answer": {"logits": torch.rand(2, 5, 7), "labels": torch.tensor([[-100, -100, 1, 2, -100]] * 2)},
    "half an answer": {"logits": torch.rand(2, 5, 7), "labels": torch.tensor([[-100, 1, 1, 1, 1], [-100] * 5])},
    "a long answer": {"logits": torch.rand(2, 5, 7), "labels": torch.ones(2, 6, dtype=torch.long)},
}


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)
def test_a_score_fits_where_it_works(output):
    scores = {name: make() for name, make in SCORES.items()}
    assert {name for name, score in scores.items() if score.fits(output)} == {
        name for name, score in scores.items() if works(score, output)
    }
