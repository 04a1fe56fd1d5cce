"""Contrastive image-text models of transformers as they are: CLIP, SigLIP, ALIGN and others, and BLIP's matching.

Such a model gives a unit embedding ``i`` of a picture and ``t`` of a text. What it is asked by default is how well the
two belong together, the cosine ``<i, t>``; its gradient at the vision tower says which places of the picture speak for
the text (Grad-CAM, arXiv 1610.02391, with the similarity in the place of a class score). BLIP also reads the two
together and gives a match logit, which is asked there (Li et al., arXiv 2201.12086).

For composed retrieval, where a text changes a picture, such a model knows nothing but the sum: ``embedding = i + t``,
the zero-shot baseline of the literature ("image + text" in Saito et al., Pic2Word, arXiv 2302.03084, and Baldrati et
al., SEARLE, arXiv 2303.15247). A target picture is embedded alone, so that the score ``similarity`` says which places
make picture plus text like the target. The shift is ``t`` whatever the picture is, so that ``shift`` has no map.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgrad_explain.composers.base import Composer, ComposerInputs
from mmgrad_explain.composers.files import SAFETENSORS, read_config, read_weights
from mmgrad_explain.composers.huggingface_families import Family, family_of
from mmgrad_explain.composers.huggingface_processor import HuggingFaceProcessor, PatchProcessor
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from PIL import Image

_INDEX = f"{SAFETENSORS}.index.json"


class TwoTowerOutput(NamedTuple):
    """What a two-tower model says of pictures and texts.

    Attributes:
        embedding: Picture plus text, ``(B, D)``: the sum of their unit embeddings.
        shift: The text's part of it, ``(B, D)``; zero for an empty text.
        target: Unit embedding of the target picture alone, ``(B, D)``, or None without a target.
        target_shift: The text's part again, ``(B, D)``, or None without a target.
        target_composed: The target picture plus the text, ``(B, D)``, or None without a target.
        image: Unit embedding of the picture, ``(B, D)``.
        text: Unit embedding of the text, ``(B, D)``.
        match: How well picture and text match, ``(B,)``, where the model reads them together; else None.
        target_match: Likewise of the target picture.
    """

    embedding: Tensor
    shift: Tensor
    target: Tensor | None
    target_shift: Tensor | None
    target_composed: Tensor | None
    image: Tensor
    text: Tensor
    match: Tensor | None = None
    target_match: Tensor | None = None


@dataclass(frozen=True)
class ImageTextCosine:
    """The cosine of picture and text, ``s = <i, t>``; with a target picture ``s = <i, t> + <i_target, t>``.

    Each picture's map comes from its own term, so that a target does not change the reference's map.
    """

    name: str = "image-text cosine"

    def __call__(self, output: TwoTowerOutput) -> Tensor:
        """Give (B,)."""
        score = (output.image * output.text).sum(-1)
        return score if output.target is None else score + (output.target * output.text).sum(-1)


@dataclass(frozen=True)
class MatchLogit:
    """The logit for "picture and text match", read from both together; a target picture's is added to it."""

    name: str = "match logit"

    def __call__(self, output: TwoTowerOutput) -> Tensor:
        """Give (B,).

        Raises:
            InputError: If the model has no such logit.
        """
        if output.match is None:
            raise InputError("score 'match logit': this model embeds picture and text apart: use the default score")
        return output.match if output.target_match is None else output.match + output.target_match


class HuggingFaceComposer(Composer):
    """A contrastive image-text model of transformers with its own processor.

    The default score is :class:`ImageTextCosine`.

    Args:
        model: A model of the class the family names.
        processor: For it.
        family: What is particular to it.
        name: What it is called.
    """

    default_score: ClassVar[Any] = ImageTextCosine()

    def __init__(self, model: Any, processor: HuggingFaceProcessor, family: Family, name: str) -> None:
        super().__init__()
        self.model = model
        self.processor = processor
        self.family = family
        self.name = name
        layer = family.layer(_vision_config(model))
        # Where a version of transformers names its parts differently, the layer is looked for at every explanation.
        self.target_layer = layer if layer in dict(self.named_modules()) else None

    def preprocess(
        self, images: Sequence[Image.Image], texts: Sequence[str], targets: Sequence[Image.Image] | None = None
    ) -> ComposerInputs:
        """See :class:`~mmgrad_explain.composers.huggingface_processor.HuggingFaceProcessor`."""
        return self.processor(images, texts, targets)

    def forward(
        self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor, target_pixel_values: Tensor | None = None
    ) -> TwoTowerOutput:
        """Embed pictures and texts.

        Args:
            pixel_values: Pictures as the model's own processor gives them, ``(B, 3, H, W)``.
            input_ids: Tokens, ``(B, L)``.
            attention_mask: 1 for tokens, 0 for padding, ``(B, L)``; all 0 is an empty text, whose embedding is zero.
            target_pixel_values: Target pictures, like ``pixel_values``.
        """
        worded = attention_mask.bool().any(1, keepdim=True)
        mask = torch.where(worded, attention_mask, 1)  # attention to nothing is not a number
        text = self.encode_text(input_ids, mask) * worded
        image, match = self.look(pixel_values, input_ids, mask)
        if target_pixel_values is None:
            return TwoTowerOutput(image + text, text, None, None, None, image, text, match)
        target, target_match = self.look(target_pixel_values, input_ids, mask)
        return TwoTowerOutput(image + text, text, target, text, target + text, image, text, match, target_match)

    def look(
        self,
        pixel_values: Tensor,
        input_ids: Tensor,  # noqa: ARG002  (for those that read the text together with the picture)
        attention_mask: Tensor,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor | None]:
        """Pictures ``(B, 3, H, W)`` to unit embeddings ``(B, D)``, and match logits ``(B,)`` where it has any."""
        features = self.model.get_image_features(pixel_values, **self._interpolation(pixel_values))
        return _unit(features), None

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ids and mask ``(B, L)`` to unit embeddings ``(B, D)``."""
        if self.family.text_class_token:
            states = self.model.text_model(input_ids, attention_mask=attention_mask)[0]
            return _unit(self.model.text_projection(states[:, 0]))
        mask = None if self.family.fixed_length else attention_mask
        return _unit(self.model.get_text_features(input_ids, attention_mask=mask))

    def _interpolation(self, pixel_values: Tensor) -> dict[str, bool]:
        """What tells the vision tower to stretch its positions, where the pictures are not of its own size."""
        trained = _vision_config(self.model).image_size
        if tuple(pixel_values.shape[2:]) == (trained, trained):
            return {}
        called = getattr(self.model, "get_image_features", self.model.forward)
        option = "interpolate_pos_encoding"
        return {option: True} if option in inspect.signature(called).parameters else {}

    @classmethod
    def from_pretrained(cls, folder: Path, name: str) -> HuggingFaceComposer:
        """Read a folder as transformers and its hub have it; no code in it is run.

        Args:
            folder: With config, weights, image processor and tokenizer.
            name: What the model is called.

        Raises:
            InputError: If something is missing or damaged, or the model is of a kind that cannot be used.
        """
        family = family_of(read_config(folder), name)
        model = _read_model(folder, family)
        positions = int(model.config.text_config.max_position_embeddings) - family.extra_positions
        of_family = PatchProcessor if family.patches else HuggingFaceProcessor
        processor = of_family.from_pretrained(folder, positions, fixed_length=family.fixed_length)
        return composer_class(family)(model, processor, family, name).eval()


class MatchingComposer(HuggingFaceComposer):
    """BLIP for image-text retrieval: both towers apart, and a text tower that looks at the picture.

    The default score is :class:`MatchLogit`; :class:`ImageTextCosine` asks the two towers.
    """

    default_score: ClassVar[Any] = MatchLogit()

    def look(self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor | None]:
        """See :meth:`HuggingFaceComposer.look`."""
        patches = self.model.vision_model(pixel_values=pixel_values, **self._interpolation(pixel_values))[0]
        seen = torch.ones(patches.shape[:2], dtype=torch.long, device=patches.device)
        read = self.model.text_encoder(
            input_ids=input_ids,
            attention_mask=attention_mask,
            encoder_hidden_states=patches,
            encoder_attention_mask=seen,
        )[0]
        return _unit(self.model.vision_proj(patches[:, 0])), self.model.itm_head(read[:, 0])[:, 1].float()

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """See :meth:`HuggingFaceComposer.encode_text`."""
        read = self.model.text_encoder(input_ids=input_ids, attention_mask=attention_mask)[0]
        return _unit(self.model.text_proj(read[:, 0]))


class PatchComposer(HuggingFaceComposer):
    """SigLIP 2 NaFlex: the vision tower gets patches, as many as the picture's shape asks for, in its aspect ratio.

    No patch is there for padding, which the model would not look at anyway.
    """

    def look(
        self,
        pixel_values: Tensor,
        input_ids: Tensor,  # noqa: ARG002
        attention_mask: Tensor,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor | None]:
        """See :meth:`HuggingFaceComposer.look`."""
        side = int(_vision_config(self.model).patch_size)
        count, _, height, width = pixel_values.shape
        rows, columns = height // side, width // side
        cut = pixel_values.reshape(count, 3, rows, side, columns, side).permute(0, 2, 4, 3, 5, 1)
        features = self.model.get_image_features(
            pixel_values=cut.reshape(count, rows * columns, side * side * 3),
            pixel_attention_mask=torch.ones(count, rows * columns, dtype=torch.int32, device=pixel_values.device),
            spatial_shapes=torch.tensor([[rows, columns]] * count, device=pixel_values.device),
        )
        return _unit(features), None


def composer_class(family: Family) -> type[HuggingFaceComposer]:
    """The composer for a family's models."""
    return MatchingComposer if family.matching else PatchComposer if family.patches else HuggingFaceComposer


def _vision_config(model: Any) -> Any:
    return getattr(model.config, "vision_config", None) or model.config.image_config


def _unit(features: Any) -> Tensor:
    """Unit embeddings ``(B, D)`` of what ``get_*_features`` gives.

    That is a tensor in transformers 4 and an output with ``pooler_output`` in 5. FLAVA has one vector a token there,
    the class token first.
    """
    vectors: Tensor = features if isinstance(features, Tensor) else features.pooler_output
    return F.normalize((vectors[:, 0] if vectors.ndim == 3 else vectors).float(), dim=-1)


def _read_model(folder: Path, family: Family) -> Any:
    """The model with its weights, in float32.

    Raises:
        InputError: If there are none, they are damaged, or they do not fit the config.
    """
    import transformers
    from safetensors import SafetensorError

    kind = getattr(transformers, family.model_class, None)
    if kind is None:
        raise InputError(f"{family.model_class} is not in transformers {transformers.__version__}: get a newer one")
    safe = any((folder / file).is_file() for file in (SAFETENSORS, _INDEX))
    try:
        with _silent():
            if safe:
                model, report = kind.from_pretrained(
                    folder, use_safetensors=True, local_files_only=True, output_loading_info=True
                )
            else:
                config = kind.config_class.from_pretrained(folder, local_files_only=True)
                model, report = kind.from_pretrained(
                    None, config=config, state_dict=read_weights(folder), output_loading_info=True
                )
    except InputError:
        raise
    except SafetensorError as error:
        raise InputError(f"the safetensors file in {folder} is damaged: {error}") from error
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder} cannot be loaded as {family.title}: {_first_line(error)}") from error
    missing = sorted(report["missing_keys"])
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(f"the weights in {folder} do not fit its config.json: {missing[0]}{more} missing")
    return model.float()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Nothing of transformers' own on standard error inside the block; what matters is raised."""
    from transformers.utils import logging as own

    level, bars = own.get_verbosity(), own.is_progress_bar_enabled()
    own.set_verbosity(logging.CRITICAL)
    own.disable_progress_bar()
    try:
        yield
    finally:
        own.set_verbosity(level)
        if bars:
            own.enable_progress_bar()
