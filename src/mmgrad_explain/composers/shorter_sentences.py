"""Sentences without one of their words, read by a composer as a user's own: its processor sees the shorter sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain.attention.running.structures import map_tensors
from mmgrad_explain.attention.word_values.left_out import CannotLeaveOutError
from mmgrad_explain.attention.word_values.pieces import find_words, leave_out
from mmgrad_explain.composers.generative.answer_parts import is_several, parts_of_each
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image
    from torch import Tensor

    from mmgrad_explain.attention.word_values.left_out import Row, ShorterTexts
    from mmgrad_explain.attention.word_values.token_texts import RunModel
    from mmgrad_explain.composers.generative.answer_parts import Parts
    from mmgrad_explain.composers.model_capabilities import Capabilities

_AT_ONCE, _STAGED_AT_ONCE = 16, 64  # sentences that run together; with stages each image is encoded once
_IDS, _MASK = "input_ids", "attention_mask"
_PLAIN = {"pixel_values", _IDS, _MASK, "target_pixel_values"}


class ShorterSentences:
    """Images and sentences of a call, from which words can be left out; a ``ShorterTexts``.

    Attributes:
        answers: The answers that are explained, of a model that answers in words; they stay as they are.
        in_rounds: False: any sentences run together.
        of_one_word: Empty: an empty sentence is one, too.
    """

    in_rounds = False
    of_one_word: frozenset[int] = frozenset()

    def __init__(
        self,
        can: Capabilities,
        images: Sequence[Image.Image],
        texts: Sequence[str],
        targets: Sequence[Image.Image] | None = None,
        *,
        answer_part: Parts = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Remember the call.

        Args:
            can: What the composer offers.
            images: B images.
            texts: B sentences.
            targets: B target images, if there are any.
            answer_part: The parts of the answers that are explained, as they were asked for.
            device: Where the composer is.
        """
        self._can = can
        self._images, self._texts, self._targets = images, texts, targets
        self._part = answer_part
        self._device = device
        self.answers: Sequence[str] | None = None
        self._spans: list[list[tuple[int, int]]] = []
        self._known: dict[str, Tensor] | None = None
        self._features: Any = None
        self._compose: RunModel | None = None
        places = {id(image): index for index, image in reversed(list(enumerate(images)))}
        self._own = sorted(places.values())  # the first sample of each different image
        self._image_of = [self._own.index(places[id(image)]) for image in images]

    def find(
        self, ids: Sequence[Sequence[int]], kept: Sequence[Sequence[int]], compose: RunModel | None = None
    ) -> ShorterTexts | None:
        """Find the words of the sentences.

        Args:
            ids: The tokens that the model got, one list a sentence.
            kept: The positions among them that are not padding.
            compose: Composes the image, which is encoded already, with token ids and masks.

        Returns:
            This object; None where the tokenizer does not tell where its tokens are in a sentence.
        """
        rows = zip(self._texts, ids, kept, strict=True)
        words = [find_words(self._can.tokenizer, text, row, places) for text, row, places in rows]
        spans = [[word.span for word in of_text if word.span is not None] for of_text in words]
        if list(map(len, spans)) != list(map(len, words)):
            return None
        self._spans = spans
        self._compose = compose
        return self

    def batches(self, rows: Sequence[Row]) -> list[list[Row]]:
        """Part rows into those that run together."""
        size = _STAGED_AT_ONCE if self._is_staged else _AT_ONCE
        return [list(rows[at : at + size]) for at in range(0, len(rows), size)]

    def run(self, rows: Sequence[Row]) -> Sequence[Any]:
        """Run the composer on the sentences of these rows; one output, or one for each part of an answer.

        Raises:
            CannotLeaveOutError: The processor cannot read a shorter sentence, for example one that is empty.
        """
        samples = [sample for sample, _ in rows]
        texts = [
            self._texts[sample] if word is None else leave_out(self._texts[sample], self._spans[sample][word])
            for sample, word in rows
        ]
        try:
            return self._run(samples, texts)
        except InputError as error:
            raise CannotLeaveOutError(str(error)) from error

    @property
    def _is_staged(self) -> bool:
        return self._can.takes_many_texts and self._targets is None and self.answers is None

    def _run(self, samples: list[int], texts: list[str]) -> Sequence[Any]:
        stages, reader = self._can.stages, self._can.reader
        if self._is_staged and stages is not None and reader is not None:
            ids, mask = (tensor.to(self._device) for tensor in reader.encode_texts(texts))
            if self._compose is not None:
                return self._compose((), {_IDS: ids, _MASK: mask}, samples)
            if self._features is None:
                pixels, _ = reader.encode_images([self._images[index] for index in self._own])
                self._features = stages.encode_image(pixels.to(self._device))
            chosen = torch.tensor([self._image_of[sample] for sample in samples])
            features = map_tensors(self._features, lambda tensor: tensor[chosen.to(tensor.device)])
            return [stages.compose(features, stages.encode_text(ids, mask))]
        if self.answers is not None:
            return self._answer(samples, texts)
        return [self._can.composer(**self._prepare(samples, texts))]

    def _prepare(self, samples: list[int], texts: list[str]) -> dict[str, Tensor]:
        """Prepare the tensors; where images and texts are read apart, each image is read once."""
        images = [self._images[sample] for sample in samples]
        targets = None if self._targets is None else [self._targets[sample] for sample in samples]
        reader = self._can.reader
        if reader is None:
            return self._move(self._can.composer.preprocess(images, texts, targets).tensors)
        if self._known is None:
            known = self._can.composer.preprocess(self._images, self._texts, self._targets).tensors
            self._known = self._move(known)
        if set(self._known) - _PLAIN:
            return self._move(self._can.composer.preprocess(images, texts, targets).tensors)
        ids, mask = reader.encode_texts(texts)
        of_images = {name: tensor[samples] for name, tensor in self._known.items() if name not in {_IDS, _MASK}}
        return {**of_images, **self._move({_IDS: ids, _MASK: mask})}

    def _answer(self, samples: list[int], texts: list[str]) -> Sequence[Any]:
        """Ask the shorter questions; the answers, and the parts of them that count, stay as they are."""
        answering = self._can.answers
        if answering is None or self.answers is None:
            raise CannotLeaveOutError("the model does not answer in words")
        part: Any = self._part
        if is_several(part):
            of_each = parts_of_each(part, self.answers)
            most = max(map(len, of_each))
            part = [[*of_each[sample], *of_each[sample][-1:] * (most - len(of_each[sample]))] for sample in samples]
        inputs = answering.preprocess(
            [self._images[sample] for sample in samples], texts,
            answers=[self.answers[sample] for sample in samples], answer_part=part,
        )  # fmt: skip
        output = self._can.composer(**self._move(inputs.tensors))
        return [output] if inputs.parts is None else inputs.parts.outputs(output)

    def _move(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor.to(self._device) for name, tensor in tensors.items()}
