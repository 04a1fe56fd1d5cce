"""An image and a sentence of our own, for finding out what a model can be asked."""

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
    """Make what a composer takes, of a drawn scene: always the same one, so that what is found out stays the same.

    Noise would not do: where a place of it is marked, it is noise as before, and layers that see large parts of the
    image find no change there.

    Args:
        composer: Any composer.
        text: The sentence; a model that answers in words is given an answer to it too.
        target: Whether the scene also is the target.

    Returns:
        The tensors of one query, which ``composer(**inputs)`` takes, on the composer's device.

    Raises:
        InputError: The composer takes no target.
    """
    (scene,) = scenes(_SERIES, 1, size=_SIZE, start=_SCENE)
    pictures = [Image.fromarray(scene.reference)]
    targets = pictures if target else None
    answering = capabilities(composer).answers
    if answering is not None:  # any answer will do
        inputs = answering.preprocess(pictures, [text], targets, answers=["yes"])
    else:
        inputs = composer.preprocess(pictures, [text], targets)
    return {name: tensor.to(device_of(composer)) for name, tensor in inputs.tensors.items()}
