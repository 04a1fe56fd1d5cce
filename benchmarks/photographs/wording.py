"""Texts as people type them, worded as no training text is, and how many words of a caption file a model knows."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mmgrad_explain.composers.content_words import find_unknown_words
from mmgrad_explain.composers.model_capabilities import capabilities
from mmgrad_explain.data.edits.nouns import is_plural, is_uncounted
from mmgrad_explain.data.edits.templates import COLOUR_WORDS, PATTERN_ADJECTIVES, PATTERN_NOUNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.evaluation.triplet_inputs import PhotoTriplet

# {noun}: "dress". {be}: is or are. {look}: "red", "striped". {thing}: "a red dress".
_WISHES = (
    "{thing} would be nicer", "same outfit, but {thing}", "could the {noun} be {look}?", "try {thing} here",
    "I'd prefer the {noun} in {look}", "everything the same, only the {noun} {look}", "what about {thing}?",
    "the {noun}: {look}, please", "is there one with {thing}?", "find me the same person with {thing}",
)  # fmt: skip
_SHADES = (
    "could the {noun} be {look}?", "I'd like the {noun} quite a bit {look}", "the {noun} a shade {look}, please",
    "everything the same, only the {noun} {look}", "try the {noun} {look}", "{look} {noun}, otherwise the same",
)  # fmt: skip
_WORDINGS = {"recolour": _WISHES, "gray": _WISHES, "pattern": _WISHES, "darken": _SHADES, "brighten": _SHADES}
_LOOKS = {"gray": "gray", "darken": "darker", "brighten": "lighter"}
_WORD = re.compile(r"[^\W_]+")


def word_freely(triplets: Sequence[PhotoTriplet], nouns: Sequence[str], seed: int) -> list[PhotoTriplet]:
    """Give triplets other texts, of sentences that no training draws; kinds that have none are left out."""
    rng = np.random.default_rng([seed, 7])
    worded = []
    for triplet, noun in zip(triplets, nouns, strict=True):
        wordings, look = _WORDINGS.get(triplet.edit), _look(triplet)
        if wordings and look:
            thing = f"{look} {noun}" if is_plural(noun) or is_uncounted(noun) else f"a {look} {noun}"
            text = wordings[int(rng.integers(len(wordings)))].format(noun=noun, look=look, thing=thing)
            worded.append(replace(triplet, text=re.sub(r"\ba (?=[aeiou])", "an ", text)))
    return worded


def _look(triplet: PhotoTriplet) -> str:
    """Find the colour or pattern that a plain text names."""
    if triplet.edit in _LOOKS:
        return _LOOKS[triplet.edit]
    tables = [COLOUR_WORDS] if triplet.edit == "recolour" else [PATTERN_ADJECTIVES, PATTERN_NOUNS]
    said = f" {triplet.text.lower()} "
    found = [key for table in tables for key, words in table.items() if any(f" {word} " in said for word in words)]
    if not found:
        return ""
    return found[0] if triplet.edit == "recolour" else PATTERN_ADJECTIVES[found[0]][0]


@dataclass(frozen=True)
class KnownWords:
    """How much of a set of captions a model knows.

    Attributes:
        running: Share of the running words that are known, or that leave the reading as it is; one a caption.
        lengths: Number of words of each caption.
        in_vocabulary: Share of all running words that the tokenizer has tokens for.
        missing: The unknown words and how often each comes up, the most frequent first.
    """

    running: list[float]
    lengths: list[int]
    in_vocabulary: float
    missing: list[tuple[str, int]]

    @property
    def share(self) -> float:
        """Share of all running words."""
        return float(np.average(self.running, weights=self.lengths))

    @property
    def whole(self) -> float:
        """Share of the captions of which every word is known."""
        return float(np.mean([share == 1 for share in self.running]))

    @property
    def half_width(self) -> float:
        """Half the 95 % interval of :attr:`share`, captions drawn again (normal approximation of a ratio)."""
        lengths, known = np.array(self.lengths), np.array(self.running) * self.lengths
        rests = known - self.share * lengths
        return float(1.96 * rests.std() / (lengths.mean() * np.sqrt(len(lengths))))


def find_known_words(composer: Composer, captions: Iterable[str]) -> KnownWords:
    """Count the running words of captions that a model knows."""
    missing: Counter[str] = Counter()
    running, lengths = [], []
    find, vocabulary, found = capabilities(composer).unknown_words, frozenset[str](), 0
    if find is not None:
        vocabulary = frozenset(capabilities(composer).need_tokenizer().get_vocab())
    for caption in captions:
        words = _WORD.findall(caption.lower())
        unknown = {word.lower() for word in find_unknown_words(composer, [caption])}
        lost = [word for word in words if word in unknown]
        found += sum(find is None or word in vocabulary for word in words)
        if words:
            missing.update(lost)
            running.append(1 - len(lost) / len(words))
            lengths.append(len(words))
    return KnownWords(running, lengths, found / max(1, sum(lengths)), missing.most_common())


def read_captions(files: Sequence[Path]) -> list[str]:
    """Read every caption of files in the layout of FashionIQ: a list of objects with ``captions``."""
    return [caption for file in files for entry in json.loads(file.read_text()) for caption in entry["captions"]]
