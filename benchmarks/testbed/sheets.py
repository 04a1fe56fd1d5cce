"""Held-out calls of each model: inputs, what their maps should lie on, and how well the model does its own task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from testbed.losses import ANSWER_IDS, encode_questions, prompt_inputs
from testbed.scenes import (
    MOST_NAMED,
    Edits,
    Pool,
    ask,
    corrupt,
    describe_scene,
    encode,
    matches,
    normalise,
    truth,
    write_sentence,
)  # fmt: skip
from testbed.towers import PlainClip, embed_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from testbed.models import Stranger
    from testbed.scenes import Description, Question

_TRIES = 60


@dataclass(frozen=True)
class Sheet:
    """Calls of one model.

    Attributes:
        image_name: The parameter that takes the images.
        images: ``(B, 3, S, S)``.
        others: The other arguments by name, batch first.
        masks: What the text of each call names, ``(B, S, S)`` bool.
        scene: The scene of each call, ``(B,)``; calls of one scene are not independent.
        named: How many objects the text names, ``(B,)``.
        pairs: Calls about one image whose texts name disjoint places, ``(P, 2)``, in both orders.
        score: What is passed to MMGrad as ``score``; None where the output says it.
        read: Reads (B,) from the model's output, for the calls of an index.
        task: How well the model does its own task on held-out scenes, by name, each with its chance level.
    """

    image_name: str
    images: Tensor
    others: dict[str, Tensor]
    masks: Tensor
    scene: Tensor
    named: Tensor
    pairs: Tensor
    score: Callable[[Any], Tensor] | None
    read: Callable[[Any, Tensor], Tensor]
    task: dict[str, tuple[float, float]]

    def arguments(self, rows: Tensor, images: Tensor | None = None) -> dict[str, Tensor]:
        """Return the arguments of some calls, with other images where they are given."""
        shown = self.images[rows] if images is None else images
        return {self.image_name: shown, **{name: value[rows] for name, value in self.others.items()}}

    def score_of(self, model: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the model's score of changed images, each with the text of its call."""

        def score(images: Tensor, index: Tensor) -> Tensor:
            with torch.no_grad():
                return self.read(model(**self.arguments(index, images)), index)

        return score


def make_sheet(stranger: Stranger, model: nn.Module, data: Pool | Edits, seed: int) -> Sheet:
    """Make the held-out calls of a model."""
    rng = np.random.default_rng([seed, 5])
    if isinstance(data, Edits):
        return _of_edits(model, data)
    makers = {"captions": _of_captions, "questions": _of_questions, "words": _of_questions}
    return makers[stranger.task](stranger, model, data, rng)


# ------------------------------------------------------------------------------------------------------ captions


def _of_captions(stranger: Stranger, model: Any, pool: Pool, rng: np.random.Generator) -> Sheet:
    sentences, scene, named, pairs = _draw_sentences(pool, rng)
    rows = torch.tensor(scene)
    images = normalise(pool.images)
    ids = encode([write_sentence(one) for one in sentences])
    masks = torch.stack([_area(pool, index, sentence) for index, sentence in zip(scene, sentences, strict=True)])
    joint = stranger.kind == "joint"
    by_hand = joint or isinstance(model, PlainClip)
    name, other = ("images", "ids") if by_hand else ("pixel_values", "input_ids")

    def read(output: Any, _index: Tensor) -> Tensor:
        if joint:
            return output
        image, text = output[:2] if by_hand else (output.image_embeds, output.text_embeds)
        return F.cosine_similarity(image, text)

    return Sheet(
        name, images[rows], {other: ids}, masks, rows, torch.tensor(named), torch.tensor(pairs).view(-1, 2), None, read,
        _caption_task(model, pool, images, sentences, rows, rng, joint=joint),
    )  # fmt: skip


def _draw_sentences(
    pool: Pool, rng: np.random.Generator
) -> tuple[list[list[Description]], list[int], list[int], list[tuple[int, int]]]:
    """Draw for each scene two sentences that name disjoint places, and one each of two, three and four objects."""
    sentences: list[list[Description]] = []
    scene: list[int] = []
    named: list[int] = []
    pairs: list[tuple[int, int]] = []
    for index in range(len(pool)):
        for _ in range(_TRIES):
            two = [describe_scene(pool.objects[index], 1, rng) for _ in range(2)]
            first, second = (_area(pool, index, one) for one in two)
            if not bool((first & second).any()) and bool(first.any()) and bool(second.any()):
                pairs += [(len(sentences), len(sentences) + 1), (len(sentences) + 1, len(sentences))]
                break
        more = [describe_scene(pool.objects[index], n, rng) for n in range(2, min(MOST_NAMED, pool.count(index)) + 1)]
        for sentence in (*two, *more):
            sentences.append(sentence)
            scene.append(index)
            named.append(len(sentence))
    return sentences, scene, named, pairs


def _area(pool: Pool, index: int, sentence: Sequence[Description]) -> Tensor:
    """Return the places of all objects that a sentence may mean, ``(S, S)`` bool."""
    assert pool.masks is not None  # noqa: S101
    fits = matches([sentence], pool.objects[index : index + 1])[0, : len(sentence), 0].any(0)
    return pool.masks[index][fits].any(0)


def _caption_task(
    model: Any, pool: Pool, images: Tensor, sentences: list[list[Description]], rows: Tensor, rng: np.random.Generator,
    *, joint: bool,
) -> dict[str, tuple[float, float]]:  # fmt: skip
    """Tell a true sentence from one that is wrong in a word; find the scene of a sentence that names four objects."""
    false = [corrupt(sentence, rng) for sentence in sentences]
    keep = ~truth(false, pool.objects)[torch.arange(len(rows)), rows]
    scores = []
    with torch.no_grad():
        for texts in (sentences, false):
            ids = encode([write_sentence(one) for one in texts])
            if joint:
                found = [model(images[rows[part]], ids[part]) for part in torch.arange(len(rows)).split(64)]
                scores.append(torch.cat(found))
            else:
                image, text = _embed(model, images, ids)
                scores.append((image[rows] * text).sum(-1))
        right = (scores[0] > scores[1])[keep].float().mean()
        figures = {"true against one wrong word": (float(right), 0.5)}
        if not joint:
            whole = [describe_scene(things, MOST_NAMED, rng) for things in pool.objects]
            image, text = _embed(model, images, encode([write_sentence(one) for one in whole]))
            own = torch.arange(len(pool))
            also = truth(whole, pool.objects)
            also[own, own] = False
            first = (text @ image.T).masked_fill(also, -2).argmax(1) == own
            figures["R@1 of the scene"] = (float(first.float().mean()), 1 / len(pool))
    return figures


def _embed(model: Any, images: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    found = [embed_pairs(model, part, ids[:1])[0] for part in images.split(64)]
    return torch.cat(found), embed_pairs(model, images[:1], ids)[1]


# ----------------------------------------------------------------------------------------------------- questions


def _of_questions(stranger: Stranger, model: Any, pool: Pool, rng: np.random.Generator) -> Sheet:
    assert pool.masks is not None  # noqa: S101
    questions: list[Question] = []
    scene: list[int] = []
    for index in range(len(pool)):
        for thing in rng.permutation(pool.count(index))[:2].tolist():
            question = None
            for _ in range(_TRIES):
                question = question or ask(pool.objects[index], pool.places[index], rng, thing=thing)
            if question is not None:
                questions.append(question)
                scene.append(index)
    rows = torch.tensor(scene)
    images = normalise(pool.images)[rows]
    ids = encode_questions(questions)
    right = torch.tensor([question.answer for question in questions])
    masks = torch.stack([pool.masks[i, question.thing] for i, question in zip(scene, questions, strict=True)])
    words = stranger.task == "words"
    inputs = prompt_inputs(images, ids, stranger.places) if words else {"images": images, "question": ids}
    name = "pixel_values" if words else "images"
    others = {key: value for key, value in inputs.items() if key != name}
    logits = []
    with torch.no_grad():
        for part in torch.arange(len(rows)).split(64):
            output = model(**{key: value[part] for key, value in inputs.items()})
            logits.append(output.logits[:, -1] if words else output)
    said = torch.cat(logits).argmax(1)
    answers = ANSWER_IDS[right] if words else right
    score = None
    if words:  # its answer follows in the call
        score = _largest_logit
        others["input_ids"] = torch.cat([others["input_ids"], said[:, None]], 1)
        others["attention_mask"] = F.pad(others["attention_mask"], (0, 1), value=1)
    else:
        others["answer"] = said

    def read(output: Any, index: Tensor) -> Tensor:
        return output.logits[:, -2].gather(1, said[index][:, None])[:, 0] if words else output

    pairs = [(i, i + 1) for i in range(len(scene) - 1) if scene[i] == scene[i + 1]]
    both = torch.tensor([order for i, j in pairs for order in ((i, j), (j, i))]).view(-1, 2)
    chance = float(torch.bincount(right).max()) / len(right)
    task = {"right answers": (float((said == answers).float().mean()), chance)}
    return Sheet(name, images, others, masks, rows, torch.ones(len(rows), dtype=torch.long), both, score, read, task)


def _largest_logit(output: Any) -> Tensor:
    """Return the logit of the answer that the model gives, as a user would."""
    found: Tensor = output.logits[:, -2].amax(-1)
    return found


# --------------------------------------------------------------------------------------------------------- edits


def _of_edits(model: Any, edits: Edits) -> Sheet:
    assert edits.regions is not None  # noqa: S101
    count = len(edits)
    scene = torch.arange(count).repeat_interleave(2)
    ids, mask = edits.ids.flatten(0, 1), edits.mask.flatten(0, 1)
    with torch.no_grad():
        references, targets = (
            torch.cat([model.embed_image(normalise(part)) for part in images.split(64)])
            for images in (edits.references, edits.targets.flatten(0, 1))
        )
        query = model.compose(references[scene], ids, mask)
        gallery = F.normalize(torch.cat([targets, references]), dim=-1)
        found = (query @ gallery.T).argmax(1) == torch.arange(2 * count)
    masks = edits.regions.flatten(0, 1)
    shown = edits.shown.flatten()
    apart = ~(masks[0::2] & masks[1::2]).flatten(1).any(1) & shown.view(-1, 2).all(1)
    kept = shown.nonzero()[:, 0]
    place = torch.cumsum(shown, 0) - 1
    pairs = [order for i in apart.nonzero()[:, 0].tolist() for order in ((2 * i, 2 * i + 1), (2 * i + 1, 2 * i))]
    return Sheet(
        "images", normalise(edits.references)[scene[kept]],
        {"ids": ids[kept], "mask": mask[kept], "target": gallery[: 2 * count][kept]},
        masks[kept], scene[kept], torch.ones(len(kept), dtype=torch.long), place[torch.tensor(pairs).view(-1, 2)],
        None, lambda output, _index: output, {"R@1 of the target": (float(found.float().mean()), 1 / len(gallery))},
    )  # fmt: skip
