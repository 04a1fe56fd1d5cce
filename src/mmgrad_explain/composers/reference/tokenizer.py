"""A word-level tokenizer for the reference composer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tokenizers import Tokenizer

PAD, UNKNOWN = "[PAD]", "[UNK]"


def build_tokenizer(vocabulary: Iterable[str]) -> Tokenizer:
    """Build a tokenizer that lower-cases, drops accents and punctuation, and looks up whole words.

    Args:
        vocabulary: The words, in the order of their ids; padding has id 0 and the unknown word has id 1.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    words = [PAD, UNKNOWN, *vocabulary]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"[^\w\s]+"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([PAD, UNKNOWN])
    return tokenizer
