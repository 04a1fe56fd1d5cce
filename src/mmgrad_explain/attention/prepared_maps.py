"""Maps of images whose tower is frozen, prepared once: in a training step each costs one matrix product.

Where everything from the layer to the image's embedding ``e`` is frozen, the gradient at the layer is ``J^T v``. ``J``
is constant for each image, and ``v``, the score's gradient at ``e``, is all that training changes. A map that is linear
in the gradient is then linear in ``v``: ``M = A v``, with one constant ``A`` (cells x D) an image. Grad-CAM before its
ReLU (Selvaraju et al., arXiv 1610.02391, equations 1 and 2), XGrad-CAM and HiResCAM are linear. ``A`` is cached beside
the embedding; neither the tower nor its features are needed in a step.

A model may read the layer's patches ``P`` beside the embedding. The gradient is then a sum, ``J^T v`` and the score's
own gradient ``G`` at the patches, and so is the map: ``A v + W(P, G)``, with the weighting ``W`` of the method.
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
from mmgrad_explain.attention.methods.weighted import Weighted
from mmgrad_explain.attention.running.second_derivative import refuse_constant
from mmgrad_explain.attention.running.structures import call_with
from mmgrad_explain.attention.running.undisturbed import detach_inputs, undisturbed
from mmgrad_explain.attention.scores.checks import ensure_per_sample
from mmgrad_explain.errors import GradientError, InputError
from mmgrad_explain.explanation.fusion import fuse_maps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mmgrad_explain.attention.methods.base import Method
    from mmgrad_explain.attention.mmgrad import MultiModalGradAttention

_TOLERANCE = 0.02  # of a map's norm: rounding of half precision stays below it, what is not linear is far above it


@dataclass(frozen=True)
class PreparedMaps:
    """What maps of images need in a training step; both tensors can be cached on disk, row by row.

    Attributes:
        embeddings: Of the images, ``(B, D)``.
        operators: What makes maps of gradients at the embeddings, ``(B, h, w, D)``; ``(B, W, h, w, D)`` of W methods.
        patches: The layer's output on its grid, ``(B, K, h, w)``; None for a model that reads the embeddings alone.
    """

    embeddings: Tensor
    operators: Tensor
    patches: Tensor | None = None


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
        encode: Runs the target layer and returns the embeddings, ``(B, D)``; a part of the model's own forward. For a
            model that reads the patches as well, a tuple of the embeddings and the layer's output on its grid,
            ``(B, K, h, w)``.
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
        embeddings, patches = _check_encoded(found)
        first, second = (torch.randn_like(embeddings).requires_grad_() for _ in range(2))
        direct = None if patches is None else torch.randn_like(patches)

        def maps_of(gradient: Tensor, of_patches: Tensor | None = None) -> Tensor:
            """Make the signed maps ``(W, B, h, w)`` of a score with these gradients at what ``encode`` returned."""
            score = (embeddings * gradient).sum(-1)
            if patches is not None and of_patches is not None:
                score = score + (patches * of_patches).flatten(1).sum(-1)
            score = ensure_per_sample(score)
            seen.choose_parts(score)
            layouts = settings.find_layouts(seen)
            run = Run(root, seen, score, layouts, create_graph=True, retain_graph=True)
            made = attend_step(run, methods, set())
            return torch.stack([fuse_maps([calls[0] for calls in one.signed.values()], settings.fuse) for one in made])

        operators = _differentiate_cells(maps_of(first), first)
        made = torch.einsum("wbijd,bd->wbij", operators, second.detach())
        _check_linear(maps_of(second).detach(), made, [one.name for one in methods])
        if patches is not None and direct is not None:
            both = maps_of(second, direct).detach()
            if any(_differ(made + _weigh_patches(methods, patches.detach(), direct), both)):
                raise InputError("encode: the patches must be the output of the target layer on its grid")
    operators = operators.movedim(0, 1)
    operators = (operators if several else operators[:, 0]).contiguous()
    first_part = found[0] if isinstance(found, tuple) else found
    return PreparedMaps(first_part.detach(), operators, None if patches is None else patches.detach())


def attend_prepared(
    score: Tensor,
    embeddings: Tensor,
    operators: Tensor,
    *,
    patches: Tensor | None = None,
    method: Any = None,
    create_graph: bool = False,
    relu: bool = True,
) -> Tensor:
    """Make maps of prepared images.

    They are those of :meth:`~.MultiModalGradAttention.attend` with the tower in evaluation mode, and so are the
    gradients of a loss on them with respect to all that follows the embeddings.

    Args:
        score: ``(B,)``. It must depend on the image through ``embeddings`` (and ``patches``) alone.
        embeddings: ``(B, D)``, with ``requires_grad``; the score was computed from them.
        operators: Of these images, as :func:`prepare_maps` gives them; half precision is enough for their storage.
        patches: ``(B, K, h, w)`` of the same images, with ``requires_grad``, for a score that was computed from both.
        method: With ``patches``: the method, or the list of W methods, that the operators were prepared for.
        create_graph: Keep the maps differentiable, for a loss.
        relu: Cut off negative values.

    Returns:
        ``(B, h, w)`` in float32 (float64 for float64 embeddings); ``(W, B, h, w)`` for operators of W methods.

    Raises:
        InputError: shapes do not fit, the embeddings or patches do not require a gradient, or the methods are not those
            of the operators.
        GradientError: the score does not depend on the embeddings, or a loss on the maps would train nothing.
    """
    for name, one in (("embeddings", embeddings), ("patches", patches)):
        if one is not None and not one.requires_grad:
            raise InputError(f"{name} need a gradient: call {name}.requires_grad_() before the score is computed")
    if operators.ndim not in {4, 5} or (len(operators), operators.shape[-1]) != tuple(embeddings.shape):
        raise InputError(
            f"operators must be (B, h, w, D) or (B, W, h, w, D) for embeddings (B, D) = {tuple(embeddings.shape)}, "
            f"not {tuple(operators.shape)}"
        )
    score = ensure_per_sample(score, [len(embeddings)])
    if not score.requires_grad:
        raise GradientError("the score does not depend on the embeddings: it has no graph")
    wanted = [embeddings] if patches is None else [embeddings, patches]
    gradient, *direct = differentiate(score, wanted, create_graph=create_graph, retain_graph=True)
    if gradient is None and not any(one is not None for one in direct):
        raise GradientError("the score does not depend on the embeddings: compute it from the tensor that is passed")
    several = operators.ndim == 5
    with torch.autocast(score.device.type, enabled=False):
        if gradient is None:  # of a model that reads the patches alone
            maps = to_float(operators.new_zeros(operators.shape[:-1]))
        else:
            maps = (operators.to(gradient.dtype).flatten(1, -2) @ gradient[:, :, None]).view(operators.shape[:-1])
        maps = maps.movedim(1, 0) if several else maps
        if patches is not None and direct[0] is not None:
            methods = [ensure_method(one) for one in list_names(method)]
            if len(methods) != (operators.shape[1] if several else 1):
                raise InputError(f"method must name the methods of the operators {tuple(operators.shape)} in order")
            own = _weigh_patches(methods, to_float(patches.detach()), to_float(direct[0]))
            if own.shape[-2:] != maps.shape[-2:]:
                raise InputError(f"patches must be on the operators' grid, (B, K, h, w), not {tuple(patches.shape)}")
            maps = maps + (own if several else own[0])
    if create_graph:
        refuse_constant([maps], "score")
    return maps.relu() if relu else maps


def _check_encoded(found: Any) -> tuple[Tensor, Tensor | None]:
    """Return embeddings ``(B, D)`` and patches ``(B, K, h, w)`` or None, in float32.

    Raises:
        InputError: It is something else.
    """
    parts = found if isinstance(found, tuple) else (found,)
    dims = [one.ndim if isinstance(one, Tensor) and one.is_floating_point() else 0 for one in parts]
    if dims not in ([2], [2, 4]):
        of = ", ".join(f"{tuple(one.shape)}" if isinstance(one, Tensor) else type(one).__name__ for one in parts)
        raise InputError(f"encode must return embeddings (B, D), or these and patches (B, K, h, w), not {of}")
    embeddings, *patches = map(to_float, parts)
    return embeddings, patches[0] if patches else None


def _weigh_patches(methods: Sequence[Method], patches: Tensor, gradient: Tensor) -> Tensor:
    """Make the maps ``(W, B, h, w)`` of a gradient at the patches themselves.

    Raises:
        InputError: A method is no weighting.
    """
    maps = []
    for method in methods:
        if not isinstance(method, Weighted):
            raise InputError(f"method {method.name!r} is no weighting: take 'gradcam', 'xgradcam' or 'hirescam'")
        maps.append(method.weighting(patches, gradient))
    return torch.stack(maps)


def _differentiate_cells(maps: Tensor, gradient: Tensor) -> Tensor:
    """Differentiate every cell of maps ``(W, B, h, w)`` by the gradient of its sample, ``(W, B, h, w, D)``."""
    cells = maps.movedim(1, 3).reshape(-1, maps.shape[1])
    rows = torch.stack([torch.autograd.grad(cell.sum(), gradient, retain_graph=True)[0] for cell in cells])
    return rows.view(maps.shape[0], *maps.shape[2:], *gradient.shape).movedim(3, 1)


def _differ(made: Tensor, maps: Tensor) -> list[bool]:
    """Return of which methods two versions of maps ``(W, B, h, w)`` differ."""
    return ((made - maps).flatten(1).norm(dim=1) > _TOLERANCE * maps.flatten(1).norm(dim=1)).tolist()  # type: ignore[no-any-return]


def _check_linear(maps: Tensor, made: Tensor, names: list[str]) -> None:
    """Raise unless the operators gave the maps ``(W, B, h, w)`` of another gradient, too."""
    if not bool(made.isfinite().all()):
        raise GradientError("the maps are not finite: the activations or gradients overflow; try bfloat16 or float32")
    wrong = [name for name, one in zip(names, _differ(made, maps), strict=True) if one]
    if wrong:
        raise InputError(
            f"method {wrong[0]!r} at this layer makes maps that are not linear in the gradient, so that they cannot be "
            "prepared: take 'gradcam', 'xgradcam' or 'hirescam' at one layer, or cache the tokens before it and use "
            "capture() and attend()"
        )
