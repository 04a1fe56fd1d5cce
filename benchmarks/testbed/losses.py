"""What the test-bed's models are trained with: contrastive, sigmoid, matching and answering losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from testbed.scenes import (
    ANSWERS,
    IMAGE,
    MOST_NAMED,
    PAD,
    QUESTION_LENGTH,
    WORDS,
    ask_each,
    corrupt,
    describe_scene,
    encode,
    label_presence,
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


def sigmoid_loss(model: Any, pool: Pool, batch: int, rng: np.random.Generator) -> Tensor:
    """SigLIP's loss on every pair; true and false pairs weigh alike."""
    views, ids, true = _captions_of(pool, batch, rng)
    image, text = embed_pairs(model, views.images, ids)
    logits = (text.float() @ image.float().T) * model.logit_scale.exp().clamp(max=100) + model.logit_bias
    losses = F.binary_cross_entropy_with_logits(logits, true.float(), reduction="none")
    return (losses[true].mean() + losses[~true].mean()) / 2


def matching_loss(model: Any, pool: Pool, batch: int, rng: np.random.Generator) -> Tensor:
    """A joint model's loss: does the sentence fit? A quarter are of other scenes, a quarter err in a word."""
    views = draw_views(pool, batch, rng)
    sentences = []
    for row in range(batch):
        kind = rng.random()
        about = (row + 1) % batch if kind < 0.25 else row
        sentence = describe_scene(views.objects[about], 1 + int(rng.random() * MOST_NAMED), rng)
        sentences.append(corrupt(sentence, rng) if kind > 0.75 else sentence)
    ids = encode([write_sentence(one) for one in sentences])
    label = truth(sentences, views.objects).diagonal().float()
    return F.binary_cross_entropy_with_logits(model(views.images, ids), label)


def encode_questions(questions: Sequence[Question]) -> Tensor:
    """Encode questions, ``(B, QUESTION_LENGTH)``."""
    return encode([question.words for question in questions], QUESTION_LENGTH)


def prompt(ids: Tensor, places: int) -> Tensor:
    """Put the image's places before questions, and move the padding to the front, so that the end is the last."""
    rows = []
    for row in ids:
        known = row[row != PAD]
        pad = torch.full((len(row) - len(known),), PAD)
        rows.append(torch.cat([pad, known[:1], torch.full((places,), IMAGE), known[1:]]))
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
    """Cross-entropy of the answer's word over the whole vocabulary."""
    views = draw_views(pool, batch, rng)
    questions = ask_each(views.objects, views.places, rng)
    logits = model(**prompt_inputs(views.images, encode_questions(questions), places), logits_to_keep=1).logits[:, -1]
    return F.cross_entropy(logits.float(), ANSWER_IDS[[question.answer for question in questions]])


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
