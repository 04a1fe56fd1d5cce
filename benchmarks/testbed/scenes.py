"""Scenes with exact masks, and the sentences and questions about them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch

from mmgrad_explain.composers.reference.processor import ReferenceProcessor
from mmgrad_explain.composers.reference.tokenizer import build_tokenizer
from mmgrad_explain.data.edit_sides import is_on_target_only
from mmgrad_explain.data.scenes.drawing import COLORS, SHAPES
from mmgrad_explain.data.scenes.options import SceneOptions
from mmgrad_explain.data.scenes.scene import LABELS, scenes
from mmgrad_explain.data.scenes.text import VOCABULARY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

OPTIONS = SceneOptions(objects=(2, 5), pairs="all")
MOST_OBJECTS = OPTIONS.objects[1]
MOST_NAMED = 4
SIZES = LABELS["size"]
ATTRIBUTES = (tuple(COLORS), SHAPES, SIZES)
ANY = -1
"""An attribute that a description does not name; in a list of objects: no object."""

WORDS = (
    "<pad>", "<start>", "a", "and", "object", "what", "color", "shape", "size", "side", "height", "is", "the", "on",
    "which", "how", "left", "right", "top", "bottom", "image", *COLORS, *SHAPES, *SIZES, "<end>",
)  # fmt: skip
"""The vocabulary; the end has the highest id, because CLIP looks for it so."""

ANSWERS = (*COLORS, *SHAPES, *SIZES, "left", "right", "top", "bottom")
PAD, START, END, IMAGE = (WORDS.index(word) for word in ("<pad>", "<start>", "<end>", "image"))
ATTRIBUTE_IDS = torch.tensor([WORDS.index(word) for names in ATTRIBUTES for word in names])
PRESENT = len(COLORS) * len(SHAPES) + len(COLORS) + len(SHAPES) + len(SIZES)
"""Labels of what a scene has somewhere: pairs of colour and shape, colours, shapes, sizes."""

TEXT_LENGTH = 2 + 5 * MOST_NAMED
QUESTION_LENGTH = 11
_CLEAR = 0.08
"""How far off the middle an object must be to lie on a side, as a share of the image."""
_NAMED_BY = ((0,), (1,), (0, 1), (0, 1), (1, 2), (0, 2), (0, 1, 2))

Description = tuple[int, int, int]
"""Indices of colour, shape and size in :data:`ATTRIBUTES`, or :data:`ANY`."""


@dataclass(frozen=True)
class Pool:
    """Scenes as tensors.

    Attributes:
        images: ``(N, 3, S, S)`` uint8.
        objects: Indices of colour, shape and size, ``(N, M, 3)``; :data:`ANY` where there is no object.
        places: Centres (x, y) as shares of the image, ``(N, M, 2)``.
        masks: ``(N, M, S, S)`` bool; None for scenes to train on.
    """

    images: Tensor
    objects: Tensor
    places: Tensor
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def count(self, scene: int) -> int:
        """Return the number of objects of a scene."""
        return int((self.objects[scene, :, 0] != ANY).sum())


def draw_pool(seed: int, count: int, size: int, *, masks: bool = False) -> Pool:
    """Draw the first ``count`` scenes of the series ``seed``."""
    images = torch.empty(count, 3, size, size, dtype=torch.uint8)
    objects = torch.full((count, MOST_OBJECTS, 3), ANY)
    places = torch.zeros(count, MOST_OBJECTS, 2)
    areas = torch.zeros(count, MOST_OBJECTS, size, size, dtype=torch.bool) if masks else None
    for i, scene in enumerate(scenes(seed, count, size=size, edits=1, labels=masks, options=OPTIONS)):
        images[i] = torch.from_numpy(scene.reference).permute(2, 0, 1)
        for j, thing in enumerate(scene.objects):
            values = (thing.color, thing.shape, thing.size)
            indices = [names.index(value) for names, value in zip(ATTRIBUTES, values, strict=True)]
            objects[i, j] = torch.tensor(indices)
            places[i, j] = torch.tensor([thing.x / size, thing.y / size])
            if areas is not None and scene.labels is not None:  # no two objects share all three
                wanted = np.array(indices)[:, None, None] + 1
                areas[i, j] = torch.from_numpy((scene.labels == wanted).all(0))
    return Pool(images, objects, places, areas)


def normalise(images: Tensor) -> Tensor:
    """Turn uint8 images into floats around 0."""
    return images.float() / 127.5 - 1


@dataclass(frozen=True)
class Views:
    """Mirrored and transposed scenes for a step of training."""

    images: Tensor
    objects: Tensor
    places: Tensor


def take_views(pool: Pool, rows: Tensor, rng: np.random.Generator) -> Views:
    """Take scenes, all mirrored and transposed alike, at random."""
    images, places = pool.images[rows], pool.places[rows]
    for axis in (0, 1):
        if rng.random() < 0.5:
            images, places = images.flip(3 - axis), places.clone()
            places[..., axis] = 1 - places[..., axis]
    if rng.random() < 0.5:
        images, places = images.transpose(2, 3).contiguous(), places.flip(-1)
    return Views(normalise(images), pool.objects[rows], places)


def label_presence(objects: Tensor) -> Tensor:
    """Label what scenes have somewhere, ``(N, PRESENT)`` float."""
    shapes, pairs = len(SHAPES), len(COLORS) * len(SHAPES)
    colour, shape, size = objects.unbind(-1)
    offsets = (
        colour * shapes + shape,
        pairs + colour,
        pairs + len(COLORS) + shape,
        pairs + len(COLORS) + shapes + size,
    )
    out = torch.zeros(len(objects), PRESENT + 1)
    for index in offsets:
        out.scatter_(1, torch.where(colour == ANY, PRESENT, index), 1.0)
    return out[:, :PRESENT]


# ----------------------------------------------------------------------------------------------------- sentences


def describe(thing: Sequence[int], rng: np.random.Generator) -> Description:
    """Name some of an object's attributes."""
    named = _NAMED_BY[int(rng.random() * len(_NAMED_BY))]
    colour, shape, size = (int(value) if axis in named else ANY for axis, value in enumerate(thing))
    return colour, shape, size


def corrupt(sentence: Sequence[Description], rng: np.random.Generator) -> list[Description]:
    """Change one attribute that a sentence names."""
    out = list(sentence)
    which = int(rng.random() * len(out))
    axes = [axis for axis, value in enumerate(out[which]) if value != ANY]
    axis = axes[int(rng.random() * len(axes))]
    changed = list(out[which])
    count = len(ATTRIBUTES[axis])
    changed[axis] = (changed[axis] + 1 + int(rng.random() * (count - 1))) % count
    out[which] = (changed[0], changed[1], changed[2])
    return out


def describe_scene(objects: Tensor, named: int, rng: np.random.Generator) -> list[Description]:
    """Describe ``named`` objects of a scene, or all where it has fewer."""
    things = [thing for thing in objects.tolist() if thing[0] != ANY]
    chosen = rng.permutation(len(things))[:named]
    return [describe(things[i], rng) for i in chosen]


def write_sentence(sentence: Sequence[Description]) -> list[str]:
    """Write the words: ``a small red star and a blue object``."""
    words: list[str] = []
    for colour, shape, size in sentence:
        words += ["and", "a"] if words else ["a"]
        words += [ATTRIBUTES[2][size]] if size != ANY else []
        words += [ATTRIBUTES[0][colour]] if colour != ANY else []
        words.append(ATTRIBUTES[1][shape] if shape != ANY else "object")
    return words


def every_object() -> list[list[Description]]:
    """List all sentences about one object."""
    axes = [(ANY, *range(len(names))) for names in ATTRIBUTES]
    named = {tuple(axis in by for axis in range(3)) for by in _NAMED_BY}
    return [[one] for one in product(*axes) if tuple(value != ANY for value in one) in named]


def encode(texts: Sequence[Sequence[str]], length: int = TEXT_LENGTH) -> Tensor:
    """Encode words with a start and an end, ``(B, length)``, padded."""
    out = torch.full((len(texts), length), PAD)
    for row, words in zip(out, texts, strict=True):
        ids = [START, *(WORDS.index(word) for word in words), END]
        row[: len(ids)] = torch.tensor(ids)
    return out


def matches(sentences: Sequence[Sequence[Description]], objects: Tensor) -> Tensor:
    """Test which descriptions fit which objects: ``(T, D, N, M)``, true for padded descriptions as well."""
    wanted = torch.full((len(sentences), MOST_NAMED, 3), ANY)
    for row, sentence in zip(wanted, sentences, strict=True):
        row[: len(sentence)] = torch.tensor(sentence)
    wanted = wanted[:, :, None, None]
    fits = ((wanted == objects) | (wanted == ANY)).all(-1)
    return fits & (objects[..., 0] != ANY)


def truth(sentences: Sequence[Sequence[Description]], objects: Tensor) -> Tensor:
    """Test which sentences are true of which scenes, ``(T, N)``."""
    return matches(sentences, objects).any(-1).all(1)


# ----------------------------------------------------------------------------------------------------- questions


@dataclass(frozen=True)
class Question:
    """A question about one object.

    Attributes:
        words: The question.
        answer: Index in :data:`ANSWERS`.
        thing: Index of the object in its scene.
    """

    words: tuple[str, ...]
    answer: int
    thing: int


def ask(objects: Tensor, places: Tensor, rng: np.random.Generator, *, thing: int | None = None) -> Question | None:
    """Ask about one object, named so that no other object fits; None if the draw did not allow it."""
    things = [one for one in objects.tolist() if one[0] != ANY]
    which = int(rng.random() * len(things)) if thing is None else thing
    kind = int(rng.random() * 5)  # colour, shape, size, side, height
    chosen = things[which]
    by = [axes for axes in _NAMED_BY if kind not in axes]
    named = by[int(rng.random() * len(by))]
    alike = [one for one in things if all(one[axis] == chosen[axis] for axis in named)]
    if len(alike) > 1:
        return None
    description = [chosen[axis] if axis in named else ANY for axis in range(3)]
    words = ("the", *write_sentence([(description[0], description[1], description[2])])[1:])
    if kind < 3:
        answer = ATTRIBUTES[kind][chosen[kind]]
        return Question(("what", ("color", "shape", "size")[kind], "is", *words), ANSWERS.index(answer), which)
    offset = float(places[which, kind - 3]) - 0.5
    if abs(offset) < _CLEAR:
        return None
    answer = (("left", "right"), ("top", "bottom"))[kind - 3][offset > 0]
    asked = ("on", "which", "side") if kind == 3 else ("on", "which", "height")
    return Question((*asked, "is", *words), ANSWERS.index(answer), which)


def ask_each(objects: Tensor, places: Tensor, rng: np.random.Generator) -> list[Question]:
    """Ask one question about each scene, ``(N, M, 3)`` and ``(N, M, 2)``."""
    out = []
    for things, where in zip(objects, places, strict=True):
        question = None
        while question is None:
            question = ask(things, where, rng)
        out.append(question)
    return out


# --------------------------------------------------------------------------------------------------------- edits


@dataclass(frozen=True)
class Edits:
    """Edits of scenes, two a scene.

    Attributes:
        references: ``(N, 3, S, S)`` uint8.
        targets: ``(N, 2, 3, S, S)`` uint8.
        ids: ``(N, 2, L)``.
        mask: ``(N, 2, L)``.
        regions: The edited object in the reference, ``(N, 2, S, S)`` bool; None for scenes to train on.
        shown: Whether the reference shows the edited object, ``(N, 2)``.
    """

    references: Tensor
    targets: Tensor
    ids: Tensor
    mask: Tensor
    shown: Tensor
    regions: Tensor | None = None

    def __len__(self) -> int:
        return len(self.references)


def draw_edits(seed: int, count: int, size: int, *, masks: bool = False) -> Edits:
    """Draw the first ``count`` scenes of the series ``seed`` with two edits each."""
    processor = edit_processor(size)
    found = list(scenes(seed, count, size=size, edits=2, options=OPTIONS))
    each = [triplet for scene in found for triplet in scene.triplets]
    ids, mask = processor.encode_texts([triplet.text for triplet in each])
    images = torch.from_numpy(np.stack([scene.reference for scene in found])).permute(0, 3, 1, 2)
    targets = torch.from_numpy(np.stack([triplet.target for triplet in each])).permute(0, 3, 1, 2)
    regions = torch.from_numpy(np.stack([triplet.reference_mask for triplet in each])) if masks else None
    return Edits(
        images.contiguous(),
        targets.contiguous().view(count, 2, 3, size, size),
        ids.view(count, 2, -1),
        mask.view(count, 2, -1),
        torch.tensor([not is_on_target_only(triplet.edit) for triplet in each]).view(count, 2),
        None if regions is None else regions.view(count, 2, size, size),
    )


def edit_processor(size: int) -> ReferenceProcessor:
    """Make the processor of the modifier texts."""
    return ReferenceProcessor(build_tokenizer(VOCABULARY), size)
