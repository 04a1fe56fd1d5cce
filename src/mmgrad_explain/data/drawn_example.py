"""A drawn image and a sentence, to find out what a model supports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image

from mmgrad_explain._system.devices import device_of
from mmgrad_explain.composers.model_capabilities import capabilities
from mmgrad_explain.data.scenes.scene import scenes

if TYPE_CHECKING:
    from mmgrad_explain.composers.base import Composer

_SERIES, _SCENE, _SIZE = 7, 4, 320


def example_inputs(composer: Composer, text: str = "make it red", *, target: bool = False) -> dict[str, Any]:
    """Make a composer's inputs of a drawn scene, always the same one, so that results can be repeated.

    Noise would not do: a mark on noise looks like noise to layers that see large parts of the image.

    Args:
        composer: Any composer.
        text: The sentence. A model that answers in words also gets an answer to it.
        target: Whether the scene also is the target.

    Returns:
        The tensors of one query, which ``composer(**inputs)`` takes, on the composer's device.

    Raises:
        InputError: The composer takes no target.
    """
    (scene,) = scenes(_SERIES, 1, size=_SIZE, start=_SCENE)
    images = [Image.fromarray(scene.reference)]
    targets = images if target else None
    answering = capabilities(composer).answers
    if answering is not None:  # any answer will do
        inputs = answering.preprocess(images, [text], targets, answers=["yes"])
    else:
        inputs = composer.preprocess(images, [text], targets)
    return {name: tensor.to(device_of(composer)) for name, tensor in inputs.tensors.items()}
