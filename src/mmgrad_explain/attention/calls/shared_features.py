"""The features of one image, shared by many texts: repeat them for each text, and take the gradients back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain.attention.gradient import differentiate, take_gradients, to_float
from mmgrad_explain.attention.running.structures import map_tensors
from mmgrad_explain.errors import GradientError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from mmgrad_explain.attention.recording.capture import Capture

# How many texts go back together: on a CPU as many as fit its cache, else as many as fit any memory.
_AT_ONCE, _AT_ONCE_ELSEWHERE = 8, 64


class SharedFeatures:
    """The features of one image, repeated for each of many texts.

    Attributes:
        rows: The features repeated for each text, in a graph that begins with them.
    """

    def __init__(self, features: Any, count: int, seen: Capture) -> None:
        """Repeat features.

        Args:
            features: Of one image, nested in any way, each tensor with a batch of 1.
            count: How many texts there are.
            seen: What has recorded the encoding, and goes on to record the composing.

        Raises:
            InputError: a tensor has another batch.
        """
        self._count = count
        self._early = {name: len(calls) for name, calls in seen.records.items()}
        self._starts: list[tuple[Tensor, Tensor]] = []
        self.rows = map_tensors(features, self._repeat)

    @property
    def features(self) -> list[Tensor]:
        """The image's features that have a graph."""
        return [features for features, _ in self._starts]

    def _repeat(self, tensor: Tensor) -> Tensor:
        if len(tensor) != 1:
            raise InputError(f"texts: encode gave features of shape {tuple(tensor.shape)}, whose batch is not 1")
        rows = tensor.detach().expand(self._count, *tensor.shape[1:])
        if tensor.requires_grad:
            rows = rows.clone().requires_grad_()
            self._starts.append((tensor, rows))
        return rows

    def take_gradients(
        self, score: Tensor, seen: Capture, also: Sequence[Tensor]
    ) -> tuple[dict[str, list[Tensor | None]], list[Tensor | None]]:
        """Take the gradient of each text's score at every record, one row a text.

        Afterwards ``seen`` holds the records of the encoding repeated for each text.

        Args:
            score: (T,).
            seen: The records.
            also: Other tensors, differentiated in the same backward pass.

        Raises:
            GradientError: the score does not depend on a layer.
        """
        early = {name: seen.calls(name)[: self._early[name]] for name in seen.records}
        if not any(early.values()):
            return take_gradients(score, seen, also=also)
        late = [record.activation for name, n in self._early.items() for record in seen.records[name][n:]]
        rows = [row for _, row in self._starts]
        taken = differentiate(score, [*late, *rows, *also])
        of_late, of_rows, of_also = iter(taken[: len(late)]), taken[len(late) :][: len(rows)], taken[len(late + rows) :]
        wanted = [record.activation for records in early.values() for record in records]
        of_early = iter(self._propagate(of_rows, wanted))
        found = {
            name: [next(of_early) for _ in early[name]] + [next(of_late) for _ in seen.records[name][n:]]
            for name, n in self._early.items()
        }
        for name, records in early.items():
            if all(gradient is None for gradient in found[name]):
                raise GradientError(f"the score does not depend on layer {name!r}: choose another layer or score")
            repeated = [replace(record, activation=self._expand(record.activation)) for record in records]
            seen.records[name][: len(records)] = repeated
        return found, of_also

    def _expand(self, activation: Tensor) -> Tensor:
        # An image may have several rows, where its patches are packed.
        return activation.detach().expand(self._count, *activation.shape).flatten(0, 1)

    def _propagate(self, of_rows: Sequence[Tensor | None], wanted: Sequence[Tensor]) -> list[Tensor | None]:
        """Take the gradients at the records of the encoding, (T, ...) each, from those at the features, (T, ...)."""
        pairs = [
            (features, of_row.to(features.dtype))
            for (features, _), of_row in zip(self._starts, of_rows, strict=True)
            if of_row is not None
        ]
        if not pairs:
            return [None] * len(wanted)
        features = [tensor for tensor, _ in pairs]
        at_once = _AT_ONCE if features[0].device.type == "cpu" else _AT_ONCE_ELSEWHERE
        parts = [
            self._multiply(features, wanted, [of_row[start : start + at_once, None] for _, of_row in pairs])
            for start in range(0, self._count, at_once)
        ]
        return [
            None if of_one[0] is None else to_float(torch.cat(of_one)).flatten(0, 1)
            for of_one in zip(*parts, strict=True)
        ]

    @staticmethod
    def _multiply(features: list[Tensor], wanted: Sequence[Tensor], rows: list[Tensor]) -> tuple[Any, ...]:
        """Compute one vector-Jacobian product a row, (T, 1, ...) to (T, 1, ...) of each wanted tensor; or None."""

        def product(of_rows: list[Tensor], *, batched: bool) -> tuple[Any, ...]:
            return torch.autograd.grad(
                features, wanted, of_rows, retain_graph=True, allow_unused=True, is_grads_batched=batched
            )

        try:
            return product(rows, batched=True)
        except RuntimeError:  # an operation cannot be batched: one text after the other
            one_by_one = [product([of_row[index] for of_row in rows], batched=False) for index in range(len(rows[0]))]
            return tuple(None if of_one[0] is None else torch.stack(of_one) for of_one in zip(*one_by_one, strict=True))
