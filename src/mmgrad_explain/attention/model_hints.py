"""What a model may tell MMGrad about itself. Every answer is optional; this module is the only one that asks."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn


class TextStages(NamedTuple):
    """The stages of a model that composes one image with many texts.

    Attributes:
        encode_image: Image to features.
        encode_text: Texts to what ``compose`` takes beside the features.
        compose: Features and encoded texts to an output.
    """

    encode_image: Callable[..., Any]
    encode_text: Callable[..., Any]
    compose: Callable[..., Any]


def ask_target_layer(root: nn.Module) -> str | None:
    """Return the model's own ``target_layer``, a dotted name, if it names one."""
    name = getattr(root, "target_layer", None)
    return name if isinstance(name, str) else None


def ask_default_score(root: nn.Module) -> str | Callable[[Any], Any] | None:
    """Return the model's own ``default_score``, a name or a callable, if there is one."""
    score: Any = getattr(root, "default_score", None)
    return score if isinstance(score, str) or callable(score) else None


def ask_layout_for(root: nn.Module) -> Callable[..., Any] | None:
    """Return the model's own ``layout_for(layer, *args, **kwargs)``, if there is one."""
    return getattr(root, "layout_for", None)


def ask_encode_text(root: nn.Module) -> Callable[..., Any] | None:
    """Return the model's own ``encode_text``, if there is one."""
    encode: Any = getattr(root, "encode_text", None)
    return encode if callable(encode) else None


def ask_text_stages(root: nn.Module) -> TextStages | None:
    """Return the model's own ``encode_image``, ``encode_text`` and ``compose``, if it has all of them."""
    stages: list[Any] = [getattr(root, name, None) for name in TextStages._fields]
    return TextStages(*stages) if all(callable(stage) for stage in stages) else None


def ask_processor(root: nn.Module) -> Any:
    """Return the model's own ``processor``, if it has ``encode_images`` and ``encode_texts``; else None."""
    processor = getattr(root, "processor", None)
    reads_both = hasattr(processor, "encode_images") and hasattr(processor, "encode_texts")
    return processor if reads_both else None
