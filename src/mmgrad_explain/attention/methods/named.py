"""The methods by name: the one list that everything else asks."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.choices import check_choice, choose
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
    if isinstance(method, type):
        raise TypeError(f"method must be a method, not its class: {method.__name__}(), with its options")
    if not callable(method):
        raise TypeError(f"method must be a name, a method or a callable, not {type(method).__name__}")
    return Weighted(*ensure_weighting(method))


def list_differentiable() -> tuple[str, ...]:
    """Return the names of the methods whose maps a loss can train: those that are ``differentiable``."""
    return tuple(name for name, make in METHODS.items() if make().differentiable)


def ensure_differentiable(method: Any, option: str = "method") -> Method:
    """Return a method whose maps a loss can train.

    Args:
        method: As for :func:`ensure_method`.
        option: The argument that it was passed for.

    Raises:
        TypeError: as :func:`ensure_method`.
        InputError: its maps cannot be differentiated; the message lists the methods of which they can. Or as
            :func:`ensure_method`.
    """
    if isinstance(method, str):
        check_choice(option, method, METHODS)
    made = ensure_method(method)
    if not made.differentiable:
        raise InputError(
            f"{option}: {made.name!r} makes maps that cannot be differentiated, which a loss needs: take one of "
            f"{', '.join(list_differentiable())}"
        )
    return made


def list_names(names: Any) -> list[Any]:
    """Return a list of names or methods; one alone is a list of one."""
    return [names] if isinstance(names, str) or not isinstance(names, Iterable) else list(names)


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
        return [_as_weighting(each) for each in weighting]
    return _as_weighting(weighting)


def _as_weighting(weighting: Any) -> Method:
    """Return a weighting as a method; the name of another method is refused by pointing to ``method``."""
    if isinstance(weighting, str) and weighting in METHODS.keys() - WEIGHTINGS.keys():
        raise InputError(f"weighting: {weighting!r} is a method and no weighting: pass it as method={weighting!r}")
    return Weighted(*ensure_weighting(weighting))
