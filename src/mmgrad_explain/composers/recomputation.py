"""Save memory in training: compute activations of the encoder again in the backward pass."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mmgrad_explain.composers.model_capabilities import capabilities
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from mmgrad_explain.composers.base import Composer


def recompute_activations(composer: Composer) -> bool:
    """Make a composer compute its encoder's activations again in the backward pass instead of keeping them.

    The composer's own ``gradient_checkpointing_enable`` is called. Without one, and if the composer is not trained in
    stages, that of the model of transformers that holds the explained layer is called.

    Returns:
        Whether this is done. If not, the composer is trained in stages, and training can checkpoint its encoder.

    Raises:
        InputError: Neither is possible, or the encoder is frozen.
    """
    own: Any = composer
    if hasattr(own, "gradient_checkpointing_enable"):
        own.gradient_checkpointing_enable()
        return True
    if capabilities(composer).training_stages is not None:
        return False
    path = str(composer.target_layer).split(".")
    for depth in range(1, len(path)):
        model: Any = composer.get_submodule(".".join(path[:depth]))
        if getattr(model, "supports_gradient_checkpointing", False):
            encoder = ".".join(path[: depth + 1])
            if not any(parameter.requires_grad for parameter in composer.get_submodule(encoder).parameters()):
                raise InputError(f"model.gradient_checkpointing: {encoder} is frozen and keeps little: set it to false")
            enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
            enable({"use_reentrant": False})
            with suppress(AttributeError):  # where there are none; only reentrant checkpointing needs them
                model.disable_input_require_grads()
            return True
    raise InputError(
        f"model.gradient_checkpointing: {type(composer).__name__} has no gradient_checkpointing_enable, and its "
        "explained layer is in no model of transformers that has one: set it to false"
    )
