"""Weigh activations by gradients: each function makes a signed map (B, h, w) of two tensors (B, K, h, w).

Negative values are kept; the caller cuts them off (ReLU). All functions are differentiable and compute in the dtype of
their arguments; the machine epsilon of that dtype keeps every divisor away from zero.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from mmgrad_explain._system.choices import check_returned, choose, name_of

Weighting = Callable[[Tensor, Tensor], Tensor]
"""Activations and gradients ``(B, K, h, w)`` to signed maps ``(B, h, w)``."""


def gradcam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Weigh each channel by the mean of its gradient: ``sum_k mean_xy(g_k) a_k``.

    Source: Selvaraju et al., Grad-CAM, arXiv 1610.02391, equations 1 and 2 (before the ReLU).

    Args:
        activation: (B, K, h, w), the layer's output as a grid.
        gradient: (B, K, h, w), the score's gradient with respect to it.

    Returns:
        (B, h, w), signed.
    """
    return (gradient.mean((2, 3), keepdim=True) * activation).sum(1)


def gradcam_plus_plus(activation: Tensor, gradient: Tensor) -> Tensor:
    """Weigh each channel by its positive gradients, with more weight where the response is steady.

    ``w_k = sum_xy alpha relu(g)`` with ``alpha = g^2 / (2 g^2 + g^3 sum_xy a)``, which is ``1 / (2 + g sum_xy a)``
    where g is not 0; elsewhere alpha is 0. The second form is computed, because it does not depend on the scale of g.

    Source: Chattopadhay et al., Grad-CAM++, arXiv 1710.11063, equations 10 and 19.

    Args and returns as :func:`gradcam`.
    """
    total = activation.sum((2, 3), keepdim=True)
    alpha = torch.where(gradient != 0, 1 / _keep_off_zero(2 + gradient * total), torch.zeros_like(gradient))
    weights = (alpha * gradient.relu()).sum((2, 3), keepdim=True)
    return (weights * activation).sum(1)


def xgradcam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Weigh each channel by the mean of its gradient over its own activation: ``w_k = sum_xy(g a) / sum_xy(a)``.

    Source: Fu et al., Axiom-based Grad-CAM, arXiv 2008.02312, equation 8.

    Args and returns as :func:`gradcam`.
    """
    total = activation.sum((2, 3), keepdim=True)
    weights = (gradient * activation).sum((2, 3), keepdim=True) / _keep_off_zero(total)
    return (weights * activation).sum(1)


def layercam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Weigh every place by its own positive gradient: ``sum_k relu(g) a``.

    Source: Jiang et al., LayerCAM, IEEE TIP 2021, doi 10.1109/TIP.2021.3089943, equations 5 and 6.

    Args and returns as :func:`gradcam`.
    """
    return (gradient.relu() * activation).sum(1)


def hirescam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Weigh every place by its own gradient: ``sum_k g a``.

    The map is empty at a layer that the score sees only through a normalization, such as the blocks of a vision
    transformer: there ``sum_k g a`` is 0 for any activation. Take the output of the normalization instead.

    Source: Draelos and Carin, HiResCAM, arXiv 2011.08891, equation 5.

    Args and returns as :func:`gradcam`.
    """
    return (gradient * activation).sum(1)


WEIGHTINGS: dict[str, Weighting] = {
    "gradcam": gradcam,
    "gradcam++": gradcam_plus_plus,
    "xgradcam": xgradcam,
    "layercam": layercam,
    "hirescam": hirescam,
}
"""The weightings by name.

:meta hide-value:
"""


def ensure_weighting(weighting: "str | Weighting") -> tuple[str, Weighting]:
    """Return the name and the function of a weighting.

    Args:
        weighting: A name from ``WEIGHTINGS``, or a callable that takes activation and gradient, both (B, K, h, w), and
            returns (B, h, w).

    Returns:
        Its name, and a function that also checks the shape of the map.

    Raises:
        TypeError: ``weighting`` is neither a name nor a callable.
        InputError: there is no weighting of that name.
    """
    function = choose("weighting", weighting, WEIGHTINGS)
    if isinstance(weighting, str):
        return weighting, function

    def weigh_and_check(activation: Tensor, gradient: Tensor) -> Tensor:
        maps = function(activation, gradient)
        wanted = (activation.shape[0], *activation.shape[2:])
        check_returned("weighting", maps, wanted, f"a map of shape (B, h, w) = {wanted}")
        return maps

    return name_of(function), weigh_and_check


def _keep_off_zero(value: Tensor) -> Tensor:
    eps = torch.finfo(value.dtype).eps
    return value + torch.where(value < 0, -eps, eps).to(value.dtype)
