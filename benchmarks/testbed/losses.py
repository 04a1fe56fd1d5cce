"""What the test-bed's models are trained with: contrastive, sigmoid, matching and answering losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from testbed.scenes import (
    ANSWERS,
    END,
    IMAGE,
    MOST_NAMED,
    PAD,
    QUESTION_LENGTH,
    START,
    WORDS,
    ask_each,
    corrupt,
    describe_scene,
    encode,
    every_object,
    label_presence,
    matches,
    normalise,
    take_views,
    truth,
    write_sentence,
)  # fmt: skip
from testbed.towers import embed_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from testbed.scenes import Description, Edits, Pool, Question, Views

ANSWER_IDS = torch.tensor([WORDS.index(word) for word in ANSWERS if word in WORDS])
_CAPTIONS = 2
_TURNS = 6
_ASKING = 0.2
"""Weight of the words of questions, beside that of answers."""


def draw_views(pool: Pool, count: int, rng: np.random.Generator) -> Views:
    """Draw scenes to train on."""
    return take_views(pool, torch.from_numpy(rng.integers(len(pool), size=count)), rng)


def draw_captions(objects: Tensor, rng: np.random.Generator) -> list[list[Description]]:
    """Draw true sentences of one to four objects, and then as many that are wrong in one word."""
    true = [
        describe_scene(things, 1 + int(rng.random() * MOST_NAMED), rng) for things in objects for _ in range(_CAPTIONS)
    ]
    return [*true, *(corrupt(sentence, rng) for sentence in true)]


def _captions_of(pool: Pool, batch: int, rng: np.random.Generator) -> tuple[Views, Tensor, Tensor]:
    """Draw scenes and captions: the views, the ids, and which caption is true of which scene, ``(T, N)``."""
    views = draw_views(pool, batch, rng)
    sentences = draw_captions(views.objects, rng)
    return views, encode([write_sentence(one) for one in sentences]), truth(sentences, views.objects)


def contrastive_loss(model: Any, pool: Pool, batch: int, rng: np.random.Generator) -> Tensor:
    """CLIP's loss, both ways; what happens to be true as well is no negative."""
    views, ids, true = _captions_of(pool, batch, rng)
    image, text = embed_pairs(model, views.images, ids)
    logits = (text.float() @ image.float().T) * model.logit_scale.exp().clamp(max=100)
    own = torch.arange(_CAPTIONS * batch) // _CAPTIONS
    rows = torch.arange(len(own))
    off = torch.zeros_like(true)
    off[: len(own)] = true[: len(own)]
    off[rows, own] = False
    to_image = F.cross_entropy(logits[: len(own)].masked_fill(off[: len(own)], -1e4), own)
    wrong = logits.masked_fill(true, -1e4).logsumexp(0)[own]
    right = logits[rows, own]
    to_text = F.softplus(wrong - right).mean()
    return (to_image + to_text) / 2


def dense_contrastive_loss(model: Any, pool: Pool, batch: int, rng: np.random.Generator) -> Tensor:
    """CLIP's loss with every true pair: all sentences about one object, and longer ones with one wrong word."""
    losses = []
    for cosine, true in _all_pairs(model, pool, batch, rng):
        logits = cosine * model.logit_scale.exp().clamp(max=100)
        wrong = logits.masked_fill(true, -1e4)
        rows, columns = true.nonzero(as_tuple=True)
        for axis, index in ((0, columns), (1, rows)):
            losses.append(F.softplus(wrong.logsumexp(axis)[index] - logits[rows, columns]).mean())
    return torch.stack(losses).mean()


def sigmoid_loss(model: Any, pool: Pool, batch: int, rng: np.random.Generator) -> Tensor:
    """SigLIP's loss on every pair; true and false pairs weigh alike, and so do sentences with one wrong word."""
    losses = []
    for cosine, true in _all_pairs(model, pool, batch, rng):
        logits = cosine * model.logit_scale.exp().clamp(max=100) + model.logit_bias
        pairs = F.binary_cross_entropy_with_logits(logits, true.float(), reduction="none")
        losses += [pairs[true].mean(), pairs[~true].mean()]
        own = torch.arange(batch)
        if len(pairs) == 2 * batch:
            losses += [pairs[own, own].mean(), pairs[batch + own, own].mean()]
    return torch.stack(losses).mean()


def _all_pairs(model: Any, pool: Pool, batch: int, rng: np.random.Generator) -> list[tuple[Tensor, Tensor]]:
    """Return cosines ``(T, N)`` of sentences with scenes and which are true.

    First those of all sentences about one object, then those of one longer sentence a scene, followed by the same with
    one wrong word.
    """
    views = draw_views(pool, batch, rng)
    longer = [describe_scene(things, 2 + int(rng.random() * (MOST_NAMED - 1)), rng) for things in views.objects]
    groups = [every_object(), [*longer, *(corrupt(sentence, rng) for sentence in longer)]]
    image: Tensor | None = None
    found = []
    for sentences in groups:
        ids = encode([write_sentence(one) for one in sentences])
        ids = ids[:, : int((ids != PAD).sum(1).max())]
        seen, text = embed_pairs(model, views.images if image is None else views.images[:1], ids)
        image = seen if image is None else image
        found.append((text.float() @ image.float().T, truth(sentences, views.objects)))
    return found


def matching_loss(model: Any, pool: Pool, batch: int, rng: np.random.Generator) -> Tensor:
    """A joint model's loss: does the sentence fit? In three of five, most objects have a wrong word.

    The model's head is asked the same at the last word of each object.
    """
    views = draw_views(pool, batch, rng)
    sentences = []
    for things in views.objects:
        true = describe_scene(things, 1 + int(rng.random() * MOST_NAMED), rng)
        wrong = rng.random(len(true)) < (0.7 if rng.random() < 0.6 else 0.0)
        sentences.append([corrupt([one], rng)[0] if off else one for one, off in zip(true, wrong, strict=True)])
    ids = encode([write_sentence(one) for one in sentences])
    ids = ids[:, : int((ids != PAD).sum(1).max())]
    tokens = model.see(views.images, ids)
    scene = torch.arange(batch)
    fits = matches(sentences, views.objects).any(-1)[scene, :, scene]
    row, word, thing = _ends_of_objects(sentences)
    known = fits[row, thing]
    parts = F.binary_cross_entropy_with_logits(
        model.match(tokens[row, 1 + word])[:, 0], known.float(), reduction="none"
    )
    whole = F.binary_cross_entropy_with_logits(model.match(tokens[:, 0])[:, 0], fits.all(1).float())
    return whole + (parts[known].mean() + parts[~known].sum() / (~known).sum().clamp(min=1)) / 2


def _ends_of_objects(sentences: Sequence[Sequence[Description]]) -> tuple[Tensor, Tensor, Tensor]:
    """Return where the last word of each object stands: its sentence, its place in the ids, its number."""
    found = [
        (row, len(write_sentence(sentence[: thing + 1])), thing)
        for row, sentence in enumerate(sentences)
        for thing in range(len(sentence))
    ]
    row, word, thing = torch.tensor(found).T
    return row, word, thing


def encode_questions(questions: Sequence[Question]) -> Tensor:
    """Encode questions, ``(B, QUESTION_LENGTH)``."""
    return encode([question.words for question in questions], QUESTION_LENGTH)


def prompt(ids: Tensor, places: int) -> Tensor:
    """Put the image's places before questions, and the padding between both, so that the end is the last."""
    rows = []
    for row in ids:
        known = row[row != PAD]
        pad = torch.full((len(row) - len(known),), PAD)
        rows.append(torch.cat([known[:1], torch.full((places,), IMAGE), pad, known[1:]]))
    return torch.stack(rows)


def prompt_inputs(images: Tensor, ids: Tensor, places: int) -> dict[str, Tensor]:
    """Make the arguments of a model that answers in words."""
    prompts = prompt(ids, places)
    return {"input_ids": prompts, "attention_mask": (prompts != PAD).long(), "pixel_values": images}


def answering_loss(model: Any, pool: Pool, batch: int, rng: np.random.Generator) -> Tensor:
    """Cross-entropy of the answers, six questions a scene; and of what is in the scene, for the convolutions."""
    views = draw_views(pool, batch, rng)
    logits, answers = [], []
    seen = model.see(views.images)
    for _ in range(6):
        questions = ask_each(views.objects, views.places, rng)
        logits.append(model.answer(seen, encode_questions(questions)))
        answers += [question.answer for question in questions]
    present = F.binary_cross_entropy_with_logits(model.find(seen), label_presence(views.objects), reduction="none")
    return F.cross_entropy(torch.cat(logits), torch.tensor(answers)) + present.sum(1).mean() / 10


def wording_loss(model: Any, pool: Pool, batch: int, places: int, rng: np.random.Generator) -> Tensor:
    """Cross-entropy of each word of a talk about an image: questions and their answers, which weigh most."""
    views = draw_views(pool, batch, rng)
    talks = [[START, *[IMAGE] * places] for _ in range(batch)]
    answers: list[list[int]] = [[] for _ in range(batch)]
    for _ in range(_TURNS):
        for talk, where, question in zip(talks, answers, ask_each(views.objects, views.places, rng), strict=True):
            talk += [*(WORDS.index(word) for word in question.words), END]
            where.append(len(talk))
            talk.append(int(ANSWER_IDS[question.answer]))
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(talk) for talk in talks], batch_first=True, padding_value=PAD)
    output = model(input_ids=ids, attention_mask=(ids != PAD).long(), pixel_values=views.images)
    losses = F.cross_entropy(output.logits[:, :-1].float().transpose(1, 2), ids[:, 1:], reduction="none")
    answered = torch.zeros_like(ids, dtype=torch.bool).scatter_(1, torch.tensor(answers), value=True)[:, 1:]
    asked = (ids[:, 1:] != PAD) & (ids[:, 1:] != IMAGE) & ~answered
    return losses[answered].mean() + _ASKING * losses[asked].mean()


def composing_loss(model: Any, edits: Edits, batch: int, rng: np.random.Generator) -> Tensor:
    """Find each query's target among all targets and references of the batch; two queries a scene."""
    rows = torch.from_numpy(rng.integers(len(edits), size=batch))
    references, targets = edits.references[rows], edits.targets[rows].flatten(0, 1)
    images = normalise(torch.cat([references, targets]))
    embedded = model.embed_image(images)
    own = embedded[:batch].repeat_interleave(2, 0)
    query = model.compose(own, edits.ids[rows].flatten(0, 1), edits.mask[rows].flatten(0, 1))
    gallery = F.normalize(torch.cat([embedded[batch:], embedded[:batch]]), dim=-1)
    logits = query @ gallery.T * model.logit_scale.exp().clamp(max=100)
    return F.cross_entropy(logits, torch.arange(2 * batch))
