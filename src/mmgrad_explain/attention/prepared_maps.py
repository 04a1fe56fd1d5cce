"""Maps of images whose tower is frozen, prepared once: in a training step each costs one matrix product.

Where everything from the layer to the image's embedding ``e`` is frozen, the gradient at the layer is ``J^T v``. ``J``
is constant for each image, and ``v``, the score's gradient at ``e``, is all that training changes. A map that is linear
in the gradient is then linear in ``v``: ``M = A v``, with one constant ``A`` (cells x D) an image. Grad-CAM before its
ReLU (Selvaraju et al., arXiv 1610.02391, equations 1 and 2), XGrad-CAM and HiResCAM are linear. ``A`` is cached beside
the embedding; neither the tower nor its features are needed in a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgrad_explain.attention.calls.training_step import attend_step
from mmgrad_explain.attention.gradient import differentiate, to_float
from mmgrad_explain.attention.methods.named import ensure_method, list_names
from mmgrad_explain.attention.methods.run import Run
from mmgrad_explain.attention.running.second_derivative import refuse_constant
from mmgrad_explain.attention.running.structures import call_with
from mmgrad_explain.attention.running.undisturbed import detach_inputs, undisturbed
from mmgrad_explain.attention.scores.checks import ensure_per_sample
from mmgrad_explain.errors import GradientError, InputError
from mmgrad_explain.explanation.fusion import fuse_maps

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmgrad_explain.attention.mmgrad import MultiModalGradAttention

_TOLERANCE = 0.02  # of a map's norm: rounding of half precision stays below it, what is not linear is far above it


@dataclass(frozen=True)
class PreparedMaps:
    """What maps of images need in a training step; both tensors can be cached on disk, row by row.

    Attributes:
        embeddings: Of the images, ``(B, D)``.
        operators: What makes maps of gradients at the embeddings, ``(B, h, w, D)``; ``(B, W, h, w, D)`` of W methods.
    """

    embeddings: Tensor
    operators: Tensor


def prepare_maps(
    mmgrad: MultiModalGradAttention, images: Any, encode: Callable[..., Any], *, method: Any = None
) -> PreparedMaps:
    """Prepare the maps of images whose tower is frozen.

    The tower runs once, in evaluation mode, and what follows the layer is differentiated once a cell of the map.

        prepared = prepare_maps(mmgrad, pixels, model.embed_image)  # once, then cached
        image = prepared.embeddings.requires_grad_()  # in every step
        score = (compose(image, text) * target).sum(-1)
        maps = attend_prepared(score, image, prepared.operators, create_graph=True, relu=False)

    Args:
        mmgrad: The model with its target layer; the model is afterwards as it was.
        images: What ``encode`` takes, B images: a tensor, a tuple or a mapping.
        encode: Runs the target layer and returns the embeddings, ``(B, D)``; a part of the model's own forward.
        method: A method instead of the constructor's, or a list of W methods, as for
            :meth:`~.MultiModalGradAttention.attend`.

    Raises:
        InputError: ``encode`` returns something else, or maps of a method are not linear in the gradient.
        CaptureError: the layer did not run.
        GradientError: the embeddings do not depend on the layer, or the maps are not finite.
    """
    settings, root = mmgrad.settings, mmgrad.settings.root
    several = isinstance(method, list | tuple)
    methods = [settings.choose_layer_method() if one is None else ensure_method(one) for one in list_names(method)]
    with undisturbed(root, images):
        with mmgrad.capture() as seen:
            found = call_with(encode, detach_inputs(images))
        if not isinstance(found, Tensor) or found.ndim != 2 or not found.is_floating_point():
            shape = f"of shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise InputError(f"encode must return embeddings (B, D), not {shape}")
        embeddings = to_float(found)
        first, second = (torch.randn_like(embeddings).requires_grad_() for _ in range(2))

        def maps_of(gradient: Tensor) -> Tensor:
            """Make the signed maps ``(W, B, h, w)`` of a score with this gradient at the embeddings."""
            score = ensure_per_sample((embeddings * gradient).sum(-1))
            seen.choose_parts(score)
            layouts = settings.find_layouts(seen)
            run = Run(root, seen, score, layouts, create_graph=True, retain_graph=True)
            made = attend_step(run, methods, set())
            return torch.stack([fuse_maps([calls[0] for calls in one.signed.values()], settings.fuse) for one in made])

        operators = _differentiate_cells(maps_of(first), first)
        _check_linear(maps_of(second).detach(), operators, second.detach(), [one.name for one in methods])
    operators = operators.movedim(0, 1)
    return PreparedMaps(found.detach(), (operators if several else operators[:, 0]).contiguous())


def attend_prepared(
    score: Tensor, embeddings: Tensor, operators: Tensor, *, create_graph: bool = False, relu: bool = True
) -> Tensor:
    """Make maps of prepared images.

    They are those of :meth:`~.MultiModalGradAttention.attend` with the tower in evaluation mode, and so are the
    gradients of a loss on them with respect to all that follows the embeddings.

    Args:
        score: ``(B,)``. It must depend on the image through ``embeddings`` alone.
        embeddings: ``(B, D)``, with ``requires_grad``; the score was computed from them.
        operators: Of these images, as :func:`prepare_maps` gives them; half precision is enough for their storage.
        create_graph: Keep the maps differentiable, for a loss.
        relu: Cut off negative values.

    Returns:
        ``(B, h, w)`` in float32 (float64 for float64 embeddings); ``(W, B, h, w)`` for operators of W methods.

    Raises:
        InputError: shapes do not fit, or the embeddings do not require a gradient.
        GradientError: the score does not depend on the embeddings, or a loss on the maps would train nothing.
    """
    if not embeddings.requires_grad:
        raise InputError("embeddings need a gradient: call embeddings.requires_grad_() before the score is computed")
    if operators.ndim not in {4, 5} or (len(operators), operators.shape[-1]) != tuple(embeddings.shape):
        raise InputError(
            f"operators must be (B, h, w, D) or (B, W, h, w, D) for embeddings (B, D) = {tuple(embeddings.shape)}, "
            f"not {tuple(operators.shape)}"
        )
    score = ensure_per_sample(score, [len(embeddings)])
    if not score.requires_grad:
        raise GradientError("the score does not depend on the embeddings: it has no graph")
    (gradient,) = differentiate(score, [embeddings], create_graph=create_graph, retain_graph=True)
    if gradient is None:
        raise GradientError("the score does not depend on the embeddings: compute it from the tensor that is passed")
    with torch.autocast(gradient.device.type, enabled=False):
        maps = (operators.to(gradient.dtype).flatten(1, -2) @ gradient[:, :, None]).view(operators.shape[:-1])
    maps = maps.movedim(1, 0) if operators.ndim == 5 else maps
    if create_graph:
        refuse_constant([maps], "score")
    return maps.relu() if relu else maps


def _differentiate_cells(maps: Tensor, gradient: Tensor) -> Tensor:
    """Differentiate every cell of maps ``(W, B, h, w)`` by the gradient of its sample, ``(W, B, h, w, D)``."""
    cells = maps.movedim(1, 3).reshape(-1, maps.shape[1])
    rows = torch.stack([torch.autograd.grad(cell.sum(), gradient, retain_graph=True)[0] for cell in cells])
    return rows.view(maps.shape[0], *maps.shape[2:], *gradient.shape).movedim(3, 1)


def _check_linear(maps: Tensor, operators: Tensor, gradient: Tensor, names: list[str]) -> None:
    """Raise unless the operators give the maps ``(W, B, h, w)`` of another gradient, too."""
    if not bool(operators.isfinite().all()):
        raise GradientError("the maps are not finite: the activations or gradients overflow; try bfloat16 or float32")
    made = torch.einsum("wbijd,bd->wbij", operators, gradient)
    missed = (made - maps).flatten(1).norm(dim=1) > _TOLERANCE * maps.flatten(1).norm(dim=1)
    wrong = [name for name, one in zip(names, missed.tolist(), strict=True) if one]
    if wrong:
        raise InputError(
            f"method {wrong[0]!r} at this layer makes maps that are not linear in the gradient, so that they cannot be "
            "prepared: take 'gradcam', 'xgradcam' or 'hirescam' at one layer, or cache the tokens before it and use "
            "capture() and attend()"
        )
