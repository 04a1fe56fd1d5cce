"""MMGrad as one of captum's attribution methods, for the tools of captum and for scripts that use captum.

``NoiseTunnel``, ``captum.metrics.infidelity`` and ``captum.metrics.sensitivity_max`` accept it. Only this module
imports captum.
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

_CHANNELS = ("repeat", "share", "one")


class MMGradAttribution(Attribution):  # type: ignore[misc]
    """:class:`~mmgrad_explain.attention.mmgrad.MultiModalGradAttention` behind captum's interface.

    ``MMGradAttribution(model, layer).attribute(image, target=3, upsample=False)`` is
    ``captum.attr.LayerGradCam(model, layer).attribute(image, target=3, relu_attributions=True)``, and with
    ``relu_attributions=False`` the result without it. Text goes into ``additional_forward_args``.

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
        """Check the arguments; the model is not touched.

        Args:
            model: Any module; captum sees it as the ``forward_func``.
            layer: As ``target_layers`` of :class:`~mmgrad_explain.attention.mmgrad.MultiModalGradAttention`.
            score: The score that is explained where ``attribute`` gets no ``target``; with a target, that entry of the
                output is explained.
            weighting: Likewise.
            layout: Likewise.

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
            inputs: The image, (B, C, H, W), or a tuple of images, in the order in which the layer runs on them (a
                reference and a target). They are the first arguments of the model.
            target: As everywhere in captum: an index into the output (an int, a tuple), or one for each sample (a list,
                a tensor). None takes the score.
            additional_forward_args: The other arguments of the model, one or a tuple of them, such as texts.
            upsample: Resize the map to the image bilinearly, as ``LayerAttribution.interpolate`` does with
                ``interpolate_mode="bilinear"``. Otherwise it stays on the layer's grid, as with ``LayerGradCam``.
            channels: With ``upsample``: ``"repeat"`` gives every channel of a pixel the map's value; ``"share"``
                divides it among them, so that sums over the input are those of the map; ``"one"`` gives (B, 1, H, W).
                The metrics of captum need one of the first two, because they multiply attributions by inputs.
            relu_attributions: Cut off negative values.

        Returns:
            One tensor for each image, float32: (B, C, H, W), or (B, 1, h, w) without ``upsample``.

        Raises:
            TypeError: ``inputs`` is not a tensor or a tuple of tensors.
            InputError: an input is not an image, the layer ran less often than there are images, ``channels`` is
                unknown, or ``target`` does not fit the output; or as :class:`~.mmgrad.MultiModalGradAttention`.
        """
        images = inputs if isinstance(inputs, tuple) else (inputs,)
        if not images or not all(isinstance(image, Tensor) for image in images):
            raise TypeError("inputs must be a tensor or a tuple of tensors")
        if not all(image.is_floating_point() and image.ndim == 4 for image in images):
            raise InputError(
                f"inputs: images (B, C, H, W) are explained, not {[tuple(image.shape) for image in images]}; pass "
                "texts as additional_forward_args"
            )
        if channels not in _CHANNELS:
            raise InputError(f"channels must be one of {', '.join(map(repr, _CHANNELS))}, not {channels!r}")
        more = () if additional_forward_args is None else additional_forward_args
        explanation = self._explainer_of(target)(*images, *(more if isinstance(more, tuple) else (more,)))
        if len(explanation.calls) < len(images):
            raise InputError(
                f"inputs: {len(images)} images, but the layer ran {len(explanation.calls)} time(s); pass the "
                "others as additional_forward_args"
            )
        if explanation.image_of_calls and explanation.image_of_calls[: len(images)] != tuple(range(len(images))):
            of_images = ", ".join(explanation.image_names[image] for image in explanation.image_of_calls)
            raise InputError(
                f"inputs: the layer's maps are of {of_images}: choose a layer that runs once on each input"
            )
        found = explanation.calls
        if not relu_attributions:
            found = tuple(_mean_of_signed(explanation.signed, index) for index in range(len(images)))
        results = tuple(
            _resize_to_image(maps, image, channels) if upsample else maps[:, None]
            for maps, image in zip(found, images, strict=False)
        )
        return results if isinstance(inputs, tuple) else results[0]

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The dotted names of the layers; empty as long as they have not been found."""
        return self._plain.layer_names

    def _explainer_of(self, target: Any) -> MultiModalGradAttention:
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
        """Compute (B,)."""
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
    """Return the signed map of one call; the maps of several layers are averaged on the finest grid."""
    maps = [calls[call] for calls in signed.values() if call < len(calls)]
    size = max(((of_layer.shape[1], of_layer.shape[2]) for of_layer in maps), key=lambda size: size[0] * size[1])
    return torch.stack([resize_maps(of_layer, size) for of_layer in maps]).mean(0)


def _resize_to_image(maps: Tensor, image: Tensor, channels: str) -> Tensor:
    """Resize maps (B, h, w) to the pixels of the image, with channels."""
    maps = resize_maps(maps, (image.shape[2], image.shape[3]))[:, None]
    if channels == "one":
        return maps
    count = image.shape[1]
    return (maps / count if channels == "share" else maps).repeat(1, count, 1, 1)
