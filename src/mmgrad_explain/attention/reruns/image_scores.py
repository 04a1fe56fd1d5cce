"""Score changed images with a model: in batches of any size, each image beside the other inputs of its own sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgrad_explain.attention.running.input_images import InputImage, change_images
from mmgrad_explain.attention.running.structures import is_image, map_tensors, tensors_in
from mmgrad_explain.attention.scores.checks import ensure_per_sample
from mmgrad_explain.attention.scores.held_constants import HeldConstants
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Rerun = Callable[[Any, Tensor | None], Tensor]
    """Takes inputs (args, kwargs), and (N,) the original sample of each of theirs, or None if they are the same
    samples; returns the scores (N,)."""

_SHARE, _ROUNDINGS = 0.01, 64  # how far two scores may be from those of single runs: of their difference, in roundings
_SAME = 1e-3  # how far a score may move, as a share of its size, when its row is scored in another batch


def take_image(inputs: Any, image: InputImage) -> Tensor:
    """Return the tensor (B, C, H, W) of an input image.

    Args:
        inputs: (args, kwargs).
        image: From :func:`~mmgrad_explain.attention.running.input_images.find_input_images`.
    """
    return [tensor for tensor in tensors_in(inputs) if is_image(tensor)][image.index]


def take_rows(inputs: Any, index: Tensor, batch: int) -> Any:
    """Return the inputs of a call for some of its samples, in any order and number.

    Tensors with ``batch`` rows, and lists of ``batch`` strings, are taken to have one row a sample; everything else
    stays.

    Args:
        inputs: (args, kwargs), nested in any way.
        index: (N,), the samples.
        batch: How many samples the inputs have.
    """
    rows = index.tolist()
    args, kwargs = map_tensors(
        inputs,
        lambda tensor: tensor[index.to(tensor.device)] if tensor.ndim and len(tensor) == batch else tensor,
    )
    return tuple(_take_strings(arg, rows, batch) for arg in args), {
        name: _take_strings(value, rows, batch) for name, value in kwargs.items()
    }


def _take_strings(value: Any, rows: Sequence[int], batch: int) -> Any:
    strings = isinstance(value, (list, tuple)) and len(value) == batch and all(isinstance(item, str) for item in value)
    return type(value)(value[row] for row in rows) if strings else value


class HeldRerun:
    """Runs a model on changed inputs; what its score holds constant keeps the values of the original inputs.

    See :mod:`~mmgrad_explain.attention.scores.held_constants`.

    Attributes:
        score: (S,), the scores of the original inputs.
    """

    def __init__(self, forward: Callable[[Any], Any], scorer: Callable[[Any], Tensor], inputs: Any) -> None:
        """Run the model on the original inputs.

        Args:
            forward: Takes inputs (args, kwargs) and returns the model's output.
            scorer: Takes an output and returns the scores, one number a sample.
            inputs: (args, kwargs) of the call that was explained.
        """
        self._forward = forward
        with torch.no_grad():
            self._scorer = HeldConstants(scorer, forward(inputs))
        self.score = ensure_per_sample(self._scorer.score).float()

    def __call__(self, inputs: Any, index: Tensor | None = None) -> Tensor:
        """Score changed inputs.

        Args:
            inputs: (args, kwargs).
            index: (N,), the original sample of each sample; None if they are the same samples.
        """
        with torch.no_grad():
            return ensure_per_sample(self._scorer(self._forward(inputs), index)).float()


class ImageScores:
    """The scores of changed images: ``scores(images (N, C, H, W), index (N,)) -> (N,)``.

    ``index`` says of which sample each image is; the sample's other inputs are put beside it. Images go through the
    model together, if its scores do not depend on which other samples are in the batch; else every run has the
    samples of the original call, one changed image in the place of each. Which it is, is tried out once.

    Attributes:
        score: (S,), the scores of the unchanged samples.
        together: Whether images of any samples can be scored in one run.
    """

    def __init__(
        self,
        rerun: Rerun,
        inputs: Any,
        image: InputImage,
        score: Tensor,
        *,
        rows: Sequence[int] | None = None,
    ) -> None:
        """Try out whether the model scores repeated samples as it did the original ones.

        Args:
            rerun: Takes inputs (args, kwargs), and of which original samples they are, (N,), or None where they are the
                same; returns their scores (N,). For example a :class:`HeldRerun`.
            inputs: (args, kwargs) of the call that was explained.
            image: The input image that is changed.
            score: (S,), the scores of that call.
            rows: The row of the inputs that each sample is of, where several scores of a row were explained.
        """
        self._rerun, self._inputs, self._image = rerun, inputs, image
        self.score = score.detach()
        self._rows = list(range(len(self.score))) if rows is None else list(rows)
        self._alone = False
        self.together = rows is None and image.batch == len(self.score) and self._scores_repeated_rows()
        self._alone = self.together and len(self.score) == 1 and self._scores_images_alone()

    def __call__(self, images: Tensor, index: Tensor) -> Tensor:
        """Score images.

        Args:
            images: (N, C, H, W), as the model takes them.
            index: (N,), the sample of each.

        Raises:
            InputError: the model does not give one score for each image.
        """
        if not self.together:
            return self._score_in_place(images, index)
        try:
            return self._score_together(images, index)
        except torch.OutOfMemoryError:
            if len(images) == 1:
                raise
        half = len(images) // 2
        return torch.cat([self(images[:half], index[:half]), self(images[half:], index[half:])])

    def _score_together(self, images: Tensor, index: Tensor) -> Tensor:
        inputs = self._inputs if self._alone else take_rows(self._inputs, index, len(self.score))
        found = self._score(inputs, images, index)
        if found.shape != (len(images),):
            raise InputError(f"score: {len(images)} images have scores of shape {tuple(found.shape)}, not one each")
        return found

    def _score_in_place(self, images: Tensor, index: Tensor) -> Tensor:
        original = take_image(self._inputs, self._image)
        samples = index.tolist()
        runs: list[dict[int, int]] = []  # of each run: row of the inputs to the number of its image
        places = []  # the run of each image: a row comes once in each run
        for number, sample in enumerate(samples):
            row = self._rows[sample]
            place = next((place for place, taken in enumerate(runs) if row not in taken), len(runs))
            if place == len(runs):
                runs.append({})
            runs[place][row] = number
            places.append(place)
        scores = []
        for taken in runs:
            changed = original.clone()
            changed[list(taken)] = images[list(taken.values())].to(changed)
            scores.append(self._score(self._inputs, changed, None))
        return torch.stack(scores)[places, samples]

    def _score(self, inputs: Any, images: Tensor, index: Tensor | None) -> Tensor:
        with torch.no_grad():
            changed = change_images(inputs, {self._image.index: images.to})
            return self._rerun(changed, index).detach()

    def _scores_images_alone(self) -> bool:
        """Return whether the text of one sample can stand beside many images, so that it is encoded once."""
        image = take_image(self._inputs, self._image)
        # Both images stand at several places of the batch: a model may read the text with the first image alone.
        other, index = image.flip(-1) / 2, torch.zeros(4, dtype=torch.long, device=image.device)
        try:
            expected = self._score_together(other, index[:1])
            self._alone = True
            found = self._score_together(torch.cat([image, other, other, image]), index)
        except (RuntimeError, ValueError, TypeError, IndexError, InputError):
            return False
        own = self.score.to(expected.device)
        expected = torch.cat([own, expected, expected, own]).float()
        rounding = _ROUNDINGS * torch.finfo(torch.float32).eps * expected.abs().amax()
        far = (found.float() - expected).abs().amax()
        return bool(far <= torch.maximum(_SHARE * (expected[0] - expected[1]).abs(), rounding))

    def _scores_repeated_rows(self) -> bool:
        count, images = len(self.score), take_image(self._inputs, self._image)
        # not every sample equally often: a score that reads the other samples of its batch then changes
        index = torch.tensor([*reversed(range(count)), *[0] * count], device=images.device)
        try:
            found = self._score_together(images[index], index).to(self.score.device)
        except (RuntimeError, ValueError, TypeError, IndexError, InputError):  # a model that takes no other batch
            return False
        size = self.score.abs().amax().clamp(min=torch.finfo(torch.float32).eps)
        return bool(((found.float() - self.score[index.to(self.score.device)].float()).abs() <= _SAME * size).all())
