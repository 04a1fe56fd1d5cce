"""Scores of changed images: each beside the other inputs of its own sample, whatever the model does with batches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mmgrad_explain.attention.reruns.image_scores import HeldRerun, ImageScores, take_image, take_rows
from mmgrad_explain.attention.running.input_images import InputImage

IMAGE = InputImage("image", (4, 4), 0, 3)


@pytest.fixture
def inputs() -> Any:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 3, 4, 4, generator=generator)
    return (images,), {"text": torch.rand(3, 5, generator=generator), "names": ["a", "bb", "ccc"], "scale": 2.0}


def _independent(inputs: Any, index: Tensor | None = None) -> Tensor:
    (images,), named = inputs
    lengths = torch.tensor([len(name) for name in named["names"]])
    return images.mean((1, 2, 3)) * named["text"].sum(1) * named["scale"] + lengths


def _over_the_batch(inputs: Any, index: Tensor | None = None) -> Tensor:
    scores = _independent(inputs)
    return scores - scores.mean()


def _only_three(inputs: Any, index: Tensor | None = None) -> Tensor:
    if len(inputs[0][0]) != 3:
        raise ValueError("three images only")
    return _independent(inputs)


def test_rows_of_tensors_and_strings_are_taken_and_the_rest_stays(inputs: Any) -> None:
    (images,), named = take_rows(inputs, torch.tensor([2, 0, 2, 1]), 3)
    torch.testing.assert_close(images, inputs[0][0][[2, 0, 2, 1]])
    torch.testing.assert_close(named["text"], inputs[1]["text"][[2, 0, 2, 1]])
    assert named["names"] == ["ccc", "a", "ccc", "bb"]
    assert named["scale"] == 2.0


@pytest.mark.parametrize("model", [_independent, _over_the_batch, _only_three])
def test_every_image_is_scored_as_in_its_place_of_the_original_batch(model: Any, inputs: Any) -> None:
    scores = ImageScores(model, inputs, IMAGE, model(inputs))
    assert scores.together == (model is _independent)
    index = torch.tensor([1, 1, 0, 2, 1])
    changed = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    found = scores(changed, index)
    if model is _over_the_batch:  # the mean is over whoever is in the run: two samples more are changed in the first
        first = inputs[0][0].clone()
        first[1], first[0], first[2] = changed[0], changed[2], changed[3]
        torch.testing.assert_close(found[[0, 2, 3]], model(((first,), inputs[1]))[[1, 0, 2]])
        return
    for number, sample in enumerate(index.tolist()):
        images = inputs[0][0].clone()
        images[sample] = changed[number]
        torch.testing.assert_close(found[number], model(((images,), inputs[1]))[sample])


def test_a_run_that_needs_too_much_memory_is_halved(inputs: Any) -> None:
    sizes: list[int] = []

    def model(changed: Any, index: Tensor | None) -> Tensor:
        sizes.append(len(changed[0][0]))
        if sizes[-1] > 6:
            raise torch.OutOfMemoryError
        return _independent(changed)

    scores = ImageScores(model, inputs, IMAGE, _independent(inputs))
    index = torch.tensor([0, 1, 2] * 4)
    found = scores(take_image(inputs, IMAGE)[index], index)
    torch.testing.assert_close(found, _independent(inputs)[index])
    assert sizes == [6, 12, 6, 6]


def test_what_the_score_holds_constant_stays_that_of_the_original_image(inputs: Any) -> None:
    def embed(changed: Any) -> Tensor:
        return changed[0][0].mean((2, 3))

    def along_itself(embedding: Tensor) -> Tensor:
        return (embedding * embedding.detach()).sum(-1)

    rerun = HeldRerun(embed, along_itself, inputs)
    torch.testing.assert_close(rerun(inputs), rerun.score)
    scores = ImageScores(rerun, inputs, IMAGE, rerun.score)
    assert scores.together
    index = torch.tensor([2, 2, 1])
    changed = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(5))
    expected = (changed.mean((2, 3)) * embed(inputs)[index]).sum(-1)
    torch.testing.assert_close(scores(changed, index), expected)


def test_several_scores_of_one_image_are_read_from_their_own_row(inputs: Any) -> None:
    rows = [1, 1, 0]  # samples are scores of these rows of the inputs

    def scorer(output: Tensor) -> Tensor:
        return torch.stack([output[1], 2 * output[1], output[0]])

    rerun = HeldRerun(_independent, scorer, inputs)
    scores = ImageScores(rerun, inputs, IMAGE, rerun.score, rows=rows)
    assert not scores.together
    changed = torch.rand(4, 3, 4, 4, generator=torch.Generator().manual_seed(5))
    index = torch.tensor([1, 2, 0, 2])
    images = inputs[0][0][[1, 0, 1, 0]].clone()
    for number, sample in enumerate(index.tolist()):
        alone = inputs[0][0].clone()
        alone[rows[sample]] = changed[number]
        expected = scorer(_independent(((alone,), inputs[1])))[sample]
        torch.testing.assert_close(scores(changed, index)[number], expected)
    torch.testing.assert_close(scores(images, index), scores.score[index])


def _one_text(inputs: Any, seen: list[int]) -> Tensor:
    (images,), named = inputs
    seen.append(len(named["text"]))
    return (images.mean((2, 3)) @ named["text"][:, :3].T).sum(1)


def _needs_equal_rows(inputs: Any, seen: list[int]) -> Tensor:
    (images,), named = inputs
    seen.append(len(named["text"]))
    return torch.bmm(images.mean((2, 3))[:, None], named["text"][:, :3, None])[:, 0, 0]


def _looks_at_the_first(inputs: Any, seen: list[int]) -> Tensor:
    (images,), named = inputs
    seen.append(len(named["text"]))
    return (
        images[: len(named["text"])].mean((1, 2, 3)).expand(len(images))
        if len(named["text"]) == 1
        else images.mean((1, 2, 3))
    )


@pytest.mark.parametrize(("model", "rows"), [(_one_text, 1), (_needs_equal_rows, 6), (_looks_at_the_first, 6)])
def test_one_text_is_read_once_where_that_gives_the_same(model: Any, rows: int) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = (torch.rand(1, 3, 4, 4, generator=generator),), {"text": torch.rand(1, 5, generator=generator)}
    seen: list[int] = []
    scores = ImageScores(
        lambda given, index: model(given, seen), inputs, InputImage("image", (4, 4), 0, 1), model(inputs, seen)
    )
    changed = torch.rand(6, 3, 4, 4, generator=generator)
    found = scores(changed, torch.zeros(6, dtype=torch.long))
    assert seen[-1] == rows
    singles = [model(((image[None],), inputs[1]), seen) for image in changed]
    torch.testing.assert_close(found, torch.cat(singles))
