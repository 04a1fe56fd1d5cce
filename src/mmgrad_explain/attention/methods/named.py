"""The methods by name: the one list that everything else asks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.choices import choose
from mmgrad_explain.attention.methods.answers.relative_attention import RelativeAttention
from mmgrad_explain.attention.methods.answers.token_activation import TokenActivation
from mmgrad_explain.attention.methods.attention.dense import Dense
from mmgrad_explain.attention.methods.attention.grad_eclip import GradEclip
from mmgrad_explain.attention.methods.attention.legrad import LeGrad
from mmgrad_explain.attention.methods.attention.relevancy import Relevancy
from mmgrad_explain.attention.methods.attention.rollout import AttentionRollout
from mmgrad_explain.attention.methods.base import Method
from mmgrad_explain.attention.methods.causal.occlusion import Occlusion
from mmgrad_explain.attention.methods.causal.path_gradients import IntegratedGradients
from mmgrad_explain.attention.methods.causal.rise import Rise
from mmgrad_explain.attention.methods.weighted import Weighted
from mmgrad_explain.attention.weighting import WEIGHTINGS, ensure_weighting
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

METHODS: dict[str, Callable[[], Method]] = {
    **{name: partial(Weighted, name, weighting) for name, weighting in WEIGHTINGS.items()},
    "legrad": LeGrad,
    "grad-eclip": GradEclip,
    "relevancy": Relevancy,
    "attention-rollout": AttentionRollout,
    "dense": Dense,
    "maskclip": partial(Dense, "maskclip", name="maskclip"),
    "naclip": partial(Dense, "naclip", name="naclip"),
    "integrated-gradients": IntegratedGradients,
    "occlusion": Occlusion,
    "rise": Rise,
    "relative-attention": RelativeAttention,
    "token-activation": TokenActivation,
}
"""The methods by name, each with a function that makes it with its default options.

:meta hide-value:
"""


def ensure_method(method: Any) -> Method:
    """Return a method.

    Args:
        method: A name from :data:`METHODS`, a method, or a weighting: a callable that takes activation and gradient,
            both (B, K, h, w), and returns (B, h, w).

    Raises:
        TypeError: ``method`` is none of these.
        InputError: there is no method of that name.
    """
    if isinstance(method, Method) and not isinstance(method, type):
        return method
    if isinstance(method, str):
        return choose("method", method, METHODS)()
    return Weighted(*ensure_weighting(method))


def choose_argument(method: Any, weighting: Any) -> Any:
    """Return the argument that was given of ``method`` and ``weighting``, a weighting as a method; None if neither was.

    Raises:
        TypeError: as :func:`ensure_weighting`.
        InputError: both were given; or as :func:`ensure_weighting`.
    """
    if method is not None and weighting is not None:
        raise InputError("method and weighting name the same thing: a weighting is a method; give one of them")
    if weighting is None:
        return method
    if isinstance(weighting, list | tuple):
        return [Weighted(*ensure_weighting(each)) for each in weighting]
    return Weighted(*ensure_weighting(weighting))
