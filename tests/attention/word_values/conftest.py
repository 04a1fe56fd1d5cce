"""Tokenizers that tests of words share."""

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors


@pytest.fixture
def pieces():
    """A word-piece tokenizer: "redder" is "red" and "##der"."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "make", "it", "red", "##der", "."]
    made = Tokenizer(models.WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.decoder = decoders.WordPiece()
    made.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    return made
