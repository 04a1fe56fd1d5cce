"""Which generative vision-language models of transformers are explained, and what is particular to each.

The layer that is explained by default is the last place where the picture's patches lie by themselves: what the
language model gets of them. All that it sees of the picture goes through there (but for Qwen3-VL, see below), so that
the likelihood of an answer has a gradient at every patch that the model is told of.

Everything here follows from a model's ``config.json``; transformers is not imported before a picture is placed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mmgrad_explain.composers.generative import frames as places
from mmgrad_explain.composers.generative import layouts
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from PIL import Image
    from torch import Tensor

    from mmgrad_explain.attention.layouts.layout import AnyLayout
    from mmgrad_explain.composers.generative.frames import Size
    from mmgrad_explain.images.placement import Placement


@dataclass(frozen=True)
class GenerativeFamily:
    """One ``model_type`` of transformers.

    Tensors are the model's inputs by name. Those of several pictures of one size are those of each, put one after
    another along the first dimension; that dimension is the sample's for some (``image_sizes``) and not for others
    (``pixel_values`` of Qwen-VL and InternVL, whose patches or tiles of all pictures follow one another).

    Attributes:
        title: What people call it.
        model_class: The class in transformers that loads it.
        layer: Config to the dotted name, inside the model of transformers, of the layer that is explained by default.
        layout: Model, dotted name of a layer in it, and the tensors of a call, ``input_ids`` among them, to how that
            layer's output lies on the pictures.
        placed: Processor, (height, width) of a picture and the tensors of that one picture to where it lies in
            the frame that the map covers; see :meth:`place`.
        pictures: Names of the tensors that say something about the picture only, and that the model takes.
        tiles: Processor, (height, width) and the picture's tensors to its rows and columns of tiles, where the
            tensors do not say so. It is handed to ``layout`` and ``place`` as ``tensors["tiles"]``, (B, 2) int64, and
            is nothing that the model takes.
        types: Of tensors that give each token a type, by name, the type of an answer's tokens. The processor makes
            those of the prompt, if it is asked to, and not in every release.
        prompt_type: The type of all tokens of a prompt, where the processor is not to be asked: PaliGemma's cannot be
            in transformers 4.
        labels: The model is given the answer's ids as ``labels`` too: without, transformers 4 lets every token read the
            whole answer.
        prompt: How a question is asked where the processor has no chat template.
    """

    title: str
    model_class: str
    layer: Callable[[Any], str]
    layout: Callable[[Any, str, Mapping[str, Tensor]], AnyLayout]
    placed: Callable[[Any, Size, Mapping[str, Tensor]], Placement]
    prompt: str
    pictures: tuple[str, ...] = ("pixel_values",)
    tiles: Callable[[Any, Size, Mapping[str, Tensor]], Size] | None = None
    types: Mapping[str, int] = field(default_factory=dict)
    prompt_type: int | None = None
    labels: bool = False

    def place(self, processor: Any, image: Image.Image, tensors: Mapping[str, Tensor]) -> Placement:
        """Say where a picture lies in the frame that its map covers.

        Args:
            processor: The model's processor.
            image: The picture as it was handed over.
            tensors: What the processor made of that one picture, with ``tiles`` where the family has it.

        Raises:
            InputError: If the processor's settings show the picture in a way that cannot be undone.
        """
        return self.placed(processor, (image.height, image.width), tensors)

    def tiles_of(self, processor: Any, image: Image.Image, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What is to be added to one picture's tensors: ``tiles`` (1, 2) int64, or nothing.

        Args:
            processor: The model's processor.
            image: The picture as it was handed over.
            tensors: What the processor made of that one picture.

        Raises:
            InputError: If the number of tiles does not fit the picture's size.
        """
        import torch

        if self.tiles is None:
            return {}
        return {"tiles": torch.tensor([self.tiles(processor, (image.height, image.width), tensors)])}


def _always(name: str) -> Callable[[Any], str]:
    return lambda _config: name


_PROJECTOR = _always("model.multi_modal_projector")
_CONNECTOR = _always("model.connector")
_MERGER = _always("model.visual.merger")
_VICUNA = "USER: <image>\n{question} ASSISTANT:"
_QWEN = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{question}<|im_end|>\n<|im_start|>assistant\n"
_IDEFICS = "<|begin_of_text|>User:<image>{question}<end_of_utterance>\nAssistant:"


def _qwen(title: str, model_class: str) -> GenerativeFamily:
    return GenerativeFamily(
        title,
        model_class,
        _MERGER,
        layouts.packed,
        places.patches,
        _QWEN,
        pictures=("pixel_values", "image_grid_thw"),
        types={"mm_token_type_ids": 0},
    )


def _idefics(title: str, model_class: str) -> GenerativeFamily:
    return GenerativeFamily(
        title,
        model_class,
        _CONNECTOR,
        layouts.shuffled_tiles,
        places.tiled,
        _IDEFICS.replace("<|begin_of_text|>", "<|im_start|>") if title == "SmolVLM" else _IDEFICS,
        pictures=("pixel_values", "pixel_attention_mask"),
        tiles=places.tiles_of_size,
    )


def _any_resolution(title: str, model_class: str, prompt: str) -> GenerativeFamily:
    return GenerativeFamily(
        title,
        model_class,
        _PROJECTOR,
        layouts.any_resolution_tiles,
        places.in_own_shape,
        prompt,
        pictures=("pixel_values", "image_sizes"),
    )


FAMILIES: dict[str, GenerativeFamily] = {
    "llava": GenerativeFamily(
        "LLaVA-1.5", "LlavaForConditionalGeneration", _PROJECTOR, layouts.square, places.one_square, _VICUNA
    ),
    "llava_next": _any_resolution(
        "LLaVA-NeXT (1.6)", "LlavaNextForConditionalGeneration", "[INST] <image>\n{question} [/INST]"
    ),
    "llava_onevision": _any_resolution(
        "LLaVA-OneVision",
        "LlavaOnevisionForConditionalGeneration",
        "<|im_start|>user <image>\n{question}<|im_end|><|im_start|>assistant\n",
    ),
    "qwen2_vl": _qwen("Qwen2-VL", "Qwen2VLForConditionalGeneration"),
    "qwen2_5_vl": _qwen("Qwen2.5-VL", "Qwen2_5_VLForConditionalGeneration"),
    # What its first language layers are told besides, by three earlier vision blocks (deepstack), the merger misses:
    # a map of it and of model.visual.deepstack_merger_list.0 to .2 together has all.
    "qwen3_vl": _qwen("Qwen3-VL", "Qwen3VLForConditionalGeneration"),
    "paligemma": GenerativeFamily(
        "PaliGemma, PaliGemma 2",
        "PaliGemmaForConditionalGeneration",
        _PROJECTOR,
        layouts.square,
        places.one_square,
        "<image>{question}",
        types={"token_type_ids": 1},
        prompt_type=0,
        labels=True,
    ),
    "gemma3": GenerativeFamily(
        "Gemma 3",
        "Gemma3ForConditionalGeneration",
        _PROJECTOR,
        layouts.square,
        places.one_square,
        "<start_of_turn>user\n<start_of_image>{question}<end_of_turn>\n<start_of_turn>model\n",
        types={"token_type_ids": 0},
    ),
    "idefics3": _idefics("Idefics3", "Idefics3ForConditionalGeneration"),
    "smolvlm": _idefics("SmolVLM", "SmolVLMForConditionalGeneration"),
    "internvl": GenerativeFamily(
        "InternVL",
        "InternVLForConditionalGeneration",
        _PROJECTOR,
        layouts.shuffled_tiles,
        places.tiled,
        "<|im_start|>user\n<IMG_CONTEXT>\n{question}<|im_end|>\n<|im_start|>assistant\n",
        tiles=places.tiles_of_shape,
    ),
}
"""By the ``model_type`` in ``config.json``."""


def generative_family_of(config: Mapping[str, Any], name: str) -> GenerativeFamily:
    """The family of a model.

    Args:
        config: Its ``config.json``.
        name: What it is called, for messages.

    Raises:
        InputError: If models of this type cannot be used.
    """
    kind = config.get("model_type")
    family = FAMILIES.get(str(kind))
    if family is None:
        raise InputError(f"{name} is a {kind!r} model: supported types are {', '.join(map(repr, FAMILIES))}")
    return family
