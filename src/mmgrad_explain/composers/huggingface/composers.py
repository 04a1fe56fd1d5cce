"""Image-text models of transformers as they are: CLIP, SigLIP, ALIGN and others, and how a folder of one is read.

What such a model is asked, and what it is for composed retrieval, is said in
:mod:`~mmgrad_explain.composers.dual_encoder`. Models that read picture and text together are in
:mod:`~mmgrad_explain.composers.huggingface.matching`.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgrad_explain.composers.base import layer_inside
from mmgrad_explain.composers.dual_encoder import DualEncoder, unit_features
from mmgrad_explain.composers.files import CONFIG, read_config
from mmgrad_explain.composers.huggingface.families import FAMILIES, Family, family_of
from mmgrad_explain.composers.huggingface.files import read_model, silent
from mmgrad_explain.composers.huggingface.processor import HuggingFaceProcessor, PatchProcessor, check_end
from mmgrad_explain.composers.in_memory import part_of, pictures_and_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmgrad_explain.composers.base import Composer


class HuggingFaceComposer(DualEncoder):
    """A contrastive image-text model of transformers with its own processor.

    Args:
        model: A model of the class the family names.
        processor: For it.
        family: What is particular to it.
        name: What it is called.
    """

    def __init__(self, model: Any, processor: HuggingFaceProcessor, family: Family, name: str) -> None:
        super().__init__()
        self.model = model
        self.processor = processor
        self.family = family
        self.name = name
        # Where a version of transformers names its parts differently, the layer is looked for at every explanation.
        self.target_layer = layer_inside(self, family.layer(_vision_config(model)))

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Pictures ``(B, 3, H, W)`` to unit embeddings ``(B, D)``; where text is read with them, to tokens."""
        pixel_values = pixel_values.to(self.model.dtype)  # not every tower sees to it
        return unit_features(self.model.get_image_features(pixel_values, **self._interpolation(pixel_values)))

    def embed_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ids and mask ``(B, L)`` to unit embeddings ``(B, D)``."""
        if self.family.text_class_token:
            states = self.model.text_model(input_ids, attention_mask=attention_mask)[0]
            return unit_features(self.model.text_projection(states[:, 0]))
        mask = None if self.family.fixed_length else attention_mask
        return unit_features(self.model.get_text_features(input_ids, attention_mask=mask))

    def _interpolation(self, pixel_values: Tensor) -> dict[str, bool]:
        """What tells the vision tower to stretch its positions, where the pictures are not of its own size."""
        trained = _vision_config(self.model).image_size
        if tuple(pixel_values.shape[2:]) == (trained, trained):
            return {}
        called = getattr(self.model, "get_image_features", None) or self.model.vision_model.forward
        option = "interpolate_pos_encoding"
        return {option: True} if option in inspect.signature(called).parameters else {}

    @classmethod
    def from_pretrained(cls, folder: Path, name: str) -> Composer:
        """Read a folder as transformers and its hub have it; no code in it is run.

        Args:
            folder: With config, weights, image processor and tokenizer.
            name: What the model is called.

        Raises:
            InputError: If something is missing or damaged, or the model is of a kind that cannot be used.
        """
        family = family_of(read_config(folder), name)
        model = read_model(folder, family.model_class, family.title, within=family.within)
        of_family = PatchProcessor if family.composer == "patches" else HuggingFaceProcessor
        positions = _text_positions(model.config) - family.extra_positions
        with silent():
            processor = of_family.from_pretrained(folder, positions, fixed_length=family.fixed_length)
        check_end(model, processor.tokenizer)
        composer = composer_class(family)(model, processor, family, name)
        composer.eval()
        return composer

    @classmethod
    def from_memory(cls, model: Any, processor: Any, name: str) -> Composer:
        """Take a model of transformers as it is.

        Args:
            model: Of a class of one of the families, or with one inside.
            processor: See :func:`~.in_memory.pictures_and_words`.
            name: What the model is called.

        Raises:
            InputError: If the model is of a kind that cannot be used, or something is missing.
        """
        kind = str(model.config.model_type)
        wanted = FAMILIES[kind].architectures if kind in FAMILIES else ()
        known = [one.__name__ for one in type(model).__mro__ if one.__name__ in wanted] or [type(model).__name__]
        family = family_of({"model_type": kind, "architectures": known}, name)
        model = part_of(model, family.model_class, family.title)
        images, words = pictures_and_words(processor, model)
        of_family = PatchProcessor if family.composer == "patches" else HuggingFaceProcessor
        check_end(model, words)
        positions = min(_text_positions(model.config) - family.extra_positions, words.model_max_length)
        own = of_family(images, words, positions, fixed_length=family.fixed_length)
        return composer_class(family)(model, own, family, name)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model and its processor into a folder as transformers has them, made if needed."""
        folder = Path(folder)
        with silent():
            self.model.save_pretrained(folder)
            self.processor.image_processor.save_pretrained(folder)
            self.processor.tokenizer.save_pretrained(folder)
        for weights in folder.glob("*.safetensors"):  # which are written so that nobody else can read them
            weights.chmod((folder / CONFIG).stat().st_mode)


class PatchComposer(HuggingFaceComposer):
    """SigLIP 2 NaFlex: the vision tower gets patches, as many as the picture's shape asks for, in its aspect ratio.

    No patch is there for padding, which the model would not look at anyway.
    """

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Pictures ``(B, 3, H, W)``, H and W whole patches, to unit embeddings ``(B, D)``."""
        side = int(_vision_config(self.model).patch_size)
        count, _, height, width = pixel_values.shape
        rows, columns = height // side, width // side
        cut = pixel_values.reshape(count, 3, rows, side, columns, side).permute(0, 2, 4, 3, 5, 1)
        features = self.model.get_image_features(
            pixel_values=cut.reshape(count, rows * columns, side * side * 3),
            pixel_attention_mask=torch.ones(count, rows * columns, dtype=torch.int32, device=pixel_values.device),
            spatial_shapes=torch.tensor([[rows, columns]] * count, device=pixel_values.device),
        )
        return unit_features(features)


def composer_class(family: Family) -> Callable[[Any, HuggingFaceProcessor, Family, str], Composer]:
    """The composer for a family's models; its arguments are those of :class:`HuggingFaceComposer`."""
    from mmgrad_explain.composers.huggingface import matching

    classes: dict[str, Callable[[Any, HuggingFaceProcessor, Family, str], Composer]] = {
        "towers": HuggingFaceComposer,
        "patches": PatchComposer,
        "matching": matching.MatchingComposer,
        "queries": matching.QueryComposer,
        "joint": matching.JointComposer,
        "bridge": matching.BridgeComposer,
    }
    return classes[family.composer]


def _vision_config(model: Any) -> Any:
    return getattr(model.config, "vision_config", None) or model.config.image_config


def _text_positions(config: Any) -> int:
    """The longest text; BLIP-2's is read by the Q-Former, whatever language model the config speaks of."""
    parts = (getattr(config, part, None) for part in ("qformer_config", "text_config"))
    return int(next(filter(None, parts), config).max_position_embeddings)
