"""Prepare images, questions and answers for a generative model by its own processor of transformers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgrad_explain.composers.generative.answer_parts import place_of_part
from mmgrad_explain.composers.huggingface.loading import first_line, silent
from mmgrad_explain.composers.huggingface.processor import check_one_size, tokenizing
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL import Image

    from mmgrad_explain.composers.generative.answer_parts import Part
    from mmgrad_explain.composers.generative.family import GenerativeFamily
    from mmgrad_explain.images.placement import Placement

IGNORED_LABEL = -100
"""The label of a position that does not count, as in the losses of PyTorch and transformers."""


@dataclass(frozen=True)
class Prompt:
    """One image with its question.

    Attributes:
        tensors: As the model's processor gives them, a batch of 1.
        placement: Where the image lies in the frame that the map covers.
    """

    tensors: dict[str, Tensor]
    placement: Placement


class GenerativeProcessor:
    """A model's own processor.

    A question becomes a prompt by the chat template of the model's folder, or else by the family's prompt.

    Args:
        processor: Of transformers, for images and texts.
        family: What is particular to the model.
    """

    def __init__(self, processor: Any, family: GenerativeFamily) -> None:
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.family = family

    @property
    def token_tensors(self) -> tuple[str, ...]:
        """Names of the tensors that have a value for each token."""
        return ("input_ids", "attention_mask", *self.family.types)

    def make_prompt(self, text: str) -> str:
        """Make the prompt of a question."""
        if getattr(self.processor, "chat_template", None) is None:
            return self.family.prompt.replace("{question}", text)
        messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]
        return str(self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))

    def _has_image_token(self, text: str) -> bool:
        token = getattr(self.processor, "image_token", None)
        return isinstance(token, str) and token in text

    def make_prompts(self, images: Sequence[Image.Image], texts: Sequence[str]) -> list[Prompt]:
        """Prepare images with their questions, one by one.

        Raises:
            InputError: If their numbers differ, the images have different sizes for the model, or the processor refuses
                one.
        """
        if len(images) != len(texts):
            raise InputError(f"a batch needs one text for each image, got {len(images)} images, {len(texts)} texts")
        types = self.family.types if self.family.prompt_type is None else ()
        options = {f"return_{name}": True for name in types}
        prompts = []
        for image, text in zip(images, texts, strict=True):
            if self._has_image_token(text):
                raise InputError(f"the text {text!r} holds the image token, which is added automatically: leave it out")
            try:
                with tokenizing(self.tokenizer):
                    made = self.processor(images=[image], text=[self.make_prompt(text)], return_tensors="pt", **options)
            except (ValueError, TypeError, KeyError, IndexError) as error:
                raise InputError(
                    f"the model's own processor cannot take this image with {text!r}: {first_line(error)}"
                ) from error
            tensors = {name: made[name] for name in (*self.token_tensors, *self.family.image_tensors) if name in made}
            if self.family.prompt_type is not None:
                prompt_types = torch.full_like(tensors["input_ids"], self.family.prompt_type)
                tensors |= dict.fromkeys(self.family.types, prompt_types)
            tensors |= self.family.tiles_of(self.processor, image, tensors)
            placement = self.family.place(self.processor, image, tensors)
            prompts.append(Prompt(tensors, placement))
        check_one_size([prompt.placement for prompt in prompts])
        return prompts

    def tokenize(self, answer: str) -> list[int]:
        """Tokenize an answer.

        Raises:
            InputError: If it is empty.
        """
        with tokenizing(self.tokenizer):
            found = self.tokenizer(answer, add_special_tokens=False)["input_ids"] if answer else []
        if not found:
            raise InputError("answer is empty: give a possible answer, or leave it out and the model answers itself")
        return [int(token) for token in found]

    def decode(self, ids: Sequence[int]) -> str:
        """Decode an answer's tokens."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def cut_at_end(self, ids: Sequence[int]) -> list[int]:
        """Cut a generated answer at its first special token."""
        special = set(self.tokenizer.all_special_ids)
        end = next((index for index, token in enumerate(ids) if token in special), len(ids))
        return list(ids[:end])

    def join(self, prompts: Sequence[Prompt], answers: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """Join prompts and answers to one batch, padded on the left, so that all answers end together.

        Args:
            prompts: Of images that have one size for the model.
            answers: Token ids, one list for each prompt.

        Returns:
            The model's inputs; ``labels``, ``(B, A + 1)``: the answers' ids at the last positions; ``answer_lengths``,
            ``(B,)``: their numbers of tokens.
        """
        joined: dict[str, Tensor] = {}
        for name in prompts[0].tensors:
            values = [prompt.tensors[name] for prompt in prompts]
            if name in self.token_tensors:
                rows = [
                    torch.cat([value[0], self._answer_values(name, ids)])
                    for value, ids in zip(values, answers, strict=True)
                ]
                values = [self.pad(name, rows)]
            joined[name] = torch.cat(values)
        lengths = torch.tensor([len(ids) for ids in answers])
        return {**joined, "labels": self.make_labels(answers, [None] * len(answers)), "answer_lengths": lengths}

    def pad(self, name: str, rows: Sequence[Tensor]) -> Tensor:
        """Pad rows on the left to the longest one.

        Args:
            name: Of the tensor that they make, one of :attr:`token_tensors`.
            rows: B one-dimensional tensors.

        Returns:
            ``(B, L)``.
        """
        width, padding = max(map(len, rows)), self._padding(name)
        return torch.stack([torch.cat([row.new_full((width - len(row),), padding), row]) for row in rows])

    def make_labels(self, answers: Sequence[Sequence[int]], parts: Sequence[Part]) -> Tensor:
        """Make labels ``(B, A + 1)``: the ids of the answers' parts, and ``IGNORED_LABEL`` elsewhere.

        Args:
            answers: Token ids of B answers, the longest with A tokens.
            parts: The part of each answer that counts.

        Raises:
            InputError: If an answer does not hold its part, or holds it more than once.
        """
        width = max(map(len, answers)) + 1
        labels = torch.full((len(answers), width), IGNORED_LABEL)
        for row, ids, part in zip(labels, answers, parts, strict=True):
            for index in self._part_tokens(ids, part):
                row[width - len(ids) + index] = ids[index]
        return labels

    def _answer_values(self, name: str, ids: Sequence[int]) -> Tensor:
        if name == "input_ids":
            return torch.tensor(ids, dtype=torch.long)
        value = 1 if name == "attention_mask" else self.family.types[name]
        return torch.full((len(ids),), value, dtype=torch.long)

    def _padding(self, name: str) -> int:
        if name != "input_ids":
            return 0
        pad = self.tokenizer.pad_token_id
        return int(pad if pad is not None else self.tokenizer.eos_token_id or 0)

    def _part_tokens(self, ids: Sequence[int], part: Part) -> list[int]:
        """Find the indices of an answer's tokens that hold a part of it."""
        if part is None:
            return list(range(len(ids)))
        ends = [len(self.decode(ids[: index + 1])) for index in range(len(ids))]
        start, stop = place_of_part(part, self.decode(ids))
        starts = [0, *ends[:-1]]
        return [
            index for index, (first, end) in enumerate(zip(starts, ends, strict=True)) if first < stop and end > start
        ]

    @classmethod
    def from_pretrained(cls, folder: Path, family: GenerativeFamily) -> GenerativeProcessor:
        """Read a model folder's own processor; no code in it is run.

        Raises:
            InputError: If a file is missing or cannot be read.
        """
        from transformers import AutoProcessor

        try:
            with silent():
                processor = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # the tokenizers library raises bare Exception for a file it cannot parse
            raise InputError(f"the processor in {folder} cannot be read: {first_line(error)}") from error
        if not is_whole_processor(processor):
            raise InputError(
                f"{folder} has no processor for images and texts: it needs preprocessor_config.json and a tokenizer"
            )
        return cls(processor, family)


def is_whole_processor(processor: Any) -> bool:
    """Return whether a processor of transformers has an image processor and a tokenizer."""
    return hasattr(processor, "image_processor") and hasattr(processor, "tokenizer")
