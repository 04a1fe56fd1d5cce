"""The reference CIR model as a transformers model.

It is for training and sharing: ``save_pretrained``, ``from_pretrained``, any timm backbone. For explanations,
:class:`~mmgrad_explain.composers.reference.composer.ReferenceComposer` reads the same folders and starts faster.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from transformers import PretrainedConfig, PreTrainedModel

from mmgrad_explain.composers.model_types import REFERENCE
from mmgrad_explain.composers.reference.build import build_network, network_config
from mmgrad_explain.composers.reference.config import NetworkConfig
from mmgrad_explain.composers.reference.processor import ReferenceProcessor

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mmgrad_explain.composers.outputs import ComposedOutput

__all__ = ["ReferenceConfig", "ReferenceModel", "ReferenceProcessor"]


class ReferenceConfig(PretrainedConfig):  # type: ignore[misc]
    """Config of :class:`ReferenceModel`.

    The fields are those of :class:`~mmgrad_explain.composers.reference.config.NetworkConfig`.
    """

    model_type = REFERENCE

    def __init__(self, **kwargs: Any) -> None:
        names = [each.name for each in fields(NetworkConfig) if each.name in kwargs]
        for name, value in asdict(NetworkConfig(**{name: kwargs.pop(name) for name in names})).items():
            setattr(self, name, value)
        super().__init__(**kwargs)


class ReferenceModel(PreTrainedModel):  # type: ignore[misc]
    """The reference CIR network.

    Args:
        config: Sizes and trunk.
    """

    config_class = ReferenceConfig
    base_model_prefix = "network"
    main_input_name = "pixel_values"

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        self.network = build_network(network_config(config.to_dict()))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Keep torch's and timm's own initialisation."""

    def forward(
        self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor, target_pixel_values: Tensor | None = None
    ) -> ComposedOutput:
        """See :meth:`mmgrad_explain.composers.reference.network.ReferenceNetwork.forward`."""
        return self.network(pixel_values, input_ids, attention_mask, target_pixel_values)  # type: ignore[no-any-return]
