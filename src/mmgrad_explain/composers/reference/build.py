"""Build the reference network from a config."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

from mmgrad_explain.composers.reference.config import DEFAULT_BACKBONE, NetworkConfig
from mmgrad_explain.composers.reference.network import ReferenceNetwork
from mmgrad_explain.composers.reference.trunk import build_trunk

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "network."
"""The prefix of all weights in a file, where the network is a part of ``ReferenceModel``."""


def network_config(values: Mapping[str, object]) -> NetworkConfig:
    """Get the sizes from a ``config.json``."""
    return NetworkConfig(**{f.name: values[f.name] for f in fields(NetworkConfig) if f.name in values})  # type: ignore[arg-type]


def build_network(config: NetworkConfig) -> ReferenceNetwork:
    """Build the network that a config describes, with random weights.

    The config of the network names the taps that are used.

    Raises:
        InputError: The trunk cannot be built (:func:`~mmgrad_explain.composers.reference.trunk.build_trunk`), or the
            side of the image does not fit it.
    """
    trunk = build_trunk(config)
    if config.backbone != DEFAULT_BACKBONE:
        config = replace(config, taps=trunk.taps)
    return ReferenceNetwork(config, trunk.module, trunk.channels, trunk.strides, trunk.described)
