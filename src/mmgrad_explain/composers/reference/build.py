"""Build the reference network from a config: with the plain backbone, or any of timm's."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from mmgrad_explain.composers.reference.network import NetworkConfig, PlainResNet, ReferenceNetwork
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

PREFIX = "network."
"""The prefix of all weights in a file, where the network is a part of ``ReferenceModel``."""


def network_config(values: Mapping[str, object]) -> NetworkConfig:
    """Get the sizes from a ``config.json``."""
    return NetworkConfig(**{f.name: values[f.name] for f in fields(NetworkConfig) if f.name in values})  # type: ignore[arg-type]


def build_network(config: NetworkConfig) -> ReferenceNetwork:
    """Build the network that a config describes, with random weights.

    The default backbone is built from plain torch; any other comes from timm, by name.
    """
    if config.backbone == NetworkConfig.backbone and "groups" in config.backbone_options:
        visual: nn.Module = PlainResNet(**config.backbone_options)
        return ReferenceNetwork(config, visual, config.backbone_options["channels"][:3])
    visual, channels = timm_backbone(config)
    return ReferenceNetwork(config, visual, channels)


def timm_backbone(config: NetworkConfig) -> tuple[nn.Module, list[int]]:
    """Build the timm model that a config names, with maps at strides 4, 8 and 16, and count their channels.

    Raises:
        InputError: Timm has no such model, it has no maps at these strides, or the config would load weights from
            elsewhere.
    """
    from functools import partial

    import timm
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
    groups = options.pop("groups", None)
    if groups is not None:
        options["norm_layer"] = partial(GroupNorm, num_groups=groups)
    try:
        strides = timm.create_model(config.backbone, features_only=True, **options).feature_info.reduction()
        indices = tuple(strides.index(stride) for stride in (4, 8, 16))
        visual = timm.create_model(config.backbone, features_only=True, out_indices=indices, **options)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        message = f"timm backbone {config.backbone!r} cannot be used: it must give feature maps at strides 4, 8 and 16"
        raise InputError(f"{message} ({error})") from error
    return visual, list(visual.feature_info.channels())
