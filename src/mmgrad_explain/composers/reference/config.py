"""The config of the reference network: its sizes, and its trunk."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

from mmgrad_explain._system.user_files import quote
from mmgrad_explain.composers.reference.named_parts import PLACED
from mmgrad_explain.errors import InputError

DEFAULT_BACKBONE = "resnet10t"
DEFAULT_OPTIONS = {"layers": [1, 2, 2, 1], "channels": [32, 64, 128, 128], "stem_width": 16, "groups": 4}
"""The trunk of a network whose config names none, and its options."""


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of :class:`~mmgrad_explain.composers.reference.network.ReferenceNetwork`, and its trunk.

    Attributes:
        image_size: Side of the square input, pixels.
        vocab_size: Number of words of the tokenizer, including padding and the unknown word.
        max_words: Longest text, tokens.
        text_width: Width of the text encoder and of the composer.
        text_layers: Transformer blocks of the text encoder.
        heads: Attention heads of text encoder and composer.
        feature_width: Channels of the feature grid that is explained, without those of the parts and looks.
        embed_dim: Length of the embeddings, without the numbers of the parts.
        parts: Number of parts that have numbers of their own in the embedding
            (:class:`~mmgrad_explain.composers.reference.part_pooling.PartPooling`): the classes of the label map
            ``object`` of the training. 0 leaves them out.
        named_parts: Whether the parts are the segmentation head's classes, which a text finds by name, side and size
            (:class:`~mmgrad_explain.composers.reference.named_parts.PartSearch`).
        looks: Number of classes that say what a part looks like, likewise of the label map ``pixel_colour``.
        backbone: The trunk: name of a timm model that offers ``features_only``.
        backbone_options: Options of ``timm.create_model``, such as ``pad_type`` and ``output_stride``; ``groups`` is
            the number of groups of GroupNorm. By default those of the bundled models for the default trunk, else none.
        taps: Which of the trunk's feature maps are used: timm's feature indices, two or more, rising. The first map
            gives the grid that is explained. None takes the first maps at strides 4, 8 and 16.
        segmenter: Classes of a segmentation head on the trunk's last map, background included; what it finds is a
            further map for the features that are explained. 0 leaves it out.
        frozen_norm: Whether the trunk's batch norms keep their statistics in training; their scales and offsets are
            trained as all weights are.
        mean: Of the pixels that the trunk takes, in [0, 1]: one number, or three.
        std: Pixels are divided by it; likewise.
    """

    image_size: int = 96
    vocab_size: int = 128
    max_words: int = 24
    text_width: int = 96
    text_layers: int = 2
    heads: int = 4
    feature_width: int = 96
    embed_dim: int = 128
    parts: int = 0
    named_parts: bool = False
    looks: int = 12
    backbone: str = DEFAULT_BACKBONE
    backbone_options: dict[str, Any] = None  # type: ignore[assignment]  # never None once it is made
    taps: tuple[int, ...] | None = None
    segmenter: int = 0
    frozen_norm: bool = False
    mean: float | tuple[float, ...] = 0.5
    std: float | tuple[float, ...] = 0.25

    @property
    def grid_width(self) -> int:
        """Channels of the feature grid: those of the features, parts and looks; of a named part, one for each place."""
        if not self.parts:
            return self.feature_width
        return self.feature_width + self.looks + self.parts * (len(PLACED) if self.named_parts else 1)

    def __post_init__(self) -> None:
        if self.backbone_options is None:
            options = DEFAULT_OPTIONS if self.backbone == DEFAULT_BACKBONE else {}
            object.__setattr__(self, "backbone_options", copy.deepcopy(options))
        for name in ("image_size", "vocab_size", "max_words", "text_width", "text_layers", "heads", "feature_width",
                     "embed_dim", "looks"):  # fmt: skip
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"{name} must be a whole number from 1 on, not {quote(value)}")
        for name in ("parts", "segmenter"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise InputError(f"{name} must be a whole number from 0 on, not {quote(value)}")
        if self.text_width % self.heads or not isinstance(self.backbone_options, dict):
            raise InputError("heads must divide text_width, and backbone_options must be names with values")
        for name in ("frozen_norm", "named_parts"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name} must be true or false, not {quote(getattr(self, name))}")
        if self.named_parts and not self.parts == self.segmenter > 1:
            raise InputError(
                f"named_parts: the parts are the classes of the segmentation head: set parts and segmenter to their "
                f"number, not to {self.parts} and {self.segmenter}"
            )
        if self.taps is not None:
            object.__setattr__(self, "taps", _check_taps(self.taps))
        for name in ("mean", "std"):
            object.__setattr__(self, name, _check_pixels(name, getattr(self, name)))


def _check_taps(taps: object) -> tuple[int, ...]:
    found = tuple(taps) if isinstance(taps, list | tuple) else ()
    whole = all(isinstance(tap, int) and not isinstance(tap, bool) and tap >= 0 for tap in found)
    if len(found) < 2 or not whole or list(found) != sorted(set(found)):
        raise InputError(f"taps must be two or more feature indices of timm, from 0 on, rising, not {quote(taps)}")
    return found


def _check_pixels(name: str, value: object) -> float | tuple[float, ...]:
    """Check a mean or a standard deviation of pixels, and return it: a number, or three."""
    given: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
    numbers = [float(one) for one in given if isinstance(one, int | float) and not isinstance(one, bool)]
    least = math.ulp(0.0) if name == "std" else 0.0
    if len(given) not in {1, 3} or len(numbers) < len(given) or not all(least <= one <= 1 for one in numbers):
        raise InputError(
            f"{name} is of pixels in [0, 1], one number or three, {'above' if least else 'from'} 0 to 1, not "
            f"{quote(value)} (a value of 0 to 255 is divided by 255)"
        )
    return numbers[0] if len(numbers) == 1 else tuple(numbers)
