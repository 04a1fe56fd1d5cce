"""Several scores of one forward: each has the maps of a call of its own."""

from dataclasses import replace

import pytest
import torch

from mmgrad_explain.attention import MMGrad
from mmgrad_explain.attention.several_scores import explain_each
from mmgrad_explain.errors import GradientError, InputError

WANTED = [(1, 0), (0, 1), (1, 1)]  # (output, sample)


def first(output):
    return output.embedding[:, 0]


def flip(output):
    """Take another number of the same output as the score."""
    return replace(output, embedding=output.embedding.flip(1))


def outputs(output):
    return [output, flip(output)]


@pytest.fixture
def inputs(zoo):
    return {"image": zoo.pictures(), "ids": zoo.ids()}


@pytest.mark.parametrize("layer", ["tower.body", ["tower.stem", "fusion"]])
def test_equals_a_call_for_each(zoo, model, inputs, layer):
    mmgrad = MMGrad(model, layer, first, words=True)
    with zoo.leaves_alone(model):
        found = explain_each(mmgrad, inputs, outputs, WANTED)
    calls = [mmgrad(**inputs), MMGrad(model, layer, lambda output: first(flip(output)), words=True)(**inputs)]
    assert len(found) == len(WANTED)
    for index, (number, sample) in enumerate(WANTED):
        torch.testing.assert_close(found.maps[index], calls[number].maps[sample])
        torch.testing.assert_close(found.score[index], calls[number].score[sample])
        for ours, theirs in zip(found.words[index], calls[number].words[sample], strict=True):
            assert ours.value == pytest.approx(theirs.value, rel=1e-5, abs=1e-7)
    assert not torch.equal(found.maps[1], found.maps[2])
    assert (found.score_name, found.input_size, found.model) == ("first", (16, 24), "TwoInput")


def test_the_model_runs_once(zoo, model, inputs):
    runs = []
    model.tower.stem.register_forward_hook(lambda *_: runs.append(1))
    explain_each(MMGrad(model, "tower.body", first), inputs, outputs, WANTED)
    assert runs == [1]


def test_no_words_unless_they_are_wanted(model, inputs):
    assert explain_each(MMGrad(model, "tower.body", first), inputs, outputs, WANTED).words is None


def test_one_of_the_scores_is_wrong(model, inputs):
    def explain_second(change):
        explain_each(
            MMGrad(model, "tower.body", first),
            inputs,
            lambda output: [output, replace(output, embedding=change(output.embedding))],
            WANTED,
        )

    with pytest.raises(GradientError, match=r"score is not finite for samples \[0, 1\]"):
        explain_second(lambda embedding: embedding / 0)
    with pytest.raises(InputError, match="score must have one number a sample"):
        explain_second(lambda embedding: embedding[:1])
    with pytest.raises(GradientError, match=r"does not depend on layer 'tower\.body'"):
        explain_second(torch.Tensor.detach)
