"""Integrated gradients as a method: on the pixels, or on the target layers' outputs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from mmgrad_explain._system.choices import check_choice
from mmgrad_explain._system.progress import Bar
from mmgrad_explain.attention.gradient import to_float
from mmgrad_explain.attention.layouts.layout import fold_map
from mmgrad_explain.attention.methods.base import MethodMaps, Needs
from mmgrad_explain.attention.methods.causal.image_changes import ChangedImage, find_images, map_each_image
from mmgrad_explain.attention.places.record_layouts import grid_of_rows
from mmgrad_explain.attention.recording.layer_replacement import find_path, replaced_output
from mmgrad_explain.attention.reruns.image_scores import take_image, take_rows
from mmgrad_explain.attention.reruns.integrated_gradients import integrated_gradients
from mmgrad_explain.attention.running.input_images import change_images
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmgrad_explain.attention.methods.run import Run
    from mmgrad_explain.attention.recording.records import Record

PLACES = ("pixels", "layer")
"""Where integrated gradients can be taken."""


@dataclass(frozen=True)
class IntegratedGradients:
    """The gradient on the way from an image without content to the image, times that way: shares of the score.

    The map adds up to the score of the image less that of the baseline, each image by itself.

    Source: Sundararajan et al., arXiv 1703.01365; see :func:`~.integrated_gradients.integrated_gradients`.

    Attributes:
        steps: Points on the way; the model runs forward and back once for each.
        baseline: Where the way begins: ``"blur"``, ``"mean"`` (the image's mean colour) or ``"zero"`` (the paper's
            black image, where 0 is black).
        at: ``"pixels"``, or ``"layer"``: the way of the target layers' outputs, from what they are for the baseline to
            what they are for the image, on their grids.
        batch: Images that go through the model together.
    """

    steps: int = 50
    baseline: str = "blur"
    at: Literal["pixels", "layer"] = "pixels"
    batch: int = 16
    name = "integrated-gradients"
    differentiable = False

    def __post_init__(self) -> None:
        check_choice("at", self.at, PLACES)

    @property
    def needs(self) -> Needs:
        """The target layers with ``at="layer"``; runs on other inputs."""
        return Needs(layers=self.at == "layer", reruns=True)

    def maps(self, run: Run) -> MethodMaps:
        """Make signed maps, in the score's units: a share of the score for each pixel, or for each cell of a layer."""
        return self._maps_of_layers(run) if self.at == "layer" else self._maps_of_pixels(run)

    def _maps_of_pixels(self, run: Run) -> MethodMaps:
        images, inputs = find_images(run, self.name), run.inputs_of_call()
        whole = [image for image in images if not take_image(inputs, image).is_floating_point()]
        if whole:
            raise InputError(
                f"method {self.name!r}: the pixels of {whole[0].name!r} are whole numbers, which have no gradient; "
                "take IntegratedGradients(at='layer'), or 'occlusion'"
            )

        def make(changed: ChangedImage, show: Callable[[int, int], None]) -> Tensor:
            def score(images: Tensor) -> Tensor:
                inputs, index = _repeat(run, len(images) // len(changed.pixels))
                return run.rerun(change_images(inputs, {changed.image.index: lambda _: images}), index, graph=True)

            at_once = max(1, self.batch // len(changed.pixels)) if changed.together else 1
            found = integrated_gradients(
                score, changed.pixels, changed.filled, steps=self.steps, at_once=at_once, progress=show
            )
            return to_float(found).sum(1)

        return map_each_image(run, self.name, self.baseline, "steps", make)

    def _maps_of_layers(self, run: Run) -> MethodMaps:
        images, inputs = find_images(run, self.name), run.inputs_of_call()
        changes: dict[int, Any] = {}
        together = True
        for image in images:
            changed = ChangedImage(run, image, self.baseline)
            changes[image.index] = partial(_convert, changed.filled)
            together = together and changed.together
        gradients = run.gradients()
        with run.seen.record_again(run.seen.layers) as again:
            run.rerun(change_images(inputs, changes))
        signed: dict[str, list[Tensor]] = {}
        with Bar() as bar:
            for name, calls in run.seen.records.items():
                signed[name] = []
                for number, (record, gradient) in enumerate(zip(calls, gradients[name], strict=True)):
                    baseline = again.records[name][record.call].activation
                    label = f"steps of call {number} of {name}"
                    if gradient is None:
                        shares = torch.zeros_like(to_float(baseline))
                    else:
                        shares = self._integrate(
                            run, name, record, baseline, together=together,
                            progress=partial(bar.show, label),
                        )  # fmt: skip
                    layout = run.layouts[name][number]
                    signed[name].append(fold_map(grid_of_rows(shares, layout, record.rows).sum(1), layout))
        return MethodMaps(signed, {name: [*calls] for name, calls in run.layouts.items()}, run.image_of_calls)

    def _integrate(
        self, run: Run, name: str, record: Record, baseline: Tensor, *, together: bool,
        progress: Callable[[int, int], None],
    ) -> Tensor:  # fmt: skip
        """Integrate over one call of a layer, while everything else of the call stays as it is."""
        values = record.activation.detach()
        module = run.seen.layers[name]
        path = find_path(module, record.call, values, lambda: run.rerun(run.inputs_of_call()))
        if record.rows is not None:  # the other rows are of another image: they stay
            keep = torch.ones(len(values), dtype=torch.bool, device=values.device)
            keep[list(record.rows)] = False
            baseline = torch.where(keep.view(-1, *[1] * (values.ndim - 1)), values, baseline)
        count = run.score.numel()
        repeats = together and len(values) == count

        def score(points: Tensor) -> Tensor:
            inputs, index = _repeat(run, len(points) // len(values) if repeats else 1)
            with replaced_output(module, record.call, path, points):
                return run.rerun(inputs, index, graph=True)

        at_once = max(1, self.batch // len(values)) if repeats else 1
        return to_float(
            integrated_gradients(score, values, baseline, steps=self.steps, at_once=at_once, progress=progress)
        )


def _repeat(run: Run, times: int) -> tuple[Any, Tensor | None]:
    """Return the inputs of a call with all samples repeated, one whole batch after the other, and their samples."""
    inputs, count = run.inputs_of_call(), run.score.numel()
    if times == 1:
        return inputs, None
    index = torch.arange(count).repeat(times)
    return take_rows(inputs, index, count), index


def _convert(values: Tensor, original: Tensor) -> Tensor:
    return values.to(original)
