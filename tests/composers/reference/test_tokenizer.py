"""The word tokenizer of the reference model."""

from mmgrad_explain.composers.reference.tokenizer import PAD, UNKNOWN, build_tokenizer


def test_ids_follow_the_vocabulary_behind_padding_and_the_unknown_word():
    tokenizer = build_tokenizer(["make", "it", "red"])
    assert tokenizer.get_vocab() == {PAD: 0, UNKNOWN: 1, "make": 2, "it": 3, "red": 4}
    assert tokenizer.encode("make it blue").ids == [2, 3, 1]


def test_case_accents_and_punctuation_are_dropped():
    tokenizer = build_tokenizer(["make", "it", "red", "t", "shirt"])
    assert tokenizer.encode("M\u00e1ke  it RED!").ids == [2, 3, 4]
    assert tokenizer.encode("t-shirt").tokens == ["t", "shirt"]


def test_each_token_says_where_it_stands():
    text = "make, it  red"
    encoding = build_tokenizer(["make", "it", "red"]).encode(text)
    assert [text[start:end] for start, end in encoding.offsets] == ["make", "it", "red"]
