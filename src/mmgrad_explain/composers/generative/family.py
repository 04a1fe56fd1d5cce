"""What is particular to a family of generative vision-language models of transformers.

The default layer is the last one in which the image's patches are by themselves: what the language model gets of them.
All that the language model sees of the image passes through that layer (except in Qwen3-VL, see its file), so that the
likelihood of an answer has a gradient at every patch.

A family follows from a model's ``config.json``; transformers is not imported before an image is placed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from mmgrad_explain.composers.family_files import always, find_family, read_families

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from PIL import Image
    from torch import Tensor

    from mmgrad_explain.attention.layouts.layout import AnyLayout
    from mmgrad_explain.images.placement import Placement

Size = tuple[int, int]


@dataclass(frozen=True)
class GenerativeCheckpoint:
    """A public checkpoint of a family, as the table in the documentation shows it.

    Attributes:
        hub_id: Its id on the hub.
        image_processor: Class of its image processor in transformers.
        settings: Settings of the image processor.
        config: Where its config differs from the default of its class.
    """

    hub_id: str
    image_processor: str
    settings: Mapping[str, Any]
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class GenerativeFamily:
    """One ``model_type`` of transformers.

    Tensors are the model's inputs by name. For several images of one size, they are the images' tensors concatenated
    along the first dimension. In some tensors this is the dimension of samples (``image_sizes``), in others the patches
    or tiles of all images follow one another (``pixel_values`` of Qwen-VL and InternVL).

    Attributes:
        title: What people call it.
        model_class: The class in transformers that loads it.
        layer: Function of a config that gives the default layer: its dotted name inside the model of transformers.
        layout: Function of a model, the dotted name of a layer in it, and the tensors of a call with ``input_ids``. It
            gives the layout of the layer's output over the images.
        placement: Function of a processor, the (height, width) of an image and the tensors of that image. It gives the
            image's placement in the frame that the map covers; see :meth:`place`.
        prompt: The prompt for a question if the processor has no chat template.
        checkpoint: A public checkpoint, for the documentation.
        image_tensors: Names of the tensors that the model takes and that describe the image alone.
        tiles: Function like ``placement`` that gives an image's rows and columns of tiles if the tensors do not hold
            them. ``layout`` and ``place`` get them as ``tensors["tiles"]``, (B, 2) int64; the model does not.
        types: Tensors that give each token a type, by name, with the type of an answer's tokens. The processor makes
            those of the prompt on request; not every release does so unasked.
        prompt_type: The type of all tokens of a prompt if the processor cannot be asked: PaliGemma's cannot in
            transformers 4.
        labels: Whether the model also gets the answer's ids as ``labels``. Without them transformers 4 lets every token
            read the whole answer.
        logit_cap: Function of a config that gives the bound to which the model limits its logits, ``c tanh(x / c)``, or
            None.
    """

    title: str
    model_class: str
    layer: Callable[[Any], str]
    layout: Callable[[Any, str, Mapping[str, Tensor]], AnyLayout]
    placement: Callable[[Any, Size, Mapping[str, Tensor]], Placement]
    prompt: str
    checkpoint: GenerativeCheckpoint
    image_tensors: tuple[str, ...] = ("pixel_values",)
    tiles: Callable[[Any, Size, Mapping[str, Tensor]], Size] | None = None
    types: Mapping[str, int] = field(default_factory=dict)
    prompt_type: int | None = None
    labels: bool = False
    logit_cap: Callable[[Any], float | None] = field(default_factory=lambda: always(None))

    def place(self, processor: Any, image: Image.Image, tensors: Mapping[str, Tensor]) -> Placement:
        """Find where an image lies in the frame that its map covers.

        Args:
            processor: The model's processor.
            image: The image as the caller gave it.
            tensors: The processor's tensors for that one image, with ``tiles`` if the family has them.

        Raises:
            InputError: If the processor's settings show the image in a way that cannot be undone.
        """
        return self.placement(processor, (image.height, image.width), tensors)

    def tiles_of(self, processor: Any, image: Image.Image, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Make the tensor to add to an image's tensors: ``tiles`` (1, 2) int64, or none.

        Args:
            processor: The model's processor.
            image: The image as the caller gave it.
            tensors: The processor's tensors for that one image.

        Raises:
            InputError: If the number of tiles does not fit the image's size.
        """
        import torch

        if self.tiles is None:
            return {}
        return {"tiles": torch.tensor([self.tiles(processor, (image.height, image.width), tensors)])}


@cache
def generative_families() -> dict[str, GenerativeFamily]:
    """Collect the families by the ``model_type`` in a ``config.json``."""
    return read_families("mmgrad_explain.composers.generative.families")


def generative_family_of(config: Mapping[str, Any], name: str) -> GenerativeFamily:
    """Find the family of a model.

    Args:
        config: Its ``config.json``.
        name: What the model is called, for messages.

    Raises:
        InputError: If models of this type are not supported.
    """
    return find_family(generative_families(), config, name)
