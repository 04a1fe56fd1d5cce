"""Choose a bundled model for images and texts, and give the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from mmgrad_explain.composers.content_words import content_words, count_classes, find_unknown_words
from mmgrad_explain.composers.familiar_images import strangeness_of
from mmgrad_explain.composers.load import BUNDLED, CHOICES, load_composer
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PIL import Image
    from torch import Tensor

    from mmgrad_explain.composers.base import Composer

MOST_IMAGES = 32
"""The largest number of images that are looked at; of more images, so many are taken, evenly spread."""


@dataclass(frozen=True)
class Choice:
    """The chosen model.

    Attributes:
        composer: The model, loaded.
        name: Its name in :data:`~mmgrad_explain.composers.load.BUNDLED`.
        why: The reason, for a person to read after "NAME answers, because".
    """

    composer: Composer
    name: str
    why: str


@dataclass(frozen=True)
class _Words:
    """The content words of the texts, and how far each bundled model knows them.

    Attributes:
        meant: The content words of each text.
        unknown: For each model, the words that it does not know.
        nameless: For each model, the number of texts that name nothing it knows.
    """

    meant: list[list[str]]
    unknown: dict[str, set[str]]
    nameless: dict[str, int]

    @classmethod
    def read(cls, composers: dict[str, Composer], texts: Sequence[str]) -> _Words:
        meant = [list(dict.fromkeys(word.lower() for word in content_words(text))) for text in texts]
        unknown = {
            name: {word.lower() for word in find_unknown_words(composer, texts)} for name, composer in composers.items()
        }
        nameless = {name: composer.names_things(texts).count(False) for name, composer in composers.items()}
        return cls(meant, unknown, nameless)

    def count_lost(self, name: str) -> tuple[int, int]:
        """Count what a model does not understand, of what another model does.

        Returns:
            The number of unknown things and actions; and the number of unknown looks and places, plus the texts that
            name no thing that the model knows: in "make the top red", the top is a garment to one model and a place to
            another.
        """
        lost = [word for words in self.meant for word in words if word in self.unknown[name] and self.is_known(word)]
        things, looks, actions, _ = count_classes(lost)
        return things + actions, looks + self.nameless[name]

    def is_known(self, word: str) -> bool:
        """Return whether a model knows a word."""
        return any(word not in unknown for unknown in self.unknown.values())

    @property
    def all_meant(self) -> list[str]:
        return list(dict.fromkeys(word for words in self.meant for word in words))

    def lost_by(self, name: str) -> list[str]:
        """List the words that a model does not know."""
        return [word for word in self.all_meant if word in self.unknown[name]]

    def known_only_by(self, name: str) -> list[str]:
        """List the words that a model knows and no other does."""
        others = [unknown for other, unknown in self.unknown.items() if other != name]
        return [w for w in self.all_meant if w not in self.unknown[name] and all(w in unknown for unknown in others)]


def choose_bundled(
    images: Sequence[Image.Image], texts: Sequence[str], *, load: Callable[[str], Composer] = load_composer
) -> Choice:
    """Choose one bundled model for some images and texts.

    The words decide: the model is taken with the fewest unknown things among them, or actions in a text that has
    nothing else (:mod:`~mmgrad_explain.composers.content_words`). Fillers and words that no model knows do not count.
    If several models are equal in this, the one is taken to which the most images are familiar; then the one with the
    fewest unknown looks and places, and the fewest texts that name no thing that it knows. Then each image counts for
    one model: among those to which it is familiar, the one with the least breadth
    (:class:`~mmgrad_explain.composers.familiarity.Familiarity`). An image that is familiar to none counts for the model
    to which it is the least strange. Ties go to the least strangeness on average, then to the first in
    :data:`~mmgrad_explain.composers.load.BUNDLED`.

    Args:
        images: RGB images; :data:`MOST_IMAGES` of them are looked at.
        texts: The texts.
        load: Loads a bundled model by its name.
    """
    composers = {name: load(name) for name in BUNDLED}
    words = _Words.read(composers, texts)
    lost = {name: words.count_lost(name) for name in BUNDLED}
    fewest = min(things for things, _ in lost.values())
    looked_at = pick_evenly(images, MOST_IMAGES)
    strange = {name: strangeness_of(composers[name], looked_at) for name in BUNDLED if lost[name][0] == fewest}
    familiar = _count_familiar(strange)
    most = [name for name in strange if familiar[name] == max(familiar.values())]
    best_heard = [name for name in most if lost[name][1] == min(lost[other][1] for other in most)]
    votes = _votes({name: strange[name] for name in best_heard}, composers)
    best = min(best_heard, key=lambda name: (-votes[name], _log_mean(strange[name])))
    heard = len(best_heard) == 1 < len(most)
    return Choice(composers[best], best, _why(best, words, strange, len(looked_at), heard=heard))


def choose_by_images(images: Sequence[Image.Image], *, load: Callable[[str], Composer] = load_composer) -> Choice:
    """Choose the bundled model to which more than half of some images are familiar.

    If there are several, each image counts for the one with the least breadth among those to which it is familiar.

    Args:
        images: RGB images; :data:`MOST_IMAGES` of them are looked at.
        load: Loads a bundled model by its name.

    Raises:
        InputError: There is no such model, or more than one.
    """
    looked_at = pick_evenly(images, MOST_IMAGES)
    composers = {name: load(name) for name in BUNDLED}
    strange = {name: strangeness_of(one, looked_at) for name, one in composers.items()}
    familiar = _count_familiar(strange)
    known = {name: values for name, values in strange.items() if 2 * familiar[name] > len(looked_at)}
    votes = _votes(known, composers) if known else {}
    best = [name for name in known if votes[name] == max(votes.values())]
    if len(best) != 1:
        counted = ", ".join(f"{count} like those of {name}" for name, count in familiar.items())
        raise InputError(
            f"model: the images do not tell which bundled model to take (of {len(looked_at)} looked at, {counted}): "
            f"name one (model=, or --model on the command line): {CHOICES}"
        )
    most = familiar[best[0]]
    why = f"{_images_are(most, len(looked_at))} {'most like' if len(known) > 1 else 'like'} its training images"
    return Choice(
        composers[best[0]], best[0], f"{why}, of {len(looked_at)} looked at" if most == len(looked_at) > 1 else why
    )


def pick_evenly(items: Sequence[Image.Image], most: int) -> list[Image.Image]:
    """Return at most ``most`` different items, evenly spread over all."""
    single = list({id(item): item for item in items}.values())
    if len(single) <= most:
        return single
    return [single[index * len(single) // most] for index in range(most)]


def _count_familiar(strange: dict[str, Tensor]) -> dict[str, int]:
    """Count for each model the images that are familiar to it."""
    return {name: int((values <= 1).sum()) for name, values in strange.items()}


def _votes(strange: dict[str, Tensor], composers: dict[str, Composer]) -> dict[str, int]:
    """Count the images for each model.

    An image counts for the model with the least breadth among those to which it is familiar. If it is familiar to none,
    or to several of equal breadth, it counts for the one to which it is the least strange.
    """
    names = list(strange)
    breadth = torch.tensor([_breadth_of(composers[name]) for name in names], dtype=torch.float64)
    values = torch.stack([strange[name].double() for name in names])
    broad = torch.where(values <= 1, breadth[:, None], torch.inf)
    rivals = values.masked_fill(broad > broad.amin(0), torch.inf)
    least = rivals.amin(0)
    return {name: int((one <= least).sum()) for name, one in zip(names, rivals, strict=True)}


def _breadth_of(composer: Composer) -> float:
    return 1.0 if composer.familiarity is None else composer.familiarity.breadth


def _log_mean(strange: Tensor) -> float:
    return float(strange.clamp(min=torch.finfo(strange.dtype).tiny).log().mean()) if len(strange) else 0.0


def _why(best: str, words: _Words, strange: dict[str, Tensor], count: int, *, heard: bool) -> str:
    """Return the reason for a choice, and what is doubtful about it.

    Args:
        best: The chosen model.
        words: What the texts mean.
        strange: How strange each image is, to each model that knows the things in the texts best.
        count: Number of images.
        heard: Whether the model was chosen because it knows more of the other words.
    """
    familiar = _count_familiar(strange)
    rivals = [name for name in strange if name != best]
    reasons, doubts = [], []
    if len(strange) < len(words.unknown):
        alone = [] if rivals else words.known_only_by(best)
        know = f"it and {' and '.join(rivals)} best know" if rivals else "it best knows"
        said = f"{know} the words that say what is meant"
        reasons.append(f"it alone knows {', '.join(map(repr, alone))}" if alone else said)
    if not rivals:
        unlike = count - familiar[best] if strange[best].isfinite().all() else 0
        doubts += [f"but {_images_are(unlike, count)} unlike its training images"] if unlike else []
    elif heard:
        known = familiar[best] > 0
        reasons += [f"{_images_are(familiar[best], count)} like its training images"] if known else []
        reasons.append("it understands more of the other words")
        doubts += [] if known else [f"but {_images_are(count, count)} unlike its training images"]
    elif all(torch.equal(strange[best], strange[name]) for name in rivals):
        reasons.append("the images fit none of them better" if reasons else "words and images fit no model better")
    elif not familiar[best]:
        reasons.append(f"{_images_are(count, count)} unlike the training images of each, least unlike its own")
    else:
        like = "most like" if any(familiar[name] >= familiar[best] for name in rivals) else "like"
        reasons.append(f"{_images_are(familiar[best], count)} {like} its training images")
    if lost := words.lost_by(best):
        doubts.append(f"it does not know {', '.join(map(repr, lost))}")
    return "; ".join([", and ".join(reasons) or "it is the only bundled model", *doubts])


def _images_are(some: int, count: int) -> str:
    if count == 1:
        return "the image is"
    return "the images are" if some == count else f"{some} of {count} images {'is' if some == 1 else 'are'}"
