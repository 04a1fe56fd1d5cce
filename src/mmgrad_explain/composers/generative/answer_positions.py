"""Where question and answer lie in the sequence that the language model of a generative model reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from mmgrad_explain.attention.model_hints import AnswerLayers, AnswerPositions
from mmgrad_explain.composers.generative.processor import IGNORED_LABEL
from mmgrad_explain.composers.generative.prompt_tail import count_common
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from mmgrad_explain.composers.generative.family import GenerativeFamily
    from mmgrad_explain.composers.generative.outputs import GenerativeOutput
    from mmgrad_explain.composers.generative.processor import GenerativeProcessor
    from mmgrad_explain.composers.generative.prompt_tail import PromptTail

_ROWS_AT_ONCE = 128  # of all logits, where the output embedding is no plain matrix


def find_answer_positions(
    model: Any,
    processor: GenerativeProcessor,
    family: GenerativeFamily,
    tail: PromptTail,
    output: GenerativeOutput,
    tensors: Mapping[str, Tensor],
) -> AnswerPositions:
    """Find question and answer in the sequences of a call.

    Args:
        model: Of transformers.
        processor: For it.
        family: What is particular to it.
        tail: What follows the image in its prompts.
        output: Of the call; its labels say which tokens of the answer the score counts.
        tensors: The arguments of the call, by name.
    """
    ids = tensors["input_ids"]
    labels, lengths = tensors["labels"].to(ids.device), tensors.get("answer_lengths")
    if lengths is None:
        lengths = labels.shape[1] - (labels >= 0).int().argmax(1)
    places = torch.arange(ids.shape[1], device=ids.device)
    answer = places >= ids.shape[1] - lengths.to(ids.device)[:, None]
    prompts = (tensors["attention_mask"].to(ids.device) > 0) & ~answer
    image = int(model.config.image_token_id)
    special = {*processor.tokenizer.all_special_ids, image}
    question = torch.zeros_like(prompts)
    for row, of_prompt, found in zip(ids, prompts, question, strict=True):
        kept = of_prompt.nonzero()[:, 0]
        found[kept[_find_question(row[kept].tolist(), image, special, tail)]] = True
    rest = ids.shape[1] - output.labels.shape[1]
    following = ids[:, rest + 1 :, None].to(output.logits.device)
    predicted = output.logits[:, :-1].gather(2, following)[..., 0].float().to(ids.device)
    return AnswerPositions(
        ids=ids,
        question=question,
        answer=answer,
        counted=F.pad(output.labels.to(ids.device) >= 0, (rest, 0)),
        predicted=F.pad(predicted, (rest + 1, 0)) * answer,
        token_logits=lambda hidden, tokens: compute_token_logits(model, family, hidden, tokens),
        neutral_inputs=lambda: make_neutral(model, processor, tail, prompts, tensors),
    )


def find_answer_layers(model: Any, prefix: str) -> AnswerLayers:
    """Find the language model of a generative model.

    Args:
        model: Of transformers.
        prefix: What the names of its layers begin with.
    """
    decoder = model.get_decoder()
    name = prefix + next(name for name, module in model.named_modules() if module is decoder)
    return AnswerLayers(name, tuple(f"{name}.layers.{index}" for index in range(len(decoder.layers))))


def compute_token_logits(model: Any, family: GenerativeFamily, hidden: Tensor, tokens: Tensor) -> Tensor:
    """Compute the logits of the given tokens only, from their rows of the output embedding.

    Args:
        model: Of transformers.
        family: What is particular to it.
        hidden: Outputs of its language model, ``(N, D)``.
        tokens: Ids of tokens, ``(K,)``.

    Returns:
        ``(N, K)``, the model's own logits.
    """
    head = model.get_output_embeddings()
    if type(head) is nn.Linear:
        bias = None if head.bias is None else head.bias[tokens]
        logits = F.linear(hidden.to(head.weight.dtype), head.weight[tokens], bias)
    else:  # adapted or quantized: only the module itself knows its rows
        logits = torch.cat([head(part)[:, tokens] for part in torch.split(hidden, _ROWS_AT_ONCE)])
    cap = family.logit_cap(model.config)
    return logits if cap is None else cap * torch.tanh(logits / cap)


def make_neutral(
    model: Any, processor: GenerativeProcessor, tail: PromptTail, prompts: Tensor, tensors: Mapping[str, Tensor]
) -> dict[str, Any]:
    """Make the arguments of a call for the same images with a neutral question and no answer.

    Args:
        model: Of transformers.
        processor: For it.
        tail: What follows the image in its prompts.
        prompts: Which tokens are the prompt's, ``(B, L)`` bool.
        tensors: The arguments of the call, by name.

    Raises:
        InputError: If the question does not follow the image.
    """
    if tail.before is None:
        raise InputError(
            "method: in this model's prompt the question does not follow the image, so that no neutral question can "
            "take its place: take another method, such as 'token-activation'"
        )
    rows: dict[str, list[Tensor]] = {name: [] for name in tail.neutral}
    for index, of_prompt in enumerate(prompts):
        kept = of_prompt.nonzero()[:, 0]
        is_image = tensors["input_ids"][index, kept] == model.config.image_token_id
        start = kept[: int(is_image.nonzero()[-1, 0]) + 1]
        for name, values in tail.neutral.items():
            rows[name].append(torch.cat([tensors[name][index, start], values.to(tensors[name])]))
    neutral: dict[str, Any] = {name: processor.pad(name, values) for name, values in rows.items()}
    labels = torch.full_like(tensors["labels"][:, :1], IGNORED_LABEL)
    images = {name: value for name, value in tensors.items() if name != "answer_lengths"}
    return {**images, **neutral, "labels": labels}


def _find_question(prompt: Sequence[int], image: int, special: set[int], tail: PromptTail) -> list[int]:
    """Find the places of the question's tokens in a prompt: between what comes before and after every question.

    Where the question does not follow the image, all words of the prompt count.
    """
    start = end = 0
    if tail.before is not None and tail.after is not None:
        start = len(prompt) - prompt[::-1].index(image)
        start += count_common(prompt[start:], tail.before)
        end = count_common(prompt[start:][::-1], tail.after[::-1])
    return [place for place in range(start, len(prompt) - end) if prompt[place] not in special]
