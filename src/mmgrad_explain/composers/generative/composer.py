"""Generative vision-language models of transformers: which patches of a picture made the model say its answer.

The score is the log-likelihood of an answer, ``s = sum_i log p(a_i | picture, question, a_1 ... a_i-1)``, given by the
user or said by the model itself (greedy decoding); its gradient is taken where the picture's patches stand by
themselves a last time, before the language model mixes them with words. Source: Grad-CAM (arXiv 1610.02391) with the
log-likelihood in the place of a class score.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch.nn import functional as F

from mmgrad_explain._system.devices import device_of
from mmgrad_explain.attention.undisturbed import evaluating
from mmgrad_explain.composers.base import Composer, ComposerInputs, layer_inside
from mmgrad_explain.composers.files import read_config
from mmgrad_explain.composers.generative.answer_parts import PartsAsked, is_several, parts_of_each
from mmgrad_explain.composers.generative.families import generative_family_of
from mmgrad_explain.composers.generative.processor import NOT_ASKED, GenerativeProcessor, Prompt
from mmgrad_explain.composers.huggingface.files import read_model
from mmgrad_explain.composers.in_memory import part_of
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL import Image
    from torch import Tensor

    from mmgrad_explain.attention.layouts.layout import AnyLayout
    from mmgrad_explain.composers.generative.answer_parts import Parts
    from mmgrad_explain.composers.generative.families import GenerativeFamily


class GenerativeOutput(NamedTuple):
    """What a generative model says of an answer.

    Attributes:
        logits: At the last places of the sequence, of the token that follows, ``(B, A + 1, V)``.
        labels: The answer's token ids at these places, -100 where nothing is asked, ``(B, A + 1)``.
    """

    logits: Tensor
    labels: Tensor


class GenerativeComposer(Composer):
    """A model that answers in words, as transformers has it.

    The default score is ``"answer"``, the answer's log-likelihood. There is no target picture.

    Args:
        model: Of the class the family names.
        processor: For it.
        family: What is particular to it.
        name: What it is called.
        max_new_tokens: Longest answer that the model gives by itself, in tokens.
    """

    default_score: ClassVar[str | None] = "answer"
    answers_in_words: ClassVar[bool] = True

    def __init__(
        self, model: Any, processor: GenerativeProcessor, family: GenerativeFamily, name: str, max_new_tokens: int = 32
    ) -> None:
        super().__init__()
        self.model = model
        self.processor = processor
        self.family = family
        self.name = name
        self.max_new_tokens = max_new_tokens
        layer = f"model.{family.layer(model.config)}"
        self.target_layer = layer_inside(self, layer) or layer

    def preprocess(
        self,
        images: Sequence[Image.Image],
        texts: Sequence[str],
        targets: Sequence[Image.Image] | None = None,
        *,
        answers: Sequence[str] | None = None,
        answer_part: Parts = None,
    ) -> ComposerInputs:
        """Pictures, questions and answers to tensors.

        Args:
            images: Pictures, RGB, of one size for the model.
            texts: What is asked or told, one a picture.
            targets: There is no such thing here: None.
            answers: What the model might say, one a picture. None takes what it says by itself.
            answer_part: Only this part of the answers counts, such as one word; what stands before it is given. Of a
                list each part is asked about by itself, in one forward; see
                :data:`~mmgrad_explain.composers.generative.answer_parts.Parts`.

        Returns:
            Tensors for :meth:`forward`, padded on the left; placements; the answers; the parts, of a list.

        Raises:
            InputError: If there are targets, numbers differ, pictures come out in different sizes, an answer is empty
                or does not hold ``answer_part`` once.
        """
        if targets is not None:
            raise InputError(f"target: {self.name} answers in words and takes no target picture: leave it out")
        prompts = self.processor.prompts(images, texts)
        if answers is None:
            ids = self._say(prompts)
            said = [self.processor.words(one) for one in ids]
        else:
            said = list(answers)
            if len(said) != len(prompts):
                raise InputError(
                    f"answer: {len(said)} answers for {len(prompts)} pictures: give one for all, or one each"
                )
            ids = [self.processor.ids(one) for one in said]
        each = parts_of_each(answer_part, len(prompts))
        tensors, parts = self.processor.join(prompts, ids), None
        most = max(map(len, each))
        labels = tuple(
            self.processor.labels(ids, [of_one[min(number, len(of_one) - 1)] for of_one in each])
            for number in range(most)
        )
        if is_several(answer_part):
            wanted = tuple((number, row) for row, of_one in enumerate(each) for number in range(len(of_one)))
            parts = PartsAsked(labels, wanted)
        else:
            tensors["labels"] = labels[0]
        return ComposerInputs(tensors, [prompt.placement for prompt in prompts], answers=said, parts=parts)

    def forward(  # type: ignore[override]  # it takes an answer, and no target
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor, **pictures: Tensor
    ) -> GenerativeOutput:
        """Read pictures, questions and answers.

        Args:
            input_ids: Tokens, padded on the left, ``(B, L)``.
            attention_mask: 1 for tokens, 0 for padding, ``(B, L)``.
            labels: Of the last places, see :class:`GenerativeOutput`, ``(B, A + 1)``.
            **pictures: What the model takes of the pictures.
        """
        places = labels.shape[1]
        pictures.pop("tiles", None)  # for the layout only
        options: dict[str, Any] = {"use_cache": False, "return_dict": True}
        if self.family.labels:
            options["labels"] = F.pad(labels, (input_ids.shape[1] - places, 0), value=NOT_ASKED)
        elif "logits_to_keep" in inspect.signature(self.model.forward).parameters:
            options["logits_to_keep"] = places  # a vocabulary is large
        output = self.model(input_ids=input_ids, attention_mask=attention_mask, **options, **pictures)
        return GenerativeOutput(output.logits[:, -places:], labels)

    def layout_for(self, layer: str, **tensors: Tensor) -> AnyLayout:
        """How a layer's output lies on these pictures."""
        return self.family.layout(self.model, layer.removeprefix("model."), tensors)

    def _say(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """What the model answers by itself, by greedy decoding, as token ids.

        Raises:
            InputError: If it says nothing.
        """
        tensors = self.processor.join(prompts, [[] for _ in prompts])
        for name in ("labels", "tiles"):
            tensors.pop(name, None)
        place = device_of(self.model)
        with evaluating(self.model.modules()), torch.no_grad():
            found = self.model.generate(
                **{name: tensor.to(place) for name, tensor in tensors.items()},
                max_new_tokens=self.max_new_tokens,
                do_sample=False,
            )
        answers = [self.processor.cut(row) for row in found[:, tensors["input_ids"].shape[1] :].tolist()]
        if not all(answers):
            raise InputError(f"answer: {self.name} says nothing to this by itself: give an answer to ask about")
        return answers

    @classmethod
    def from_pretrained(cls, folder: Path, name: str) -> GenerativeComposer:
        """Read a folder as transformers and its hub have it; no code in it is run. Weights keep their precision.

        Args:
            folder: With config, weights and processor.
            name: What the model is called.

        Raises:
            InputError: If something is missing or damaged, or the model is of a kind that cannot be used.
        """
        family = generative_family_of(read_config(folder), name)
        model = read_model(folder, family.model_class, family.title, own_dtype=True)
        return cls(model, GenerativeProcessor.from_pretrained(folder, family), family, name).eval()

    @classmethod
    def from_memory(cls, model: Any, processor: Any, name: str) -> GenerativeComposer:
        """Take a model of transformers as it is.

        Args:
            model: Of the class that its family names.
            processor: Its whole processor, since it puts the picture's tokens into the prompt.
            name: What the model is called.

        Raises:
            InputError: If the model is of a kind that cannot be used, or the processor is missing or no whole one.
        """
        family = generative_family_of(model.config.to_dict(), name)
        model = part_of(model, family.model_class, family.title)
        if not hasattr(processor, "image_processor") or not hasattr(processor, "tokenizer"):
            raise InputError(
                f"processor: a {family.model_class} needs its whole processor, which puts the picture into the "
                "prompt: give processor=AutoProcessor.from_pretrained(...)"
            )
        return cls(model, GenerativeProcessor(processor, family), family, name)
