"""Prompts around a pseudo-word."""

import pytest
import torch

from mmgrad_explain.composers.fusion.processor import FusionProcessor
from mmgrad_explain.errors import InputError


class Letters:
    """A processor that takes a text letter by letter."""

    def encode_texts(self, texts, notices=None):
        rows = [[ord(letter) for letter in text] for text in texts]
        width = max(map(len, rows))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        return ids, (ids > 0).long()


def test_prompts_that_do_not_fit():
    for prompt in ("a photo that {text}", "$ and $ that {text}", "a $", "{text} of $", "$ {text} {text}"):
        with pytest.raises(InputError, match=r"prompt must have one \$ and, after it, one {text}, as 'a photo of"):
            FusionProcessor(Letters(), prompt)
    with pytest.raises(InputError, match="this model's tokenizer cannot put one word after 'a photo of': use other"):
        FusionProcessor(Letters(), "a photo of $ that {text}")
