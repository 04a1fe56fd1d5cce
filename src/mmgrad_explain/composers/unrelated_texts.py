"""A text that has nothing to do with another one, in words that a model knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgrad_explain.composers.content_words import content_words, find_unknown_words, word_class

if TYPE_CHECKING:
    from mmgrad_explain.composers.base import Composer

SENTENCES = (
    "a red bus in the street",
    "a bowl of soup on the table",
    "remove the small green square",
    "make the large circle blue",
    "has long sleeves and is white",
    "is shorter and more colorful",
)
QUESTIONS = ("How many birds are in the sky?", "Is there a red bus in the street?")


def find_unrelated_text(composer: Composer, text: str) -> str:
    """Choose a sentence for a model that names no thing that a text names.

    Args:
        composer: The model; it gets a question if it answers in words. Of the sentences about other things, that is
            taken of which it knows the most words, then the one that shares the fewest words with the text.
        text: The text.
    """
    own = {word.lower() for word in content_words(text)}

    def rank(sentence: str) -> tuple[bool, int, int]:
        shared = {word.lower() for word in content_words(sentence)} & own
        things = any(word_class(word) == 0 for word in shared)
        return things, len(find_unknown_words(composer, [sentence])), len(shared)

    return min(QUESTIONS if composer.answers_in_words else SENTENCES, key=rank)
