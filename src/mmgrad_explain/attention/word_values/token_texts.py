"""Leave words out of texts of which only the tokens are known: take the tokens out of the inputs of a model's call.

The gap is closed, and the text is padded where the texts of the call are padded, before or after; mask, types and
positions follow. So the input is that of the shorter text. Where that cannot be told (a mask of pairs of tokens, a
tensor with one value a token whose meaning is unknown, a score that reads places of the text) an error says so.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgrad_explain.attention.running.structures import map_tensors, tensors_in
from mmgrad_explain.attention.word_values.left_out import CannotLeaveOutError

if TYPE_CHECKING:
    from torch import nn

    from mmgrad_explain.attention.word_values.left_out import Row
    from mmgrad_explain.attention.word_values.pieces import Pieces

RunModel = Callable[[tuple[Any, ...], dict[str, Any], Sequence[int]], Sequence[Any]]
"""Takes arguments, and the sample of each row; returns one output for each score."""

_IDS, _FOLLOWS, _POSITIONS, _ROWS = "ids", "follows", "positions", "rows"
_AT_ONCE = 16  # texts that run together, each with its image


class TokenTexts:
    """The texts of a call by their tokens; a :class:`~.left_out.ShorterTexts`.

    Attributes:
        in_rounds: Whether the model's inputs cannot be repeated: then each round has every sample once.
        of_one_word: The samples of whose text nothing is left without its only word.
    """

    def __init__(
        self,
        run: RunModel,
        inputs: tuple[tuple[Any, ...], dict[str, Any]],
        ids: Tensor,
        words: Sequence[Pieces],
        *,
        root: nn.Module | None = None,
    ) -> None:
        """Find out what each tensor of the inputs is.

        Args:
            run: Runs the model.
            inputs: Positional and keyword arguments of the call; ``ids`` are among them.
            ids: (B, L), the tokens, as the model looks them up.
            words: The words of each text.
            root: The model whose ``forward`` names the positional arguments, if these go to it.

        Raises:
            CannotLeaveOutError: the ids are not among the inputs, or what belongs to a token cannot be told.
        """
        self._run = run
        self._args, self._kwargs = inputs
        self._words = words
        self._batch, self._length = ids.shape
        named = [*_name_arguments(root, self._args), *self._kwargs.items()]
        leaves = [(name, tensor) for name, value in named for tensor in tensors_in(value)]
        found = {(id(tensor), kind) for name, tensor in leaves if (kind := self._kind_of(name, tensor, ids))}
        self._kinds = dict(found)
        if len(self._kinds) < len(found):
            raise CannotLeaveOutError("one tensor stands for two of the model's inputs")
        if _IDS not in self._kinds.values():
            raise CannotLeaveOutError("the token ids are not among the model's inputs as (batch, tokens)")
        self._masks = [t.bool().cpu() for n, t in leaves if self._kinds.get(id(t)) == _FOLLOWS and "mask" in n]
        if any(not bool(mask.any(1).all()) for mask in self._masks):
            raise CannotLeaveOutError("a mask leaves no token of a text")
        self._ids = ids.cpu()
        self._padding = self._find_padding()
        self._check_positions([tensor for _, tensor in leaves if self._kinds.get(id(tensor)) == _POSITIONS])
        self.of_one_word = frozenset(
            sample for sample, of_text in enumerate(words) if any(self._is_all(sample, places) for _, places in of_text)
        )
        self.in_rounds = any(id(tensor) not in self._kinds for _, tensor in leaves) or _has_lists(named)

    def _kind_of(self, name: str, tensor: Tensor, ids: Tensor) -> str | None:
        """Return what a tensor is to the tokens; None where it does not belong to samples."""
        if not tensor.ndim:
            return _ROWS
        whole = not tensor.is_floating_point() and not tensor.is_complex()
        of_text = "mask" in name or "position" in name or "type" in name
        if tensor.ndim == 2 and tensor.shape[1] == self._length and of_text and "position" in name:
            return _POSITIONS
        if tensor.shape != ids.shape:
            if of_text and self._length in tensor.shape[1:] and not _is_of_images(name):
                raise CannotLeaveOutError(f"{name}, {tuple(tensor.shape)}, belongs to tokens in a way of its own")
            return _ROWS if len(tensor) == self._batch else None
        if whole and tensor.dtype != torch.bool and not of_text and bool((tensor == ids.to(tensor.device)).all()):
            return _IDS
        if _is_of_images(name):
            return _ROWS
        if "type" in name or bool(((tensor == 0) | (tensor == 1)).all()):
            return _FOLLOWS
        raise CannotLeaveOutError(f"{name or 'an argument'} has one value a token, and what it means is not known")

    def _find_padding(self) -> list[tuple[int, int]]:
        """Find how many positions before and after each text are padding."""
        found = []
        for index, words in enumerate(self._words):
            if self._masks:
                kept = self._masks[0][index].nonzero().flatten().tolist()
                found.append((kept[0], self._length - 1 - kept[-1]))
                continue
            row = self._ids[index].tolist()
            last = max((max(places) for _, places in words), default=self._length - 1)
            (_, run), *_ = [(token, len(list(group))) for token, group in groupby(reversed(row))]
            # A tail of equal tokens that are in no word; its first may be the end of the text, which pads some texts.
            found.append((0, run - 1 if run > 1 and self._length - run > last else 0))
        if any(before for before, _ in found) and any(after for _, after in found):
            raise CannotLeaveOutError("some texts are padded before, others after")
        return found

    def _check_positions(self, tensors: Sequence[Tensor]) -> None:
        """Check that positions count upwards: in the tensor, or in the unmasked tokens of each text."""
        for tensor in tensors:
            rows = tensor.cpu().expand(self._batch, -1) if len(tensor) == 1 else tensor.cpu()
            for row, (before, after) in zip(rows, self._padding, strict=True):
                inside = row[before : self._length - after]
                if not bool((inside.diff() == 1).all()):
                    raise CannotLeaveOutError("the positions of the tokens are not counted one by one")

    def batches(self, rows: Sequence[Row]) -> list[list[Row]]:
        """Part rows into those that run together: of one length where no mask can hide padding."""
        if self._masks or self._is_padded:
            groups = [list(rows)]
        else:
            ordered = sorted(rows, key=self._length_of)
            groups = [list(group) for _, group in groupby(ordered, self._length_of)]
        return [group[at : at + _AT_ONCE] for group in groups for at in range(0, len(group), _AT_ONCE)]

    def run(self, rows: Sequence[Row]) -> Sequence[Any]:
        """Run the model on rows; see :class:`~.left_out.ShorterTexts`."""
        lengths = [self._length_of(row) for row in rows]
        width = self._length if self._is_padded else max(lengths)
        if not self._masks and not self._is_padded and len(set(lengths)) > 1:
            raise CannotLeaveOutError("texts of different lengths cannot run together without a mask")
        places = torch.tensor([self._places(row, width) for row in rows])
        samples = torch.tensor([sample for sample, _ in rows])
        as_they_are = samples.tolist() == list(range(self._batch))

        def change(tensor: Tensor) -> Tensor:
            kind = self._kinds.get(id(tensor))
            if kind is None or not tensor.ndim or (kind == _ROWS and as_they_are):
                return tensor
            if kind == _ROWS:
                return tensor[samples.to(tensor.device)]
            if kind == _POSITIONS:
                return self._move_positions(tensor, rows, width)
            picked = tensor.cpu()[samples[:, None], places.clamp(min=0)]
            fill = self._padding_id() if kind == _IDS else 0
            return torch.where(places < 0, torch.as_tensor(fill, dtype=picked.dtype), picked).to(tensor.device)

        args, kwargs = map_tensors((self._args, self._kwargs), change)
        return self._run(args, kwargs, samples.tolist())

    def _is_all(self, sample: int, positions: Sequence[int]) -> bool:
        before, after = self._padding[sample]
        return set(positions) >= set(range(before, self._length - after))

    @property
    def _is_padded(self) -> bool:
        return any(before or after for before, after in self._padding)

    def _dropped(self, row: Row) -> frozenset[int]:
        sample, word = row
        return frozenset() if word is None else frozenset(self._words[sample][word][1])

    def _length_of(self, row: Row) -> int:
        return self._length - len(self._dropped(row))

    def _places(self, row: Row, width: int) -> list[int]:
        """List the positions that the tokens of a row come from; -1 is padding."""
        dropped = self._dropped(row)
        kept = [at for at in range(self._length) if at not in dropped]
        fill = [-1] * (width - len(kept))
        return fill + kept if self._pads_before else kept + fill

    @property
    def _pads_before(self) -> bool:
        return any(before for before, _ in self._padding)

    def _padding_id(self) -> int:
        for row, (before, after) in zip(self._ids.tolist(), self._padding, strict=True):
            if before or after:
                return int(row[0] if before else row[-1])
        return 0

    def _move_positions(self, tensor: Tensor, rows: Sequence[Row], width: int) -> Tensor:
        """Give the tokens of each row the positions of a text of their number."""
        if len(tensor) == 1 and self._batch > 1 and not self._pads_before:
            return tensor[:, :width]
        moved = []
        for row in rows:
            own = tensor[row[0] if len(tensor) > 1 else 0]
            before = self._padding[row[0]][0]
            shift = width - self._length_of(row) if self._pads_before and int(own[before]) == 0 and before else 0
            moved.append(torch.cat([own[:1].expand(shift), own[: width - shift]]))
        return torch.stack(moved)


def reads_places(score: Callable[[Any], Tensor], output: Any, batch: int, length: int) -> bool:
    """Return whether a score reads places of the text in an output: these move when a token is taken out.

    Args:
        score: Of the output.
        output: Of the model; tensors (B, L, ...) of it are turned by one place for the test.
        batch: B.
        length: L.
    """

    def turn(tensor: Tensor) -> Tensor:
        per_token = tensor.is_floating_point() and tensor.ndim > 2 and tuple(tensor.shape[:2]) == (batch, length)
        return tensor.roll(1, 1) if per_token else tensor

    turned = map_tensors(output, turn)
    if turned is output:
        return False
    with torch.no_grad():
        before, after = score(output), score(turned)
    return not torch.allclose(before, after, rtol=1e-4, atol=1e-6, equal_nan=True)


def _name_arguments(root: nn.Module | None, args: tuple[Any, ...]) -> list[tuple[str, Any]]:
    """Name positional arguments by the parameters of the model's forward; "" where these are not known."""
    names: list[str] = []
    if root is not None:
        parameters = inspect.signature(root.forward).parameters.values()
        plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        names = [parameter.name for parameter in parameters if parameter.kind in plain]
    names += [""] * (len(args) - len(names))
    return list(zip(names, args, strict=False))


def _is_of_images(name: str) -> bool:
    return "pixel" in name


def _has_lists(named: Sequence[tuple[str, Any]]) -> bool:
    """Return whether an argument holds a list of something else than tensors, such as sizes or strings."""
    return any(
        isinstance(value, list | tuple | dict) and value and not any(True for _ in tensors_in(value))
        for _, value in named
    )
