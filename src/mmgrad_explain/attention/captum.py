"""MMGrad as one of captum's attribution methods, for captum's own tools and for scripts that are written for captum.

``NoiseTunnel``, ``captum.metrics.infidelity`` and ``captum.metrics.sensitivity_max`` take it. This module imports
captum; nothing else in the package does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from captum.attr import Attribution
from captum.log import log_usage
from torch import Tensor, nn

from mmgrad_explain.attention.mmgrad import MultiModalGradAttention
from mmgrad_explain.attention.scores.outputs import as_tensor
from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.fusion import resize_maps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mmgrad_explain.attention.layouts.layout import LayoutLike
    from mmgrad_explain.attention.weighting import Weighting

_SPREADS = ("repeat", "share", "one")


class MMGradAttribution(Attribution):  # type: ignore[misc]
    """:class:`~mmgrad_explain.attention.mmgrad.MultiModalGradAttention` behind captum's interface.

    ``MMGradAttribution(model, layer).attribute(image, target=3, upsample=False)`` is
    ``captum.attr.LayerGradCam(model, layer).attribute(image, target=3, relu_attributions=True)``, and with
    ``relu_attributions=False`` what that gives without. Text goes into ``additional_forward_args``.

    Attributes:
        forward_func: The model.
    """

    def __init__(
        self,
        model: nn.Module,
        layer: nn.Module | str | Sequence[nn.Module | str] | None = None,
        score: str | Callable[[Any], Any] | None = None,
        weighting: str | Weighting = "gradcam",
        layout: LayoutLike | None = None,
    ) -> None:
        """Remember what to do.

        Args:
            model: Any module. It is the ``forward_func`` that captum sees.
            layer: As ``target_layers`` of :class:`~mmgrad_explain.attention.mmgrad.MultiModalGradAttention`.
            score: What is explained where ``attribute`` gets no ``target``; with one, that entry of the output.
            weighting: As there.
            layout: As there.

        Raises:
            TypeError: as :class:`~mmgrad_explain.attention.mmgrad.MultiModalGradAttention`.
            InputError: as :class:`~mmgrad_explain.attention.mmgrad.MultiModalGradAttention`.
        """
        super().__init__(model)
        self._options: tuple[Any, ...] = (weighting, layout)
        self._plain = MultiModalGradAttention(model, layer, score, weighting, layout)
        self._layer = layer
        self._target: Any = None

    @log_usage()  # type: ignore[untyped-decorator]  # NoiseTunnel looks for the function inside such a wrapper
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Any = None,
        additional_forward_args: Any = None,
        *,
        upsample: bool = True,
        channels: str = "repeat",
        relu_attributions: bool = True,
    ) -> Tensor | tuple[Tensor, ...]:
        """Make maps in the shape that captum expects.

        Args:
            inputs: The picture, (B, C, H, W), or a tuple of pictures that the layer is called for in this order (a
                reference and a target). They come first among the model's arguments.
            target: As everywhere in captum: an index into the output (an int, a tuple), or one a sample (a list, a
                tensor). None takes the score.
            additional_forward_args: What the model takes after the pictures: one thing or a tuple. Texts belong here.
            upsample: Resize the map to the picture bilinearly, as ``LayerAttribution.interpolate`` does with
                ``interpolate_mode="bilinear"``. Otherwise it stays on the layer's grid, as ``LayerGradCam`` gives it.
            channels: With ``upsample``: ``"repeat"`` gives every channel of a pixel the map's value; ``"share"``
                divides it among them, so that sums over the input are those of the map; ``"one"`` gives (B, 1, H, W).
                The metrics of captum need one of the first two, because they multiply attributions with inputs.
            relu_attributions: Cut off negative values.

        Returns:
            One tensor for each picture, float32: (B, C, H, W), or (B, 1, h, w) without ``upsample``.

        Raises:
            TypeError: ``inputs`` is no tensor or tuple of tensors.
            InputError: an input is no picture, the layer ran less often than there are pictures, ``channels`` is
                unknown, or ``target`` does not fit the output; and what
                :class:`~.mmgrad.MultiModalGradAttention` raises.
        """
        pictures = inputs if isinstance(inputs, tuple) else (inputs,)
        if not pictures or not all(isinstance(picture, Tensor) for picture in pictures):
            raise TypeError("inputs must be a tensor or a tuple of tensors")
        if not all(picture.is_floating_point() and picture.ndim == 4 for picture in pictures):
            raise InputError(
                f"inputs: pictures (B, C, H, W) are explained, not {[tuple(one.shape) for one in pictures]}; hand "
                "texts over as additional_forward_args"
            )
        if channels not in _SPREADS:
            raise InputError(f"channels must be one of {', '.join(map(repr, _SPREADS))}, not {channels!r}")
        more = () if additional_forward_args is None else additional_forward_args
        explanation = self._of(target)(*pictures, *(more if isinstance(more, tuple) else (more,)))
        if len(explanation.calls) < len(pictures):
            raise InputError(
                f"inputs: {len(pictures)} pictures, but the layer ran {len(explanation.calls)} time(s); hand the "
                "others over as additional_forward_args"
            )
        if explanation.lies_on and explanation.lies_on[: len(pictures)] != tuple(range(len(pictures))):
            lie_on = ", ".join(explanation.pictures[picture] for picture in explanation.lies_on)
            raise InputError(f"inputs: the layer's maps lie on {lie_on}: choose one that runs once on each input")
        found = explanation.calls
        if not relu_attributions:
            found = tuple(_mean_of_signed(explanation.signed, index) for index in range(len(pictures)))
        results = tuple(
            _spread(maps, picture, channels) if upsample else maps[:, None]
            for maps, picture in zip(found, pictures, strict=False)
        )
        return results if isinstance(inputs, tuple) else results[0]

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The dotted names of the layers; empty as long as they have still to be found."""
        return self._plain.layer_names

    def _of(self, target: Any) -> MultiModalGradAttention:
        if target is None:
            return self._plain
        layers = self._layer if self._layer is not None or not self.layer_names else list(self.layer_names)
        return MultiModalGradAttention(self.forward_func, layers, _Entry(target), *self._options)


class _Entry:
    """The entry of the output that captum's ``target`` names."""

    def __init__(self, target: Any) -> None:
        self.target = target

    @property
    def name(self) -> str:
        """``target 3``."""
        return f"target {self.target}" if isinstance(self.target, (int, tuple)) else "target"

    def __call__(self, output: Any) -> Tensor:
        """Give (B,)."""
        from captum._utils.common import _select_targets

        tensor = as_tensor(output)
        try:
            chosen: Tensor = _select_targets(tensor, self.target)
        except (AssertionError, IndexError, RuntimeError) as error:
            raise InputError(
                f"target: {self.target!r} does not fit an output of shape {tuple(tensor.shape)}: {error}"
            ) from error
        return chosen


def _mean_of_signed(signed: dict[str, list[Tensor]], call: int) -> Tensor:
    """The signed map of one call; several layers' are averaged on the finest grid."""
    maps = [calls[call] for calls in signed.values() if call < len(calls)]
    size = max(((one.shape[1], one.shape[2]) for one in maps), key=lambda size: size[0] * size[1])
    return torch.stack([resize_maps(one, size) for one in maps]).mean(0)


def _spread(maps: Tensor, picture: Tensor, channels: str) -> Tensor:
    """Maps (B, h, w) to the picture's pixels."""
    maps = resize_maps(maps, (picture.shape[2], picture.shape[3]))[:, None]
    if channels == "one":
        return maps
    count = picture.shape[1]
    return (maps / count if channels == "share" else maps).repeat(1, count, 1, 1)
