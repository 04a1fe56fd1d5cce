"""Load trained weights into the trunk of a new reference network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain.composers.reference.trunk import spellings
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from mmgrad_explain.composers.reference.config import NetworkConfig

PRETRAINED = "pretrained"
"""In place of a file: timm's own weights."""

_COUNTER = "num_batches_tracked"


def load_trunk_weights(visual: nn.Module, config: NetworkConfig, weights: str) -> None:
    """Load weights of a timm model into a trunk.

    All of the trunk's weights must be there, in their shapes, in any floating type. What the timm model has and the
    trunk has not, such as a classifier or stages after the last tap, is left out.

    Args:
        visual: The trunk.
        config: Of the network; names the timm model.
        weights: ``pretrained``, or a safetensors file with timm's names.

    Raises:
        InputError: The weights cannot be had, a weight is missing or has another shape, or the file holds weights that
            no such model has.
    """
    state = _pretrained(config.backbone) if weights == PRETRAINED else _read(weights)
    own = visual.state_dict()
    used = {name: next((one for one in spellings(name) if one in state), None) for name in own}
    missing = [name for name, source in used.items() if source is None and not name.endswith(_COUNTER)]
    if missing:
        raise _unfit(weights, config, f"it has no {_first(missing)}")
    taken = {name: source for name, source in used.items() if source is not None}
    for name, source in taken.items():
        if own[name].shape != state[source].shape:
            shapes = f"{list(state[source].shape)}, not {list(own[name].shape)}"
            raise _unfit(weights, config, f"its {source!r} has the shape {shapes}")
    rest = set(state) - set(taken.values())
    strange = sorted(rest - _names_of(config)) if rest else []
    if strange:
        raise _unfit(weights, config, f"no such model has {_first(strange)}")
    visual.load_state_dict({**own, **{name: state[source] for name, source in taken.items()}})


def load_head_weights(head: nn.Module, weights: str) -> None:
    """Load weights of a segmentation head, in any floating type.

    Args:
        head: The head.
        weights: A safetensors file with the head's names
            (:class:`~mmgrad_explain.composers.reference.segmenter.Segmenter`).

    Raises:
        InputError: The file cannot be read, or its weights have other names or shapes.
    """
    state = _read(weights, "segmenter_weights")
    own = {name: list(value.shape) for name, value in head.state_dict().items()}
    given = {name: list(value.shape) for name, value in state.items()}
    for name in dict.fromkeys((*own, *given)):
        if own.get(name) != given.get(name):
            what = f"its {name!r} has the shape {given.get(name)}, not {own.get(name)}"
            raise InputError(f"model.segmenter_weights: {weights} does not fit the segmentation head: {what}")
    head.load_state_dict(dict(state))


def pretrained_pixels(backbone: str) -> dict[str, tuple[float, ...]]:
    """Return the mean and the standard deviation of the pixels that timm's own weights take, by name."""
    import timm

    settings = timm.get_pretrained_cfg(backbone)
    return {name: tuple(map(float, getattr(settings, name))) for name in ("mean", "std")} if settings else {}


def _pretrained(backbone: str) -> Mapping[str, Tensor]:
    import timm

    try:
        state: Mapping[str, Tensor] = timm.create_model(backbone, pretrained=True).state_dict()
    except (RuntimeError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"model.backbone_weights: no pretrained {backbone!r} could be had: {reason}") from error
    return state


def _read(weights: str, option: str = "backbone_weights") -> Mapping[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(str(Path(weights).expanduser()))
    except (OSError, SafetensorError) as error:
        raise InputError(f"model.{option}: {weights} cannot be read: {error}") from error


def _names_of(config: NetworkConfig) -> set[str]:
    """Name the weights of the whole timm model, its classifier included; nothing is allocated."""
    import timm
    import torch

    options: dict[str, Any] = {name: value for name, value in config.backbone_options.items() if name != "groups"}
    with torch.device("meta"):
        return set(timm.create_model(config.backbone, **options).state_dict())


def _unfit(weights: str, config: NetworkConfig, what: str) -> InputError:
    return InputError(f"model.backbone_weights: {weights} does not fit {config.backbone!r} with its options: {what}")


def _first(names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]!r}{more}"
