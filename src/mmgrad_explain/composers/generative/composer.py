"""Generative vision-language models of transformers: which patches of an image made the model give its answer.

The score is the log-likelihood of an answer, ``s = sum_i log p(a_i | image, question, a_1 ... a_i-1)``. The user gives
the answer, or the model itself (greedy decoding). The gradient is taken at the last layer in which the image's patches
are by themselves, before the language model mixes them with words. Source: Grad-CAM (arXiv 1610.02391) with the
log-likelihood instead of a class score.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.nn import functional as F

from mmgrad_explain._system.devices import device_of
from mmgrad_explain.attention.running.undisturbed import evaluating
from mmgrad_explain.composers.base import Composer, ComposerInputs, layer_inside
from mmgrad_explain.composers.files import read_config
from mmgrad_explain.composers.generative.answer_parts import AnswerParts, is_several, parts_of_each
from mmgrad_explain.composers.generative.answer_positions import find_answer_layers, find_answer_positions
from mmgrad_explain.composers.generative.family import generative_family_of
from mmgrad_explain.composers.generative.outputs import GenerativeOutput
from mmgrad_explain.composers.generative.processor import (
    IGNORED_LABEL,
    GenerativeProcessor,
    Prompt,
    is_whole_processor,
)
from mmgrad_explain.composers.generative.prompt_tail import NEUTRAL_QUESTION, read_prompt_tail
from mmgrad_explain.composers.huggingface.loading import read_model
from mmgrad_explain.composers.in_memory import part_of
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL import Image
    from torch import Tensor

    from mmgrad_explain.attention.layouts.layout import AnyLayout
    from mmgrad_explain.attention.model_hints import AnswerLayers, AnswerPositions
    from mmgrad_explain.composers.generative.answer_parts import Parts
    from mmgrad_explain.composers.generative.family import GenerativeFamily
    from mmgrad_explain.composers.generative.prompt_tail import PromptTail

_NOT_FOR_THE_MODEL = ("tiles", "answer_lengths")  # for layouts and methods only


class GenerativeComposer(Composer):
    """A model of transformers that answers in words.

    The default score is ``"answer"``, the answer's log-likelihood. There is no target image.

    Args:
        model: Of the family's class.
        processor: For it.
        family: What is particular to it.
        name: What it is called.
        max_new_tokens: Longest answer that the model generates, in tokens.
    """

    default_score: ClassVar[str | None] = "answer"
    default_method = "layercam"
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
        self._tails: dict[str, PromptTail] = {}
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
        """Prepare images, questions and answers.

        Args:
            images: B RGB images that have one size for the model.
            texts: A question or instruction for each image.
            targets: None: there are no target images here.
            answers: A possible answer for each image; None has the model answer.
            answer_part: The part of the answers that counts, such as one word, given what comes before it. Each part of
                a list is scored separately, in one forward pass; see
                :data:`~mmgrad_explain.composers.generative.answer_parts.Parts`.

        Returns:
            Tensors for :meth:`forward`, padded on the left; placements; the answers; the parts, if there is a list.

        Raises:
            InputError: If there are targets, the numbers differ, the images have different sizes for the model, an
                answer is empty, or it does not hold ``answer_part`` once.
        """
        if targets is not None:
            raise InputError(f"target: {self.name} answers in words and takes no target image: leave it out")
        prompts = self.processor.make_prompts(images, texts)
        if answers is None:
            ids = self._generate(prompts)
            texts_of_answers = [self.processor.decode(tokens) for tokens in ids]
        else:
            texts_of_answers = list(answers)
            if len(texts_of_answers) != len(prompts):
                raise InputError(
                    f"answer: {len(texts_of_answers)} answers for {len(prompts)} images: give one for all, or one each"
                )
            ids = [self.processor.tokenize(answer) for answer in texts_of_answers]
        parts_by_answer = parts_of_each(answer_part, texts_of_answers)
        tensors, parts = self.processor.join(prompts, ids), None
        most = max(map(len, parts_by_answer))
        labels = tuple(
            self.processor.make_labels(ids, [own[min(number, len(own) - 1)] for own in parts_by_answer])
            for number in range(most)
        )
        if is_several(answer_part):
            wanted = tuple((number, row) for row, own in enumerate(parts_by_answer) for number in range(len(own)))
            parts = AnswerParts(labels, wanted)
        else:
            tensors["labels"] = labels[0]
        return ComposerInputs(tensors, [prompt.placement for prompt in prompts], answers=texts_of_answers, parts=parts)

    def forward(  # type: ignore[override]  # it takes an answer, and no target
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor, **images: Tensor
    ) -> GenerativeOutput:
        """Read images, questions and answers.

        Args:
            input_ids: Tokens, padded on the left, ``(B, L)``.
            attention_mask: 1 for tokens, 0 for padding, ``(B, L)``.
            labels: For the last positions, see :class:`GenerativeOutput`, ``(B, A + 1)``.
            **images: The model's tensors for the images.
        """
        positions = labels.shape[1]
        for name in _NOT_FOR_THE_MODEL:
            images.pop(name, None)
        options: dict[str, Any] = {"use_cache": False, "return_dict": True}
        if self.family.labels:
            options["labels"] = F.pad(labels, (input_ids.shape[1] - positions, 0), value=IGNORED_LABEL)
        elif "logits_to_keep" in inspect.signature(self.model.forward).parameters:
            options["logits_to_keep"] = positions  # a vocabulary is large
        output = self.model(input_ids=input_ids, attention_mask=attention_mask, **options, **images)
        return GenerativeOutput(output.logits[:, -positions:], labels)

    def layout_for(self, layer: str, **tensors: Tensor) -> AnyLayout:
        """Find the layout of a layer's output over these images."""
        return self.family.layout(self.model, layer.removeprefix("model."), tensors)

    def answer_layers(self) -> AnswerLayers:
        """Find the language model."""
        return find_answer_layers(self.model, "model.")

    def answer_positions(self, output: GenerativeOutput, **tensors: Tensor) -> AnswerPositions:
        """Find question and answer in the sequences of a call.

        Args:
            output: What the call gave.
            **tensors: The arguments of the call.
        """
        key = self.processor.make_prompt(NEUTRAL_QUESTION)
        if key not in self._tails:
            self._tails[key] = read_prompt_tail(self.processor, int(self.model.config.image_token_id))
        return find_answer_positions(self.model, self.processor, self.family, self._tails[key], output, tensors)

    def _generate(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Have the model answer by greedy decoding; the answers are token ids.

        Raises:
            InputError: If an answer is empty.
        """
        tensors = self.processor.join(prompts, [[] for _ in prompts])
        for name in ("labels", *_NOT_FOR_THE_MODEL):
            tensors.pop(name, None)
        device = device_of(self.model)
        with evaluating(self.model.modules()), torch.no_grad():
            found = self.model.generate(
                **{name: tensor.to(device) for name, tensor in tensors.items()},
                max_new_tokens=self.max_new_tokens,
                do_sample=False,
            )
        answers = [self.processor.cut_at_end(row) for row in found[:, tensors["input_ids"].shape[1] :].tolist()]
        if not all(answers):
            raise InputError(f"answer: {self.name} gives an empty answer: give an answer= to explain")
        return answers

    @classmethod
    def from_pretrained(cls, folder: Path, name: str) -> GenerativeComposer:
        """Read a folder in the format of transformers and its hub; no code in it is run. Weights keep their precision.

        Args:
            folder: With config, weights and processor.
            name: What the model is called.

        Raises:
            InputError: If something is missing or damaged, or the model is of a kind that is not supported.
        """
        family = generative_family_of(read_config(folder), name)
        model = read_model(folder, family.model_class, family.title, keep_dtype=True)
        return cls(model, GenerativeProcessor.from_pretrained(folder, family), family, name).eval()

    @classmethod
    def from_memory(cls, model: Any, processor: Any, name: str) -> GenerativeComposer:
        """Wrap a model of transformers as it is.

        Args:
            model: Of the class of its family.
            processor: Its whole processor, which puts the image's tokens into the prompt.
            name: What the model is called.

        Raises:
            InputError: If the model is of a kind that is not supported, or the processor is missing or not a whole one.
        """
        family = generative_family_of(model.config.to_dict(), name)
        model = part_of(model, family.model_class, family.title)
        if not is_whole_processor(processor):
            raise InputError(
                f"processor: a {family.model_class} needs its whole processor, which puts the image into the "
                "prompt: give processor=AutoProcessor.from_pretrained(...)"
            )
        return cls(model, GenerativeProcessor(processor, family), family, name)
