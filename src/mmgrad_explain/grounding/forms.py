"""Loss forms: how far a map is from its mask, one value a sample.

Each form takes maps and masks, both ``(B, h, w)``, and returns ``(B,)``. In the formulas ``p`` is the rectified map
divided by its maximum, ``z`` the signed map divided by its spread, ``t`` the mask divided by its sum. Maximum, mean and
spread are held constant, so that moving them cannot lower a loss. A dead map gets the worst value of its form, which no
live map exceeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgrad_explain._system.choices import check_returned, choose, name_of
from mmgrad_explain.grounding.maps import (
    check_pair,
    dead_is_worst,
    full_precision,
    mean_in,
    reach_of,
    rectify,
    share_of,
    spread_of,
    stretch,
)

Form = Callable[[Tensor, Tensor], Tensor]
"""Maps and masks ``(B, h, w)`` to one loss a sample, ``(B,)``."""

SOFTNESS = 0.1
"""How far below zero :func:`kl_loss` still gives a cell weight, as a share of the map's largest magnitude."""


MEAN_MARGIN, PEAK_MARGIN = 0.1, 0.5
"""The margins of :func:`amc_loss`, of the means and of the maxima: those of its authors."""


@full_precision
def dice_loss(maps: Tensor, masks: Tensor) -> Tensor:
    r"""Soft Dice distance.

    .. math:: \ell = 1 - \frac{2 \sum_x p(x)\, m(x)}{\sum_x p(x)^2 + \sum_x m(x)^2}

    Args:
        maps: ``(B, h, w)``, differentiable; signed maps are rectified here.
        masks: Where each map should be bright, ``(B, h, w)``, values in [0, 1], not empty.

    Returns:
        ``(B,)`` in [0, 1]; 1 for a dead map. The gradient with respect to ``maps`` is finite.

    Raises:
        TypeError: If the maps are not a floating-point tensor.
        InputError: If the shapes differ.

    Source: Milletari et al., V-Net (arXiv 1606.04797), section 3, on max-normalised maps.
    """
    masks = check_pair(maps, masks)
    p = rectify(maps)
    total = p.square().sum((1, 2)) + masks.square().sum((1, 2))
    loss = 1 - 2 * (p * masks).sum((1, 2)) / total.clamp(min=torch.finfo(maps.dtype).eps)
    return dead_is_worst(loss, 1.0, maps, masks)


@full_precision
def bce_loss(maps: Tensor, masks: Tensor) -> Tensor:
    r"""Binary cross-entropy with the signed map as logits; inside and outside of the mask have equal weight.

    .. math:: \ell = \frac12 \sum_x t(x) \operatorname{softplus}(-z(x))
        + \frac12 \sum_x \bar t(x) \operatorname{softplus}(z(x)), \quad z = M / \operatorname{rms} M

    ``t`` with a bar is ``1 - m`` divided by its sum. Pass signed maps (``attend(..., relu=False)``). On rectified maps,
    or averaged over all cells, this loss makes maps dead, because nearly all cells are outside and push down.

    Args and raises as :func:`dice_loss`.

    Returns:
        ``(B,)``, at most ``sqrt N + log 2`` for ``N`` cells.
    """
    masks = check_pair(maps, masks)
    _, spread = spread_of(maps, centred=False)
    z = maps / spread
    loss = (share_of(masks) * F.softplus(-z) + share_of(1 - masks) * F.softplus(z)).sum((1, 2)) / 2
    return dead_is_worst(loss, math.sqrt(maps[0].numel()) + math.log(2), maps, masks)


@full_precision
def softmax_loss(maps: Tensor, masks: Tensor) -> Tensor:
    r"""Cross-entropy of the mask with a softmax over all cells of the signed, standardized map.

    .. math:: \ell = -\sum_x t(x) \log \operatorname{softmax}_x\left(\frac{M - \operatorname{mean} M}{\operatorname{std} M}\right)

    Pass signed maps (``attend(..., relu=False)``): cells below zero get a gradient, too.

    Args and raises as :func:`dice_loss`.

    Returns:
        ``(B,)``, at most ``log N + sqrt(2 N)`` for ``N`` cells.
    """  # noqa: E501
    masks = check_pair(maps, masks)
    centre, spread = spread_of(maps, centred=True)
    log_share = ((maps - centre) / spread).flatten(1).log_softmax(1)
    loss = -(share_of(masks).flatten(1) * log_share).sum(1)
    cells = maps[0].numel()
    return dead_is_worst(loss, math.log(cells) + math.sqrt(2 * cells), maps, masks)


@full_precision
def softplus_loss(maps: Tensor, masks: Tensor) -> Tensor:
    r"""Negative log of the share of the map's mass that is inside the mask, with softplus in place of the ReLU.

    .. math:: \ell = -\log \frac{\sum_x m(x) \operatorname{softplus}(z(x))}{\sum_x \operatorname{softplus}(z(x))},
        \quad z = M / \operatorname{rms} M

    Pass signed maps (``attend(..., relu=False)``).

    Args and raises as :func:`dice_loss`.

    Returns:
        ``(B,)``, at most ``sqrt N + log(2.5 N / sum(m))`` for ``N`` cells.
    """
    masks = check_pair(maps, masks)
    _, spread = spread_of(maps, centred=False)
    mass = F.softplus(maps / spread)
    tiny = torch.finfo(maps.dtype).tiny
    loss = mass.sum((1, 2)).log() - ((mass * masks).sum((1, 2)) + tiny).log()
    cells = maps[0].numel()
    worst = math.sqrt(cells) + (2.5 * cells / masks.sum((1, 2)).clamp(min=torch.finfo(maps.dtype).eps)).log()
    return dead_is_worst(loss, worst, maps, masks)


@full_precision
def kl_loss(maps: Tensor, masks: Tensor) -> Tensor:
    r"""Kullback-Leibler divergence of the mask from the map, both taken as distributions.

    .. math:: \ell = \sum_x t(x) \log \frac{t(x)}{q(x)}, \quad q = \frac{g(y)}{\sum_x g(y(x))}, \quad y = M / \max |M|,
        \quad g(y) = y + \gamma \text{ for } y \ge 0, \quad \gamma e^{y / \gamma} \text{ below}

    with ``gamma`` = :data:`SOFTNESS`. Pass signed maps (``attend(..., relu=False)``). A plain ReLU in place of ``g``
    makes maps dead: cells of the mask below zero get no gradient, and all bright cells outside are pushed down.

    Args and raises as :func:`dice_loss`.

    Returns:
        ``(B,)``, at most ``log(N (1 + gamma) / gamma) + 1 / gamma`` for ``N`` cells.
    """
    masks = check_pair(maps, masks)
    y = maps / reach_of(maps)
    below = y.clamp(max=0) / SOFTNESS
    log_g = torch.where(y >= 0, (y.relu() + SOFTNESS).log(), below + math.log(SOFTNESS))
    log_share = log_g - log_g.exp().sum((1, 2), keepdim=True).log()
    t = share_of(masks)
    loss = (torch.xlogy(t, t) - t * log_share).sum((1, 2))
    worst = math.log(maps[0].numel() * (1 + SOFTNESS) / SOFTNESS) + 1 / SOFTNESS
    return dead_is_worst(loss, worst, maps, masks)


@full_precision
def amc_loss(maps: Tensor, masks: Tensor) -> Tensor:
    r"""Attention Mask Consistency: inside, a map should be brighter by a margin, in its mean and at its maximum.

    .. math:: \ell = \max\left(0, \bar g_{out} - \bar g_{in} + \delta_1\right)
        + \max\left(0, \max_x g (1 - m) - \max_x g\, m + \delta_2\right)

    ``g`` is the rectified map, scaled from its minimum, 0, to its maximum, 1; the bars are its means over ``m`` and
    over ``1 - m``. ``delta`` is :data:`MEAN_MARGIN` and :data:`PEAK_MARGIN`.

    Args and raises as :func:`dice_loss`.

    Returns:
        ``(B,)`` in [0, 2.6]; 2.6 for a dead map.

    Source: Yang et al., Improving Visual Grounding by Encouraging Consistent Gradient-based Explanations (CVPR 2023,
    arXiv 2206.15462), the losses L_mean and L_max, with the margins of the authors' code. That takes the first mean
    over all samples of a batch; here it is of each sample. The scale of a map is held constant here, as in the other
    forms.
    """
    masks = check_pair(maps, masks)
    g = stretch(maps)
    means = mean_in(g, 1 - masks) - mean_in(g, masks) + MEAN_MARGIN
    peaks = (g * (1 - masks)).amax((1, 2)) - (g * masks).amax((1, 2)) + PEAK_MARGIN
    return dead_is_worst(means.relu() + peaks.relu(), 2 + MEAN_MARGIN + PEAK_MARGIN, maps, masks)


FORMS: dict[str, Form] = {
    "dice": dice_loss,
    "bce": bce_loss,
    "softmax": softmax_loss,
    "softplus": softplus_loss,
    "kl": kl_loss,
    "amc": amc_loss,
}
"""The list of the forms: every place that takes or logs a form by its name reads it.

:meta hide-value:
"""


def ensure_form(form: str | Form) -> tuple[str, Form]:
    """Return the name and the function of a form.

    Args:
        form: A name from :data:`FORMS`, or a callable of maps and masks, both ``(B, h, w)``, that returns ``(B,)``.
            Such a callable has to give dead maps a high value itself.

    Returns:
        The name, and a function that checks the shape of what a callable returns.

    Raises:
        TypeError: If it is neither a name nor a callable.
        InputError: If there is no form of that name.
    """
    function = choose("form", form, FORMS, takes="maps and masks")
    if isinstance(form, str):
        return form, function

    def checked(maps: Tensor, masks: Tensor) -> Tensor:
        made = function(maps, masks)
        check_returned("form", made, maps.shape[:1], f"one loss a sample, shape ({len(maps)},)")
        return made

    return name_of(form), checked
