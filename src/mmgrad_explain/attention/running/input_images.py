"""The images that a model is called with: find them in the arguments, change them, and mark them in the graph."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mmgrad_explain.attention.running.structures import is_image, map_tensors, paths_in, tensors_in


@dataclass(frozen=True)
class InputImage:
    """An image batch among the arguments of a model.

    Attributes:
        name: Name of the model's parameter; where that holds several images, with the path to this one:
            ``batch[target]``.
        size: (H, W), pixels.
        index: Its position among the image tensors of the arguments.
        batch: How many samples it has.
    """

    name: str
    size: tuple[int, int]
    index: int
    batch: int


def find_input_images(root: nn.Module, inputs: Any) -> tuple[InputImage, ...]:
    """List the images of a call in the order of the model's parameters, colour images before those of one channel.

    Args:
        root: The model.
        inputs: (args, kwargs).
    """
    tensors = [tensor for tensor in tensors_in(inputs) if is_image(tensor)]
    left = list(range(len(tensors)))
    found = []
    for name, tensor in _name_images(root, inputs):
        index = next((number for number in left if tensors[number] is tensor), None)
        if index is not None:
            left.remove(index)
            found.append(InputImage(name, (tensor.shape[2], tensor.shape[3]), index, len(tensor)))
    return tuple(sorted(found, key=lambda image: tensors[image.index].shape[1] == 1))


def _name_images(root: nn.Module, inputs: Any) -> Iterator[tuple[str, Tensor]]:
    args, kwargs = inputs
    try:
        signature = inspect.signature(root.forward)
        bound: dict[str, Any] = dict(signature.bind_partial(*args, **kwargs).arguments)
        for name, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                bound |= bound.pop(name, {})
    except (TypeError, ValueError):
        bound = {f"argument {number}": value for number, value in enumerate(args, 1)} | kwargs
    for name, value in bound.items():
        inside = [(path, tensor) for path, tensor in paths_in(value, name) if is_image(tensor)]
        for path, tensor in inside:
            yield name if len(inside) == 1 else path, tensor


def change_images(inputs: Any, changes: Mapping[int, Callable[[Tensor], Tensor]]) -> Any:
    """Return the inputs of a call with some images changed.

    Args:
        inputs: (args, kwargs).
        changes: Position among the image tensors to a function of the image.
    """
    position = -1

    def change(tensor: Tensor) -> Tensor:
        nonlocal position
        if not is_image(tensor):
            return tensor
        position += 1
        return changes[position](tensor) if position in changes else tensor

    return map_tensors(inputs, change)


def make_leaves(inputs: Any, images: Sequence[InputImage]) -> tuple[Any, dict[int, Tensor]]:
    """Make the images of a call leaves of the autograd graph, so that outputs can be traced back to them.

    Returns:
        The inputs with clones of the leaves, and the leaf of each image by its position in ``images``. Images of
        integers have no leaf.
    """
    leaves: dict[int, Tensor] = {}

    def make_leaf(number: int) -> Callable[[Tensor], Tensor]:
        def clone_of_leaf(tensor: Tensor) -> Tensor:
            if not tensor.is_floating_point():
                return tensor
            leaves[number] = tensor.detach().requires_grad_()
            return leaves[number].clone()

        return clone_of_leaf

    return change_images(inputs, {image.index: make_leaf(number) for number, image in enumerate(images)}), leaves
