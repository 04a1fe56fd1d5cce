"""What follows the image in a generative model's prompt: the tokens around the question, and a neutral question."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from mmgrad_explain.composers.generative.processor import GenerativeProcessor

NEUTRAL_QUESTION = "Write a general description of the image."
"""The neutral instruction of Zhang et al., MLLMs know where to look, arXiv 2502.17422."""
_OTHER_QUESTION = "a"


@dataclass(frozen=True)
class PromptTail:
    """What follows the image in every prompt.

    Attributes:
        before: Tokens between the image and the question; None where the question does not follow the image.
        after: Tokens after the question; None likewise.
        neutral: All that follows the image in the prompt of a neutral question, ``(T,)``: ids, mask, types by name.
    """

    before: tuple[int, ...] | None
    after: tuple[int, ...] | None
    neutral: Mapping[str, Tensor]


def read_prompt_tail(processor: GenerativeProcessor, image_token: int) -> PromptTail:
    """Compare what the processor makes of two questions about a blank image.

    Args:
        processor: For images and texts.
        image_token: Id of the tokens that stand for the image.
    """
    blank = Image.new("RGB", (64, 64), "grey")
    tails = []
    for prompt in processor.make_prompts([blank, blank], [NEUTRAL_QUESTION, _OTHER_QUESTION]):
        tensors = {name: prompt.tensors[name][0] for name in processor.token_tensors if name in prompt.tensors}
        last = int((tensors["input_ids"] == image_token).nonzero()[-1, 0])
        tails.append({name: values[last + 1 :] for name, values in tensors.items()})
    neutral, other = (tail["input_ids"].tolist() for tail in tails)
    if neutral == other:
        return PromptTail(None, None, tails[0])
    before = count_common(neutral, other)
    after = count_common(neutral[before:][::-1], other[before:][::-1])
    return PromptTail(tuple(neutral[:before]), tuple(neutral[len(neutral) - after :]), tails[0])


def count_common(first: Sequence[int], second: Sequence[int]) -> int:
    """Count the tokens with which both sequences begin."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))
