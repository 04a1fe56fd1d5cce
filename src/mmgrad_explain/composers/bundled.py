"""Choose the bundled model for images and texts, by the images, then by the words, and say why."""

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
        why: The reason, for a person to read.
    """

    composer: Composer
    name: str
    why: str


@dataclass(frozen=True)
class _Candidate:
    name: str
    composer: Composer
    familiar: int  # images that are like its training images
    unknown: tuple[str, ...]
    strangeness: float  # mean of the logarithms over the images

    @property
    def rank(self) -> tuple[int, tuple[int, ...], float]:
        """Sort key, best first: most familiar images, fewest unknown words by class, least strangeness."""
        return -self.familiar, count_classes(self.unknown), self.strangeness


def choose_bundled(
    images: Sequence[Image.Image], texts: Sequence[str], *, load: Callable[[str], Composer] = load_composer
) -> Choice:
    """Choose one bundled model for some images and texts.

    The model to which most of the images are familiar is taken. If there is none, or more than one, the words decide:
    the model with the fewest unknown things is taken, then looks, actions and fillers
    (:mod:`~mmgrad_explain.composers.content_words`). If these are equal too, the model is taken to which the images are
    the least strange.

    Args:
        images: RGB images; :data:`MOST_IMAGES` of them are looked at.
        texts: The texts.
        load: Loads a bundled model by its name.
    """
    looked_at = pick_evenly(images, MOST_IMAGES)
    candidates = []
    for name in BUNDLED:
        composer = load(name)
        strange = strangeness_of(composer, looked_at)
        candidates.append(
            _Candidate(
                name,
                composer,
                int((strange <= 1).sum()),
                tuple(find_unknown_words(composer, texts)),
                _log_mean(strange),
            )
        )
    best = min(candidates, key=lambda candidate: candidate.rank)
    return Choice(best.composer, best.name, _why(best, candidates, len(looked_at), texts))


def choose_by_images(images: Sequence[Image.Image], *, load: Callable[[str], Composer] = load_composer) -> Choice:
    """Choose the bundled model to which more than half of some images are familiar.

    Args:
        images: RGB images; :data:`MOST_IMAGES` of them are looked at.
        load: Loads a bundled model by its name.

    Raises:
        InputError: There is no such model, or more than one.
    """
    looked_at = pick_evenly(images, MOST_IMAGES)
    composers = {name: load(name) for name in BUNDLED}
    familiar = {name: int((strangeness_of(one, looked_at) <= 1).sum()) for name, one in composers.items()}
    most = max(familiar.values())
    best = [name for name in BUNDLED if familiar[name] == most]
    if 2 * most <= len(looked_at) or len(best) > 1:
        counted = ", ".join(f"{count} like those of {name}" for name, count in familiar.items())
        raise InputError(
            f"model: the images do not tell which bundled model to take (of {len(looked_at)} looked at, {counted}): "
            f"name one (model=, or --model on the command line): {CHOICES}"
        )
    why = f"{_images_are(most, len(looked_at))} like its training images"
    return Choice(
        composers[best[0]], best[0], f"{why}, of {len(looked_at)} looked at" if most == len(looked_at) > 1 else why
    )


def pick_evenly(items: Sequence[Image.Image], most: int) -> list[Image.Image]:
    """Return at most ``most`` different items, evenly spread over all."""
    single = list({id(item): item for item in items}.values())
    if len(single) <= most:
        return single
    return [single[index * len(single) // most] for index in range(most)]


def _log_mean(strange: Tensor) -> float:
    return float(strange.clamp(min=torch.finfo(strange.dtype).tiny).log().mean()) if len(strange) else 0.0


def _why(best: _Candidate, candidates: Sequence[_Candidate], count: int, texts: Sequence[str]) -> str:
    """Return the reason for a choice, and what is doubtful about it."""
    others = [one for one in candidates if one is not best]
    words = tuple(dict.fromkeys(word for text in texts for word in content_words(text)))
    unknown = {word.lower() for word in best.unknown}
    lost = [word for word in words if word.lower() in unknown]
    if any(one.familiar != best.familiar for one in others) or not others:
        reason = f"{_images_are(best.familiar, count)} like its training images"
    elif any(count_classes(one.unknown)[:3] != count_classes(best.unknown)[:3] for one in others):
        reason = "it knows the most of the words that say what is meant"
    else:
        reason = "words and images fit no model better"
    if not best.familiar:
        reason += f"; no model knows images like {'this one' if count == 1 else 'these'}"
    return reason + (f"; it does not know {', '.join(map(repr, lost))}" if lost else "")


def _images_are(familiar: int, count: int) -> str:
    if count == 1:
        return "the image is"
    return "the images are" if familiar == count else f"{familiar} of {count} images are"
