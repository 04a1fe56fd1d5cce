"""Pictures, questions and answers to the tensors of a generative model, by its own processor in transformers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgrad_explain.composers.generative.answer_parts import place_of_part
from mmgrad_explain.composers.huggingface.files import silent
from mmgrad_explain.composers.huggingface.processor import check_one_size, tokenizing
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL import Image

    from mmgrad_explain.composers.generative.answer_parts import Part
    from mmgrad_explain.composers.generative.families import GenerativeFamily
    from mmgrad_explain.images.placement import Placement

NOT_ASKED = -100


@dataclass(frozen=True)
class Prompt:
    """One picture with its question.

    Attributes:
        tensors: As the model's processor gives them, a batch of 1.
        placement: Where the picture lies in what the map covers.
    """

    tensors: dict[str, Tensor]
    placement: Placement


class GenerativeProcessor:
    """A model's own processor.

    A question becomes a prompt by the chat template of the model's folder, or, where it has none, by the family's.

    Args:
        processor: Of transformers, for pictures and texts.
        family: What is particular to the model.
    """

    def __init__(self, processor: Any, family: GenerativeFamily) -> None:
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.family = family

    @property
    def _of_tokens(self) -> tuple[str, ...]:
        return ("input_ids", "attention_mask", *self.family.types)

    def prompt(self, text: str) -> str:
        """What the model reads for a question."""
        if getattr(self.processor, "chat_template", None) is None:
            return self.family.prompt.replace("{question}", text)
        said = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]
        return str(self.processor.apply_chat_template(said, add_generation_prompt=True, tokenize=False))

    def _stands_for_pictures(self, text: str) -> bool:
        token = getattr(self.processor, "image_token", None)
        return isinstance(token, str) and token in text

    def prompts(self, images: Sequence[Image.Image], texts: Sequence[str]) -> list[Prompt]:
        """Prepare pictures with their questions, one by one.

        Raises:
            InputError: If their numbers differ, the pictures come out in different sizes, or the processor refuses one.
        """
        if len(images) != len(texts):
            raise InputError(f"a batch needs one text for each image, got {len(images)} images, {len(texts)} texts")
        asked = self.family.types if self.family.prompt_type is None else ()
        options = {f"return_{name}": True for name in asked}
        prompts = []
        for image, text in zip(images, texts, strict=True):
            if self._stands_for_pictures(text):
                raise InputError(f"the text {text!r} holds what stands for the picture, which is put in by itself")
            try:
                with tokenizing(self.tokenizer):
                    made = self.processor(images=[image], text=[self.prompt(text)], return_tensors="pt", **options)
            except (ValueError, TypeError, KeyError, IndexError) as error:
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise InputError(
                    f"the model's own processor cannot take this picture with {text!r}: {reason}"
                ) from error
            tensors = {name: made[name] for name in (*self._of_tokens, *self.family.pictures) if name in made}
            if self.family.prompt_type is not None:
                own = torch.full_like(tensors["input_ids"], self.family.prompt_type)
                tensors |= dict.fromkeys(self.family.types, own)
            tensors |= self.family.tiles_of(self.processor, image, tensors)
            placement = self.family.place(self.processor, image, tensors)
            prompts.append(Prompt(tensors, placement))
        check_one_size([prompt.placement for prompt in prompts])
        return prompts

    def ids(self, answer: str) -> list[int]:
        """The tokens of an answer.

        Raises:
            InputError: If it is empty.
        """
        with tokenizing(self.tokenizer):
            found = self.tokenizer(answer, add_special_tokens=False)["input_ids"] if answer else []
        if not found:
            raise InputError("answer is empty: say what the model might answer, or leave it out to have it answer")
        return [int(one) for one in found]

    def words(self, ids: Sequence[int]) -> str:
        """An answer of its tokens."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def cut(self, ids: Sequence[int]) -> list[int]:
        """What a model said, up to its end, without special tokens behind it."""
        special = set(self.tokenizer.all_special_ids)
        end = next((place for place, one in enumerate(ids) if one in special), len(ids))
        return list(ids[:end])

    def join(self, prompts: Sequence[Prompt], answers: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """One batch of prompts and answers, padded on the left, so that all answers end together.

        Args:
            prompts: Of pictures of one size.
            answers: Token ids, one list a prompt.

        Returns:
            What the model takes, and ``labels``, ``(B, A + 1)``: the answers' ids at the last places.
        """
        lengths = [
            prompt.tensors["input_ids"].shape[1] + len(ids) for prompt, ids in zip(prompts, answers, strict=True)
        ]
        width = max(lengths)
        joined: dict[str, Tensor] = {}
        for name in prompts[0].tensors:
            values = [prompt.tensors[name] for prompt in prompts]
            if name in self._of_tokens:
                rows = [
                    torch.cat([value[0], self._continued(name, ids)])
                    for value, ids in zip(values, answers, strict=True)
                ]
                padding = self._padding(name)
                values = [torch.cat([row.new_full((width - len(row),), padding), row])[None] for row in rows]
            joined[name] = torch.cat(values)
        return {**joined, "labels": self.labels(answers, [None] * len(answers))}

    def labels(self, answers: Sequence[Sequence[int]], parts: Sequence[Part]) -> Tensor:
        """The ids that are asked for, ``(B, A + 1)``, and ``NOT_ASKED`` elsewhere.

        Args:
            answers: Token ids of B answers, the longest of A.
            parts: What counts of each.

        Raises:
            InputError: If an answer does not hold its part, or more than once.
        """
        width = max(map(len, answers)) + 1
        labels = torch.full((len(answers), width), NOT_ASKED)
        for row, ids, part in zip(labels, answers, parts, strict=True):
            for place in self._counting(ids, part):
                row[width - len(ids) + place] = ids[place]
        return labels

    def _continued(self, name: str, ids: Sequence[int]) -> Tensor:
        if name == "input_ids":
            return torch.tensor(ids, dtype=torch.long)
        value = 1 if name == "attention_mask" else self.family.types[name]
        return torch.full((len(ids),), value, dtype=torch.long)

    def _padding(self, name: str) -> int:
        if name != "input_ids":
            return 0
        own = self.tokenizer.pad_token_id
        return int(own if own is not None else self.tokenizer.eos_token_id or 0)

    def _counting(self, ids: Sequence[int], part: Part) -> list[int]:
        """The places of the tokens, within an answer, that hold a part of it."""
        if part is None:
            return list(range(len(ids)))
        ends = [len(self.words(ids[: place + 1])) for place in range(len(ids))]
        start, stop = place_of_part(part, self.words(ids))
        starts = [0, *ends[:-1]]
        return [
            place for place, (first, end) in enumerate(zip(starts, ends, strict=True)) if first < stop and end > start
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
                own = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # the tokenizers library raises bare Exception for a file it cannot parse
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InputError(f"the processor in {folder} cannot be read: {reason}") from error
        if not hasattr(own, "tokenizer") or not hasattr(own, "image_processor"):
            raise InputError(
                f"{folder} has no processor for pictures and texts: it needs preprocessor_config.json and a tokenizer"
            )
        return cls(own, family)
