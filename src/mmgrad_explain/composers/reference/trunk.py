"""Build the trunk that a config names: a plain twin of one of timm's models, or any model of timm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from mmgrad_explain.composers.reference.config import DEFAULT_BACKBONE, DEFAULT_OPTIONS
from mmgrad_explain.composers.reference.plain_mobilenet import MULTIPLIERS, OPTIONS, TAPS, PlainMobileNetV2
from mmgrad_explain.composers.reference.plain_resnet import PlainResNet
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmgrad_explain.composers.reference.config import NetworkConfig

STRIDES = (4, 8, 16)
"""Strides of the maps that are taken where a config names no taps."""


@dataclass(frozen=True)
class Trunk:
    """A trunk with random weights.

    Attributes:
        module: Gives the maps of pixels ``(B, 3, H, W)``, the finest first: ``(B, C, h, w)`` each.
        channels: Of each map.
        strides: Pixels of the image by cell of each map.
        taps: Timm's feature index of each map.
        described: Dotted names in the module of its first layer, which takes the pixels, and of those at the taps.
    """

    module: nn.Module
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    taps: tuple[int, ...]
    described: tuple[str, ...]


def build_trunk(config: NetworkConfig) -> Trunk:
    """Build the trunk of a config: in plain torch where there is a twin of the model, else by timm.

    Raises:
        InputError: Timm has no such model, or it has no such maps, or the config would load weights from elsewhere.
    """
    options = config.backbone_options
    if (
        config.backbone == DEFAULT_BACKBONE
        and options.keys() == DEFAULT_OPTIONS.keys()
        and config.taps in {None, (1, 2, 3)}
    ):
        return Trunk(PlainResNet(**options), tuple(options["channels"][:3]), STRIDES, (1, 2, 3), PlainResNet.described)
    return _plain_mobilenet(config) or timm_trunk(config)


def _plain_mobilenet(config: NetworkConfig) -> Trunk | None:
    options, taps = config.backbone_options, config.taps or (1, 2, 3)
    if config.backbone not in MULTIPLIERS or not options.keys() <= OPTIONS or taps[-1] >= len(TAPS):
        return None
    padding, most = options.get("pad_type", ""), options.get("output_stride", 32)
    if padding not in {"", "same"} or most not in {8, 16, 32}:
        return None
    plain = PlainMobileNetV2(MULTIPLIERS[config.backbone], taps, padding, most)
    if config.taps is None and plain.strides != STRIDES:
        return None
    described = ("conv_stem", *(f"blocks.{stage}" for stage in plain.stages))
    return Trunk(plain, plain.channels, plain.strides, taps, described)


def timm_trunk(config: NetworkConfig) -> Trunk:
    """Build the trunk of a config by timm.

    Raises:
        InputError: See :func:`build_trunk`.
    """
    options = _timm_options(config)
    try:
        features, taps = _features(config.backbone, config.taps, options)
        info = features.feature_info
        channels, strides = tuple(info.channels()), tuple(info.reduction())
    except InputError:
        raise
    except (RuntimeError, TypeError, ValueError, AttributeError, AssertionError, IndexError) as error:
        wanted = "at strides 4, 8 and 16" if config.taps is None else f"at the feature indices {list(config.taps)}"
        message = f"timm backbone {config.backbone!r} cannot be used: it must give feature maps {wanted}"
        raise InputError(f"{message} ({error})") from error
    described = _described(features, [str(info.info[tap]["module"]) for tap in taps])
    if all("stage" in one for one in info.info):  # timm keeps blocks after the last tap, which nothing would use
        features.blocks = features.blocks[: info.info[taps[-1]]["stage"]]
    if getattr(features, "output_fmt", "NCHW") == "NHWC":
        described = (f"model.{described[0]}", *(f"turned.{number}" for number in range(len(taps))))
        return Trunk(ChannelsFirst(features, len(taps)), channels, strides, taps, described)
    return Trunk(features, channels, strides, taps, described)


def _timm_options(config: NetworkConfig) -> dict[str, Any]:
    from functools import partial

    from timm.layers import GroupNorm

    options: dict[str, Any] = dict(config.backbone_options)
    loading = sorted(
        name for name in options if name.startswith("pretrained") or name in {"checkpoint_path", "cache_dir"}
    )
    if loading or ":" in config.backbone:
        what = ", ".join(loading) or config.backbone
        raise InputError(
            f"backbone: a model's config describes its shape and must not load weights from elsewhere ({what})"
        )
    taken = sorted({"features_only", "out_indices", "num_classes"} & options.keys())
    if taken:
        raise InputError(f"backbone_options: {taken[0]} is not for you to set: taps say which maps are used")
    groups = options.pop("groups", None)
    if groups is not None:
        options["norm_layer"] = partial(GroupNorm, num_groups=groups)
    return options


def _features(name: str, taps: tuple[int, ...] | None, options: dict[str, Any]) -> tuple[Any, tuple[int, ...]]:
    """Build timm's model of features at the taps, by default those at the first strides 4, 8 and 16."""
    import timm

    if taps is None:
        strides = timm.create_model(name, features_only=True, **options).feature_info.reduction()
        taps = tuple(strides.index(stride) for stride in STRIDES)
    try:
        return timm.create_model(name, features_only=True, out_indices=taps, **options), taps
    except (AssertionError, IndexError) as error:
        strides = timm.create_model(name, features_only=True, **options).feature_info
        known = ", ".join(f"{index} at stride {one['reduction']}" for index, one in enumerate(strides.info))
        if taps[-1] < len(strides.info):
            raise
        raise InputError(f"taps: {name} has no feature {taps[-1]}; it has {known}") from error


def _described(features: nn.Module, at_taps: Sequence[str]) -> tuple[str, ...]:
    """Name the first convolution, and the modules at the taps by their names in the wrapper that timm puts around."""
    modules = dict(features.named_modules())
    first = [name for name, module in modules.items() if isinstance(module, nn.Conv2d)][:1]
    found = [next((one for one in spellings(name) if one in modules), None) for name in at_taps]
    return (*first, *(name for name in dict.fromkeys(found) if name is not None and name not in first))


def spellings(name: str) -> list[str]:
    """List the names that timm's wrappers give to a part of a model, or to that part in the model itself.

    A wrapper puts the model inside as ``model`` or ``body``, or makes ``stages_0`` of ``stages.0``.
    """
    inner = name.removeprefix("model.").removeprefix("body.")
    head, dot, rest = inner.partition(".")
    split = [f"{head[:i]}.{head[i + 1 :]}{dot}{rest}" for i, letter in enumerate(head) if letter == "_"]
    second, dot, last = rest.partition(".")
    return [name, inner, *split, f"{head}_{second}{dot}{last}", f"model.{name}", f"body.{name}"]


class ChannelsFirst(nn.Module):
    """Turns the maps ``(B, h, w, C)`` of a trunk into ``(B, C, h, w)``."""

    def __init__(self, features: nn.Module, count: int) -> None:
        super().__init__()
        self.model = features
        self.turned = nn.ModuleList(_Turned() for _ in range(count))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Compute the maps of pixels ``(B, 3, H, W)``."""
        return [turned(one) for turned, one in zip(self.turned, self.model(pixels), strict=True)]


class _Turned(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2).contiguous()
