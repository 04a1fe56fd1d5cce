"""Models of open_clip as they are saved and shared: ``open_clip_config.json`` with weights beside it.

Supported are CLIP with one of open_clip's vision transformers or its modified ResNet; CLIP with a timm tower (SigLIP,
ConvNeXt, EVA, MobileCLIP and others), with a text tower of open_clip or transformers; and the contrastive part of CoCa.
The default score is the cosine of image and text (:mod:`~mmgrad_explain.composers.dual_encoder`). Folders hold weights
only: no code in them is run.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mmgrad_explain.attention.running.undisturbed import evaluating
from mmgrad_explain.composers.dual_encoder import to_unit
from mmgrad_explain.composers.files import write_model
from mmgrad_explain.composers.huggingface.loading import first_line
from mmgrad_explain.composers.openclip.folders import (
    CONFIG_FILE,
    WEIGHT_FILES,
    local_source,
    read_open_clip_config,
    text_tower_of,
)
from mmgrad_explain.composers.openclip.processor import OpenClipProcessor, open_clip_tokenizer, transform_and_tokenizer
from mmgrad_explain.composers.towers.framing import framing_of, open_clip_framing
from mmgrad_explain.composers.towers.timm_layers import GridLayer, find_grid_layer
from mmgrad_explain.composers.towers.tower_composer import TowerComposer
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


class OpenClipComposer(TowerComposer):
    """A model of open_clip with its own preprocessing and tokenizer.

    Args:
        model: Of open_clip.
        processor: For it.
        name: What it is called.
        config: The content of its ``open_clip_config.json``; without it the model cannot be saved.

    Raises:
        InputError: The pooling of its vision tower leaves no layer to explain.
    """

    def __init__(
        self, model: Any, processor: OpenClipProcessor, name: str, config: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.processor = processor
        self.name = name
        self.config = config
        layer = grid_layer_of(model.visual, processor.framing.size)
        self.explain_at(replace(layer, name=f"model.visual.{layer.name}"), processor.framing.size)

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Embed images ``(B, 3, H, W)``: unit embeddings ``(B, D)``."""
        features: Tensor = self.model.encode_image(pixel_values.to(_dtype_of(self.model.visual))).float()
        if features.ndim == 3:  # from an attention pooling with a single query
            features = features[:, 0]
        return to_unit(features)

    def embed_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:  # noqa: ARG002  (the ids are enough)
        """Embed ids ``(B, L)``, padded to the model's length: unit embeddings ``(B, D)``."""
        return to_unit(self.model.encode_text(input_ids))

    @classmethod
    def from_pretrained(cls, folder: Path, name: str) -> OpenClipComposer:
        """Read a folder in the format of ``open_clip.push_to_hf_hub`` and its hub.

        Args:
            folder: With ``open_clip_config.json`` and one of
                :data:`~mmgrad_explain.composers.openclip.folders.WEIGHT_FILES`.
            name: What the model is called.

        Raises:
            InputError: Something is missing or damaged, the weights do not fit, or open_clip is not installed.
        """
        try:
            import open_clip  # noqa: F401
        except ImportError as error:
            message = f"{name} is a model of open_clip, which cannot be imported ({error})"
            raise InputError(f'{message}: pip install "mmgrad-explain[openclip]"') from error
        config = read_open_clip_config(folder)
        model = _build(config["model_cfg"], folder)
        settings = {key: value for key, value in (config.get("preprocess_cfg") or {}).items() if value is not None}
        framing = open_clip_framing({**settings, "size": model.visual.image_size})
        tokenizer = open_clip_tokenizer(config["model_cfg"].get("text_cfg") or {}, folder)
        return cls(model, OpenClipProcessor(framing, tokenizer), name, config).eval()

    @classmethod
    def from_memory(cls, model: Any, processor: Any, name: str) -> OpenClipComposer:
        """Wrap a model of open_clip as it is.

        Args:
            model: From open_clip's factory.
            processor: The transform for evaluation and the tokenizer, in any order.
            name: What the model is called.

        Raises:
            InputError: One is missing, does not fit the model, or cannot be undone on the map.
        """
        transform, tokenizer = transform_and_tokenizer(processor, model)
        framing, side = framing_of(transform), model.visual.image_size
        size = (side, side) if isinstance(side, int) else tuple(side)
        if framing.size != size:
            given, taken = (" x ".join(map(str, sides)) for sides in (framing.size, size))
            raise InputError(
                f"processor: the transform gives images of {given} pixels, the model takes {taken}: take its own"
            )
        return cls(model, OpenClipProcessor(framing, tokenizer), name)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config, weights and a tokenizer of transformers into a folder; make the folder if needed.

        Raises:
            InputError: The composer was made without the model's config.
        """
        if self.config is None:
            raise InputError(f"{self.name} cannot be saved: pass the content of its {CONFIG_FILE} as config=")
        folder = Path(folder)
        write_model(folder, self.config, self.model.state_dict(), (CONFIG_FILE, WEIGHT_FILES[0]))
        self.processor.save_tokenizer(folder)


def _dtype_of(visual: Any) -> torch.dtype:
    """Get the precision of a vision tower's images; in a model of half precision, norms may have full precision."""
    layers = (module for module in visual.modules() if isinstance(module, nn.Conv2d | nn.Linear))
    return next(layer.weight.dtype for layer in layers)


def grid_layer_of(visual: Any, input_size: tuple[int, int]) -> GridLayer:
    """Find the default layer of a vision tower of open_clip.

    If a class token stands for the image, it is the input of the last attention; if all tokens are pooled, the last
    normalised tokens; in a ResNet, the last feature map. A timm tower is searched by
    :func:`~mmgrad_explain.composers.towers.timm_layers.find_grid_layer`.

    Args:
        visual: The tower.
        input_size: (H, W), pixels.

    Raises:
        InputError: It gives no single embedding, or no layer of a timm tower is found.
    """
    if hasattr(visual, "trunk"):
        with evaluating(visual.modules()):
            return find_grid_layer(visual, input_size, "trunk")[0]
    if hasattr(visual, "attnpool"):
        return GridLayer("layer4", "nchw", (input_size[0] // 32, input_size[1] // 32))
    last = f"transformer.resblocks.{len(visual.transformer.resblocks) - 1}"
    if visual.attn_pool is not None:
        contrastive = visual.attn_pool_contrastive is not None and visual.attn_pool_type == "parallel"
        name = f"{'attn_pool_contrastive' if contrastive else 'attn_pool'}.ln_k"
    elif visual.pool_type == "tok":
        name = f"{last}.ln_1"
    elif visual.pool_type == "avg":
        name = last if visual.final_ln_after_pool else "ln_post"
    else:
        raise InputError("this open_clip model does not pool its patches into one embedding: it cannot be explained")
    height, width = visual.grid_size
    return GridLayer(name, "tokens", (height, width), tokens=1 + height * width, prefix=1)


def _fetch_config(name: str) -> Path:
    """Fetch the config of a text tower that is not on this machine."""
    from mmgrad_explain.composers.load import fetch

    return fetch(name, ["config.json"], "put its config.json into the model's folder")


def _build(model_config: Mapping[str, Any], folder: Path) -> Any:
    """Build the model with its weights, in float32 and eval mode."""
    from open_clip.coca_model import CoCa
    from open_clip.factory import load_checkpoint
    from open_clip.model import CLIP, CustomTextCLIP

    config = json.loads(json.dumps(model_config))
    text, vision = config.get("text_cfg") or {}, config.get("vision_cfg") or {}
    if ":" in str(vision.get("timm_model_name") or ""):
        raise InputError(
            f"{folder}: a model's config must not load weights from elsewhere ({vision['timm_model_name']})"
        )
    if isinstance(text.get("hf_model_name"), str):
        beside = folder if text_tower_of(folder) else local_source(text["hf_model_name"], folder)
        text["hf_model_name"] = str(beside or _fetch_config(text["hf_model_name"]))
    text["hf_model_pretrained"] = vision["timm_model_pretrained"] = False
    custom = bool(config.pop("custom_text", False) or text.get("hf_model_name"))
    kind = (CoCa if "multimodal_cfg" in config else CustomTextCLIP) if custom else CLIP
    weights = next((folder / file for file in WEIGHT_FILES if (folder / file).is_file()), None)
    if weights is None:
        raise InputError(f"{folder} has no weights of open_clip: expected {WEIGHT_FILES[0]} (or {WEIGHT_FILES[2]})")
    try:
        model = kind(**config)
        load_checkpoint(model, str(weights), strict=True, weights_only=True)
    except Exception as error:  # timm, transformers, pickle and safetensors raise all sorts of things
        raise InputError(f"{folder} cannot be loaded as a model of open_clip: {first_line(error)}") from error
    return model.float().eval()
