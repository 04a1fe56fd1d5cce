"""What the methods share that change the images of a call and run the model again: one map for each image."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch

from mmgrad_explain._system.progress import Bar
from mmgrad_explain.attention.methods.base import MethodMaps
from mmgrad_explain.attention.reruns.image_scores import ImageScores, take_image
from mmgrad_explain.attention.running.structures import find_packed_patches
from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics.faithfulness import fill_images

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from mmgrad_explain.attention.methods.run import Run
    from mmgrad_explain.attention.running.input_images import InputImage


class ChangedImage:
    """One image of a call, what its places become where they are hidden, and the scores of changed versions.

    Attributes:
        image: Where the image is among the inputs.
        pixels: (B, C, H, W), as the model takes them; float, also where the model takes whole numbers.
        filled: What hidden places become, of the same shape.
        before: (B,), the scores of the call.
        scores: Scores changed versions.
    """

    def __init__(self, run: Run, image: InputImage, fill: str) -> None:
        """Prepare; the model runs once more for what :class:`~.image_scores.ImageScores` tries out.

        Raises:
            InputError: ``fill`` is unknown.
        """
        inputs = run.inputs_of_call()
        original = take_image(inputs, image)
        whole = not original.is_floating_point()
        self.image = image
        self.pixels = original.float() if whole else original
        self.filled = fill_images(self.pixels, fill)
        if whole:
            self.filled = self.filled.round()
        self.before = run.score.detach().float()
        self._scores = ImageScores(run.rerun, inputs, image, self.before)
        self._whole = whole

    @property
    def together(self) -> bool:
        """Whether versions of several samples can be scored in one run."""
        return self._scores.together

    def scores(self, images: Tensor, index: Tensor) -> Tensor:
        """Score changed versions (N, C, H, W) of the samples ``index`` (N,)."""
        return self._scores(images.round() if self._whole else images, index)

    def has_a_say(self) -> bool:
        """Return whether the score changes at all where all of the image is hidden."""
        index = torch.arange(len(self.pixels), device=self.pixels.device)
        return bool((self.scores(self.filled, index).to(self.before.device) != self.before).any())


def map_each_image(run: Run, method: str, fill: str, what: str, make: Callable[..., Tensor]) -> MethodMaps:
    """Make one map for each image of a call.

    Args:
        run: The forward.
        method: Name of the method, for messages.
        fill: What hidden places become: ``"blur"``, ``"mean"`` or ``"zero"``.
        what: What is counted, for the progress bar.
        make: Takes a :class:`ChangedImage` and a function (done, of) that shows the progress, and returns a signed map
            (B, h, w).

    Returns:
        The maps by the names of the images. An image that the score does not depend on (it does not change at all when
        all of the image is hidden) has a map of zeros.

    Raises:
        InputError: the images of the call cannot be changed by themselves.
    """
    images = find_images(run, method)
    found: dict[str, list[Tensor]] = {}
    with Bar() as bar:
        for image in images:
            changed = ChangedImage(run, image, fill)
            label = f"{what} of {image.name}" if len(images) > 1 else what

            if len(images) > 1 and not changed.has_a_say():
                found[image.name] = [torch.zeros(len(changed.before), 1, 1, device=changed.pixels.device)]
                continue
            found[image.name] = [make(changed, partial(bar.show, label))]
    return MethodMaps(
        {name: list(maps) for name, maps in found.items()},
        {name: [f"{maps.shape[1]} x {maps.shape[2]} of the image"] for name, (maps,) in found.items()},
        {image.name: [number] for number, image in enumerate(images)} if len(images) > 1 else None,
    )


def find_images(run: Run, method: str) -> tuple[InputImage, ...]:
    """Return the images of a call.

    Raises:
        InputError: there are none that can be changed by themselves; the message says why, and what to do.
    """
    inputs = run.inputs_of_call()
    if not run.images:
        packed = any(find_packed_patches(part) is not None for part in inputs)
        why = (
            "its images come as packed patches, whose places in the image only the model's processor knows"
            if packed
            else "no argument of the call is an image, (B, 3, H, W) or (B, 1, H, W)"
        )
        raise InputError(
            f"method {method!r} changes the pixels of images, but {why}: take a method that reads a layer, such as "
            "'layercam'"
        )
    count = run.score.numel()
    wrong = next((image for image in run.images if image.batch != count), None)
    if wrong is not None:
        raise InputError(
            f"method {method!r} changes one image of one sample at a time, but {wrong.name!r} holds {wrong.batch} "
            f"images for {count} score(s) (tiles or frames of one image, or one image for several texts): repeat the "
            "image for each text, or take a method that reads a layer, such as 'layercam'"
        )
    return run.images
