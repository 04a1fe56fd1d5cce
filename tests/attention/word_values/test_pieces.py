"""The words of a text, the tokens of each, and the text without one of them."""

import pytest
from tokenizers import Tokenizer, models

from mmgrad_explain.attention.word_values.pieces import decode_words, find_words, leave_out, pieces_of_text


def test_pieces_are_merged_to_words(pieces):
    encoding = pieces.encode("Make it redder.")
    assert encoding.tokens == ["[CLS]", "make", "it", "red", "##der", ".", "[SEP]"]
    found = pieces_of_text(pieces, "Make it redder.", encoding.ids, range(7))
    assert found == [("Make", (1,)), ("it", (2,)), ("redder", (3, 4)), (".", (5,))]


def test_cut_and_padded_texts(pieces):
    assert pieces_of_text(pieces, "make it redder", [0, 0, 2, 4, 5, 6], [2, 3, 4, 5]) == [
        ("make", (3,)), ("it", (4,)), ("red", (5,))
    ]  # fmt: skip
    assert pieces_of_text(pieces, "make it", [], []) == []


def test_words_that_a_tokenizer_does_not_split():
    """Without a pre-tokenizer a whole sentence is one word to the tokenizer: white space splits it."""
    made = Tokenizer(models.BPE({c: i for i, c in enumerate("abcde ▁")}, [], unk_token=None))
    assert pieces_of_text(made, "ab cd", made.encode("ab cd").ids, range(5)) == [("ab", (0, 1)), ("cd", (3, 4))]


def test_a_tokenizer_without_offsets_names_tokens():
    class Plain:
        all_special_ids = (0,)

        def encode(self, text):
            return [len(word) for word in text.split()]

        def decode(self, ids):
            return " ".join("x" * one for one in ids)

    assert decode_words(Plain(), [0, 2, 3, 0], [0, 1, 2]) == [("xx", (1,)), ("xxx", (2,))]
    assert [word.span for word in find_words(Plain(), "xx xxx", [0, 2, 3, 0], [0, 1, 2])] == [None, None]


@pytest.mark.parametrize(
    ("text", "word", "left"),
    [
        ("make it redder.", "Make", None),
        ("make it redder.", "make", "it redder."),
        ("make it redder.", "it", "make redder."),
        ("make it redder.", "redder", "make it."),
        ("make it redder.", ".", "make it redder"),
        ("  make it", "make", "  it"),
        ("make", "make", ""),
        ("make it (red), please", "it", "make (red), please"),
    ],
)
def test_a_word_is_left_out_as_one_would_type_it(pieces, text, word, left):
    encoding = pieces.encode(text)
    spans = {found.text: found.span for found in find_words(pieces, text, encoding.ids, range(len(encoding.ids)))}
    if left is None:
        assert word not in spans
        return
    start = text.index(word)
    assert leave_out(text, spans.get(word, (start, start + len(word)))) == left
    if word in spans:
        assert spans[word] == (start, start + len(word))


def test_parts_of_a_compound_leave_no_gap():
    assert leave_out("the t-shirt", (4, 5)) == "the -shirt"
    assert leave_out("红色的鞋", (0, 2)) == "的鞋"
