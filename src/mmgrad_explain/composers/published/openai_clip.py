"""CLIP with the names of OpenAI's own code, as fine-tuned models of composed retrieval are saved.

Source of the names and of what the shapes mean: Radford et al., arXiv 2103.00020, and its published code. The models
are built by open_clip, whose own CLIP has these names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.user_files import reading
from mmgrad_explain.composers.published.weight_files import weights_in
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from mmgrad_explain.composers.openclip.composer import OpenClipComposer

_HEAD_WIDTH = 64  # of every published model
_NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size")
_NEEDED = ("text_projection", "positional_embedding", "token_embedding.weight", "ln_final.weight")
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def read_openai_clip(held: Mapping[str, Any], file: str | Path, name: str) -> OpenClipComposer:
    """Read a CLIP, vision transformer or ResNet, in float32 and eval mode.

    Images are resized and cropped as CLIP's own are.

    Args:
        held: The file's content; the weights may be under ``CLIP`` or ``state_dict``.
        file: Where it is from, for messages.
        name: What the model is called.

    Raises:
        InputError: The file holds no such model, or open_clip is not installed.
    """
    try:
        from open_clip.model import CLIP
        from open_clip.tokenizer import SimpleTokenizer
    except ImportError as error:
        raise InputError(
            f'{file} is read by open_clip, which cannot be imported ({error}): pip install "mmgrad-explain[openclip]"'
        ) from error
    from mmgrad_explain.composers.openclip.composer import OpenClipComposer
    from mmgrad_explain.composers.openclip.processor import OpenClipProcessor
    from mmgrad_explain.composers.towers.framing import open_clip_framing

    found = weights_in(held, ("CLIP", "state_dict"), file)
    weights = {key: value for key, value in found.items() if key not in _NO_WEIGHTS}
    config = model_config(weights, file)
    model = CLIP(**{key: value for key, value in config.items() if value is not None})
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{file} is no CLIP with OpenAI's names: {reason[:300]}") from error
    preprocess = {"mean": _MEAN, "std": _STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    framing = open_clip_framing({**preprocess, "size": config["vision_cfg"]["image_size"]})
    tokenizer = SimpleTokenizer(context_length=config["text_cfg"]["context_length"])
    whole = {"model_cfg": config, "preprocess_cfg": preprocess}
    return OpenClipComposer(model.float(), OpenClipProcessor(framing, tokenizer), name, whole).eval()


def model_config(weights: Mapping[str, Tensor], file: str | Path) -> dict[str, Any]:
    """Read the sizes of a CLIP from the shapes of its weights, as open_clip's ``model_cfg``.

    Raises:
        InputError: They are not those of a CLIP with OpenAI's names.
    """
    missing = [name for name in _NEEDED if name not in weights]
    if missing:
        raise InputError(
            f"{file} is no CLIP with OpenAI's names: {', '.join(missing)} missing; a model of transformers or "
            "open_clip is given as its folder"
        )
    with reading(f"{file} is no CLIP with OpenAI's names"):  # shapes of too few sides
        return _sizes(weights, file)


def _sizes(weights: Mapping[str, Tensor], file: str | Path) -> dict[str, Any]:
    width = len(weights["ln_final.weight"])
    words, positions = len(weights["token_embedding.weight"]), len(weights["positional_embedding"])
    text = {
        "context_length": positions, "vocab_size": words, "width": width, "heads": max(1, width // _HEAD_WIDTH),
        "layers": _count(weights, "transformer.resblocks."),
    }  # fmt: skip
    size = weights["text_projection"].shape[1]
    return {"embed_dim": size, "quick_gelu": True, "vision_cfg": _vision(weights, file), "text_cfg": text}


def _vision(weights: Mapping[str, Tensor], file: str | Path) -> dict[str, Any]:
    try:
        if "visual.proj" in weights:
            width, _, patch, _ = weights["visual.conv1.weight"].shape
            side = round((len(weights["visual.positional_embedding"]) - 1) ** 0.5)
            layers: Any = _count(weights, "visual.transformer.resblocks.")
            return {"layers": layers, "width": width, "patch_size": patch, "image_size": patch * side,
                    "head_width": min(width, _HEAD_WIDTH)}  # fmt: skip
        width = weights["visual.layer1.0.conv1.weight"].shape[0]
        side = round((len(weights["visual.attnpool.positional_embedding"]) - 1) ** 0.5)
        layers = [_count(weights, f"visual.layer{stage}.") for stage in (1, 2, 3, 4)]
        return {"layers": layers, "width": width, "image_size": 32 * side}
    except KeyError as error:
        raise InputError(f"{file} is no CLIP with OpenAI's names: {error.args[0]} missing") from error


def _count(weights: Mapping[str, Tensor], start: str) -> int:
    """Count the blocks whose names begin with ``start`` and a number."""
    return len({name.removeprefix(start).partition(".")[0] for name in weights if name.startswith(start)})
