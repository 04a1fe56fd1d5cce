"""The reference CIR model as a composer, read from a folder without importing transformers or timm."""

from __future__ import annotations

import copy
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from mmgrad_explain.composers.base import Composer
from mmgrad_explain.composers.familiarity import Familiarity
from mmgrad_explain.composers.files import SAFETENSORS, fill, fitting, read_own_model
from mmgrad_explain.composers.model_types import REFERENCE
from mmgrad_explain.composers.outputs import ComposedOutput
from mmgrad_explain.composers.reference.build import PREFIX, build_network, network_config
from mmgrad_explain.composers.reference.named_parts import LEAST_NAMED
from mmgrad_explain.composers.reference.processor import ReferenceProcessor
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from mmgrad_explain.composers.contract import LabelClassifier
    from mmgrad_explain.composers.reference.config import NetworkConfig
    from mmgrad_explain.composers.reference.network import ReferenceNetwork


class ReferenceComposer(Composer):
    """The reference CIR network with its processor.

    Maps are taken at ``network.features``, the feature grid before any text is mixed in. The default score, the shift,
    needs no target.
    """

    target_layer = "network.features"
    pooling_layer = "network.shift.pooling.where"
    context_layer = "network.shift.context.where"
    default_score: ClassVar[str | None] = "shift"
    default_method = "gradcam"

    def __init__(self, network: ReferenceNetwork, processor: ReferenceProcessor, name: str = "reference") -> None:
        super().__init__()
        self.network = network
        self.processor = processor
        self.name = name
        self.presence_layer = "network.shift.search.presence" if network.config.named_parts else None
        self.described_layers = tuple(f"network.{layer}" for layer in network.described_layers)

    def forward(
        self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor, target_pixel_values: Tensor | None = None
    ) -> ComposedOutput:
        """See :class:`~mmgrad_explain.composers.reference.network.ReferenceNetwork`."""
        return self.network(pixel_values, input_ids, attention_mask, target_pixel_values)  # type: ignore[no-any-return]

    def names_things(self, texts: Sequence[str]) -> list[bool]:
        """See :meth:`~mmgrad_explain.composers.base.Composer.names_things`; a network with named parts can tell."""
        if not self.network.config.named_parts or not texts:
            return super().names_things(texts)
        device = self.network.logit_scale.device
        ids, mask = (each.to(device) for each in self.processor.encode_texts(texts))
        with torch.no_grad():
            named = self.encode_text(ids, mask)[-1]
        return (named[..., 1:].sum((1, 2)) > LEAST_NAMED).tolist()

    # ------------------------------------------------------------------------------------------------------- in stages

    @property
    def label_heads(self) -> dict[str, LabelClassifier]:
        """What classifies the cells of the feature grid, by label map; empty without parts."""
        parts = self.network.parts
        return {} if parts is None else {"object": parts.parts, "pixel_colour": parts.looks}

    @property
    def feature_width(self) -> int:
        """Channels of the feature grid."""
        return self.network.config.grid_width

    @property
    def embed_dim(self) -> int:
        """Length of the embeddings."""
        return self.network.embed_dim

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Encode normalised pixels ``(B, 3, S, S)`` to the feature grid ``(B, C, h, w)``."""
        return self.network.encode_image(pixel_values)

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        """Encode ids and mask ``(B, L)``: word vectors ``(B, L, W)``, sentences ``(B, W)`` and the mask.

        With named parts, what of which of them the texts name follows.
        """
        return self.network.encode_text(input_ids, attention_mask.bool())

    def compose(self, features: Tensor, text: tuple[Tensor, ...]) -> ComposedOutput:
        """Compose B grids with B encoded texts: an output without a target. Maps are taken here."""
        identity, shift = self.network.compose(features, *text)
        return ComposedOutput(identity + shift, shift)

    def embed(self, features: Tensor) -> Tensor:
        """Embed images alone, ``(B, D)``."""
        return self.network.embed(features)

    def shift(self, features: Tensor, text: tuple[Tensor, ...]) -> Tensor:
        """Compute the texts' changes of the embeddings, ``(B, D)``."""
        return self.network.change(features, *text)

    def feature_grid(self, features: Tensor) -> Tensor:
        """Return the features, which are a grid, ``(B, C, h, w)``."""
        return features

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model and its processor into a folder, in the format of ``ReferenceModel.save_pretrained``."""
        from safetensors.torch import save

        from mmgrad_explain.composers.reference.transformers_model import ReferenceConfig

        folder = Path(folder)
        config = ReferenceConfig(**asdict(self.network.config))
        config.architectures = ["ReferenceModel"]
        config.save_pretrained(folder)
        weights = {PREFIX + name: value.contiguous() for name, value in self.network.state_dict().items()}
        (folder / SAFETENSORS).write_bytes(save(weights, {"format": "pt"}))  # save_file lets nobody else read it
        self.processor.save_pretrained(folder)

    def resized(self, image_size: int) -> ReferenceComposer:
        """Copy the model for images of another size: learned positions are interpolated, all else is the same.

        A network knows things at the size that they had in its training; train the copy on. Its familiar images are
        those of another size, so it has none.

        Args:
            image_size: Side of the square input, pixels: a multiple of the stride of the trunk's second map.

        Returns:
            A new composer, trainable and in train mode where this one is.

        Raises:
            InputError: The size is no multiple of the stride.
        """
        own = self.network.neck.positions
        stride = self.network.config.image_size // own.shape[-1]
        if image_size < stride or image_size % stride:
            raise InputError(f"image_size must be a multiple of {stride}, not {image_size}")
        resized = copy.deepcopy(self)
        side = (image_size // stride, image_size // stride)
        with torch.no_grad():
            positions = F.interpolate(own[None], side, mode="bilinear", align_corners=False)[0]
        resized.network.neck.positions = nn.Parameter(positions, requires_grad=own.requires_grad)
        resized.network.config = replace(self.network.config, image_size=image_size)
        resized.processor.image_size = image_size
        resized.familiarity = None
        return resized

    @classmethod
    def from_memory(cls, model: Any, processor: Any, name: str) -> ReferenceComposer:
        """Wrap a :class:`~mmgrad_explain.composers.reference.transformers_model.ReferenceModel` as it is.

        Raises:
            InputError: The processor is missing, or does not prepare images as the network takes them.
        """
        if not isinstance(processor, ReferenceProcessor):
            raise InputError("processor: give the model's own: processor=ReferenceProcessor.from_pretrained(folder)")
        _check_processor(processor, model.network.config, _PREPARED, "processor")
        return cls(model.network, processor, name)

    @classmethod
    def from_pretrained(cls, folder: str | Path, name: str | None = None) -> ReferenceComposer:
        """Read a folder that ``ReferenceModel.save_pretrained`` and the processor's wrote.

        Raises:
            InputError: The folder holds no reference model, or its weights do not fit its config, or its processor does
                not.
        """
        folder = Path(folder)
        config, stored = read_own_model(folder, REFERENCE)
        weights = {key.removeprefix(PREFIX): value for key, value in stored.items()}
        with fitting(folder):
            sizes = network_config(config)
            network = fill(lambda: build_network(sizes), weights)
        processor = ReferenceProcessor.from_pretrained(folder)
        _check_processor(processor, sizes, [key for key in _PREPARED if key in config], str(folder))
        composer = cls(network, processor, name or folder.name).eval()
        composer.familiarity = Familiarity.load(folder)
        composer.backbone = ("network.visual",)
        return composer


_PREPARED = ("image_size", "mean", "std")


def _check_processor(processor: ReferenceProcessor, sizes: NetworkConfig, keys: Iterable[str], where: str) -> None:
    """Check that a processor prepares images as a network takes them.

    Raises:
        InputError: It does not.
    """
    for key in keys:
        own, wanted = (_numbers(getattr(one, key)) for one in (processor, sizes))
        if own != wanted:
            raise InputError(
                f"{where}: its processor and its network have different {key}: {_say(own)} and {_say(wanted)}"
            )


def _numbers(value: float | Sequence[float]) -> tuple[float, ...]:
    numbers = [value] if isinstance(value, int | float) else list(value)
    return tuple(dict.fromkeys(numbers)) if len(set(numbers)) == 1 else tuple(numbers)


def _say(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{one:g}" for one in numbers)
