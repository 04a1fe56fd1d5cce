"""Make a composer from a model in memory and its processor. The model is not moved or changed.

The composer holds the model itself: after further training it explains the trained model. Wrappers that leave the
layers in place are removed: torch.compile, DistributedDataParallel, DataParallel, and PEFT's models with adapters
inside (LoRA, Hu et al., arXiv 2106.09685, and others of its kind).
"""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmgrad_explain.composers.base import Composer
from mmgrad_explain.composers.model_types import OPEN_CLIP, composer_class
from mmgrad_explain.composers.outputs import HOW_TO
from mmgrad_explain.errors import InputError

_SHARDED = {"FullyShardedDataParallel", "FSDPModule"}
_ELSEWHERE = (
    f"derive it from Composer ({HOW_TO}), or use MultiModalGradAttention(model, ...), which takes any torch module "
    "with tensors of your own"
)


def wrap_model(model: Any, processor: Any = None) -> Composer:
    """Make a composer from a model in memory.

    Args:
        model: A composer, a model of transformers or of open_clip; compiled, distributed or with PEFT's adapters, too.
        processor: Turns images and texts into tensors: of transformers ``AutoProcessor``'s, or an image processor and a
            tokenizer in any order; of open_clip the transform of evaluation and the tokenizer, in any order. None for a
            composer.

    Returns:
        The composer; the model keeps its mode and device.

    Raises:
        TypeError: ``model`` is no module.
        InputError: The model is of a kind that is not supported, or something is missing.
    """
    if not isinstance(model, nn.Module):
        message = "a bundled name, a folder, a hub id, a composer or a torch.nn.Module"
        raise TypeError(f"model must be {message}, got {type(model).__name__}")
    bare = unwrap_model(model)
    if isinstance(bare, Composer):
        if processor is not None:
            raise InputError(f"processor: the composer {bare.name!r} has its own: leave it out")
        return bare
    kind = _composer_class(bare)
    with torch.inference_mode(mode=False):
        composer: Composer = kind.from_memory(bare, processor, _name_of(bare))
    composer.training = bare.training
    return composer


def unwrap_model(model: nn.Module) -> nn.Module:
    """Return the module inside the wrappers of torch.compile, distributed training and PEFT, however nested.

    Raises:
        InputError: A wrapper changes what goes into the model, or the weights are sharded.
    """
    while True:
        if any(_SHARDED & _classes_of(module) for module in model.modules()):
            raise InputError(
                "model is sharded (FSDP), and its weights are there only for one forward of the whole: save it, and "
                "load the folder"
            )
        inner: Any = getattr(model, "_orig_mod", None)
        if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            inner = model.module
        elif {"PeftModel", "PeftMixedModel"} & _classes_of(model):
            inner = _adapted_model(model)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def _adapted_model(model: Any) -> nn.Module:
    """Return the model that holds PEFT's adapters."""
    check_adapters(list(model.peft_config.values()))
    inner: nn.Module = model.base_model.model
    return inner


def check_adapters(configs: list[Any]) -> None:
    """Check that PEFT changes a model only by adapters inside its layers.

    Args:
        configs: PEFT's config of each adapter.

    Raises:
        InputError: It also changes what goes into the model.
    """
    kinds = [str(getattr(one.peft_type, "value", one.peft_type)) for one in configs]
    around = any(one.is_prompt_learning or getattr(one, "alora_invocation_tokens", None) for one in configs)
    if around or {"POLY", "XLORA"} & {*kinds}:
        raise InputError(
            f"model: PEFT's {', '.join(kinds)} adds to what goes into the model, which cannot be explained: adapters "
            "inside its layers can (LoRA and its kin)"
        )


def _composer_class(model: nn.Module) -> Any:
    """Find the composer class for a model of open_clip, or for one that has a config of transformers."""
    if _is_of_open_clip(model):
        return composer_class(OPEN_CLIP, in_memory=True)
    kind = str(getattr(getattr(model, "config", None), "model_type", None) or "")
    if not kind:
        raise InputError(
            f"model is a {type(model).__name__}, which is neither of transformers nor of open_clip: {_ELSEWHERE}"
        )
    return composer_class(kind, in_memory=True)


def part_of(model: nn.Module, model_class: str, title: str) -> nn.Module:
    """Return the model where it is of a class, or else its child that is (of CLIPSeg, its CLIP).

    Raises:
        InputError: There is none.
    """
    found = [one for one in (model, *model.children()) if model_class in _classes_of(one)]
    if not found:
        raise InputError(f"model is a {type(model).__name__}: of {title}, a {model_class} can be explained")
    return found[0]


def split_processor(processor: Any, model: nn.Module) -> tuple[Any, Any]:
    """Return copies of the image processor and the tokenizer of transformers, so that their settings can be changed.

    Args:
        processor: One with both, or the two in any order.
        model: For messages.

    Raises:
        InputError: One is missing.
        TypeError: Something else was handed in.
    """
    title = type(model).__name__
    whole = "AutoProcessor.from_pretrained(...), or (image_processor, tokenizer)"
    if processor is None:
        raise InputError(
            f"processor: a {title} in memory does not say how images and texts become tensors: give processor={whole}"
        )
    images = words = None
    for one in processor if isinstance(processor, tuple | list) else [processor]:
        classes = _classes_of(one)
        if "PreTrainedTokenizerBase" in classes:
            words = one
        elif "ImageProcessingMixin" in classes:
            images = one
        elif hasattr(one, "image_processor") and hasattr(one, "tokenizer"):
            images, words = one.image_processor, one.tokenizer
        else:
            raise TypeError(f"processor must be what transformers has for a {title}, got {type(one).__name__}: {whole}")
    missing = "image processor" if images is None else "tokenizer" if words is None else ""
    if missing:
        raise InputError(f"processor: the {missing} of the {title} is missing: give processor={whole}")
    return copy(images), copy(words)


def _is_of_open_clip(model: nn.Module) -> bool:
    of_library = any(base.__module__.partition(".")[0] == "open_clip" for base in type(model).__mro__)
    return of_library and hasattr(model, "visual") and hasattr(model, "encode_text")


def _name_of(model: nn.Module) -> str:
    """Return the hub id or the name of the folder that a model was loaded from, else its class."""
    path = str(getattr(getattr(model, "config", None), "name_or_path", "") or "")
    return (Path(path).name if Path(path).is_dir() else path) or type(model).__name__


def _classes_of(one: Any) -> set[str]:
    return {base.__name__ for base in type(one).__mro__}
