"""What the test-bed's models are trained with: contrastive, sigmoid, matching and answering losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from testbed.scenes import (
    ANSWERS,
    ANY,
    ATTRIBUTE_IDS,
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
from testbed.towers import embed_pairs, name_cells

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from testbed.scenes import Description, Edits, Pool, Question, Views

ANSWER_IDS = torch.tensor([WORDS.index(word) for word in ANSWERS if word in WORDS])
_CAPTIONS = 2
_TURNS = 6
_LOOKING = 0.4
"""Share of its training in which the relation network learns to see, before it is asked."""
_NAMING = 0.2
"""Share of its training in which a joint matcher, or LLaVA, only learns which words fit a cell."""
_HIDDEN = 0.5
_SPOKEN = (2, 0, 1)
"""The order in which attributes are named: size, colour, shape."""
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


def contrastive_loss(model: Any, pool: Pool, batch: int, rng: np.random.Generator, _done: float) -> Tensor:
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


def dense_contrastive_loss(model: Any, pool: Pool, batch: int, rng: np.random.Generator, _done: float) -> Tensor:
    """CLIP's loss with every true pair: all sentences about one object, and longer ones with one wrong word."""
    losses = []
    for cosine, true in _all_pairs(model, pool, batch, rng):
        logits = cosine * model.logit_scale.exp().clamp(max=100)
        wrong = logits.masked_fill(true, -1e4)
        rows, columns = true.nonzero(as_tuple=True)
        for axis, index in ((0, columns), (1, rows)):
            losses.append(F.softplus(wrong.logsumexp(axis)[index] - logits[rows, columns]).mean())
    return torch.stack(losses).mean()


def sigmoid_loss(model: Any, pool: Pool, batch: int, rng: np.random.Generator, _done: float) -> Tensor:
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


def matching_loss(model: Any, pool: Pool, batch: int, rng: np.random.Generator, done: float) -> Tensor:
    """A joint model's losses: which words fit a cell; does the sentence fit; which word is hidden (ViLT's three).

    In three of five sentences most objects have a wrong word. The model's head is asked the same at the last word of
    each object. The first part of training only names cells; then sentences grow.
    """
    views = draw_views(pool, batch, rng)
    cells = model.look(views.images)
    aligned = F.binary_cross_entropy_with_logits(model.name(cells), label_presence(views.objects), reduction="none")
    aligned = aligned.sum(1).mean() / 10
    if done < _NAMING:
        return aligned
    most = min(MOST_NAMED, 1 + int((done - _NAMING) / (1 - _NAMING) * 6))
    claims = [_claim(things, most, rng) for things in views.objects]
    words = [claim.words for claim in claims]
    ids = encode(words)
    ids = ids[:, : int((ids != PAD).sum(1).max())]
    tokens = model.see(cells, ids)
    scene = torch.arange(batch)
    fits = matches([claim.sentence for claim in claims], views.objects).any(-1)[scene, :, scene]
    row, word, thing = _ends_of_objects(words)
    known = fits[row, thing]
    parts = F.binary_cross_entropy_with_logits(
        model.match(tokens[row, 1 + word])[:, 0], known.float(), reduction="none"
    )
    whole = F.binary_cross_entropy_with_logits(model.match(tokens[:, 0])[:, 0], fits.all(1).float())
    loss = whole + (parts[known].mean() + parts[~known].sum() / (~known).sum().clamp(min=1)) / 2 + aligned
    hidden = [(row, place, right) for row, claim in enumerate(claims) for place, right in claim.hidden]
    if hidden:
        row, word, right = torch.tensor(hidden).T
        loss = loss + F.cross_entropy(model.guess(tokens[row, 1 + word]).float(), right)
    return loss


@dataclass(frozen=True)
class _Claim:
    """What a sentence says of a scene, its words, and where a word is hidden: its place in the ids, and its id."""

    sentence: list[Description]
    words: list[str]
    hidden: list[tuple[int, int]]


def _claim(things: Tensor, most: int, rng: np.random.Generator) -> _Claim:
    """Draw a sentence of which some objects are wrong, and some of the others have a hidden word."""
    true = describe_scene(things, 1 + int(rng.random() * most), rng)
    wrong = rng.random(len(true)) < (0.7 if rng.random() < 0.6 else 0.0)
    said = [corrupt([one], rng)[0] if off else one for one, off in zip(true, wrong, strict=True)]
    words = write_sentence(said)
    meant, hidden = list(said), []
    for index, one in enumerate(said):
        named = [axis for axis in _SPOKEN if one[axis] != ANY]
        if not wrong[index] and len(named) > 1 and rng.random() < _HIDDEN:
            which = int(rng.random() * len(named))
            ends = len(write_sentence(said[: index + 1]))
            place = ends - len(named) - (one[1] == ANY) + which
            hidden.append((1 + place, WORDS.index(words[place])))
            words[place] = "what"
            meant[index] = _without(one, named[which])
    return _Claim(meant, words, hidden)


def _without(description: Description, axis: int) -> Description:
    """Leave an attribute out."""
    colour, shape, size = (ANY if index == axis else value for index, value in enumerate(description))
    return colour, shape, size


def _ends_of_objects(texts: Sequence[Sequence[str]]) -> tuple[Tensor, Tensor, Tensor]:
    """Return where the last word of each object stands: its sentence, its place in the ids, its number."""
    found = []
    for row, text in enumerate(texts):
        ends = [place for place, word in enumerate([*text, "and"]) if word == "and"]
        found += [(row, place, thing) for thing, place in enumerate(ends)]
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


def answering_loss(model: Any, pool: Pool, batch: int, rng: np.random.Generator, done: float) -> Tensor:
    """Cross-entropy of what is in the scene, and after the first part of the answers to six questions a scene."""
    views = draw_views(pool, batch, rng)
    seen = model.see(views.images)
    present = F.binary_cross_entropy_with_logits(model.find(seen), label_presence(views.objects), reduction="none")
    found = present.sum(1).mean() / 10
    if done < _LOOKING:
        return found
    questions = [question for _ in range(_TURNS) for question in ask_each(views.objects, views.places, rng)]
    logits = model.answer(seen.repeat(_TURNS, 1, 1), encode_questions(questions))
    return F.cross_entropy(logits, torch.tensor([question.answer for question in questions])) + found


def wording_loss(model: Any, pool: Pool, batch: int, rng: np.random.Generator, done: float) -> Tensor:
    """Cross-entropy of each word of a talk about an image: questions and their answers, which weigh most."""
    views = draw_views(pool, batch, rng)
    places = model.config.image_seq_length
    if done < _NAMING:
        return _name(model, views)
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


def _name(model: Any, views: Views) -> Tensor:
    """Align the image's places with the words that the decoder reads, as LLaVA's first stage aligns its projector."""
    seen = model.get_image_features(pixel_values=views.images)
    cells = seen if isinstance(seen, Tensor) else torch.stack(list(seen.pooler_output))
    words = model.get_input_embeddings().weight
    named = name_cells(cells, words, torch.full((len(ATTRIBUTE_IDS),), -2.0))
    found = F.binary_cross_entropy_with_logits(named, label_presence(views.objects), reduction="none")
    return found.sum(1).mean() / 10


def composing_loss(model: Any, edits: Edits, batch: int, rng: np.random.Generator, _done: float) -> Tensor:
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
