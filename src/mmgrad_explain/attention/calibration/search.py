"""Calibrate a model: rank layers and methods by their agreement with a causal reference on the user's own inputs."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain._system.progress import Bar, quiet
from mmgrad_explain._version import __version__
from mmgrad_explain.attention.calibration.agreement import correlate, is_above, summarize
from mmgrad_explain.attention.calibration.contenders import list_methods, list_parts, spread_layers
from mmgrad_explain.attention.calibration.result import Calibration, CalibrationRow, identify_model, join_parts
from mmgrad_explain.attention.layers.candidates import candidate_layers
from mmgrad_explain.attention.methods.fused import Part, SeveralMethods, geometric_mean
from mmgrad_explain.attention.methods.named import ensure_method, list_names
from mmgrad_explain.attention.mmgrad import MultiModalGradAttention
from mmgrad_explain.attention.running.modules import plain_modules
from mmgrad_explain.errors import InputError, MMGradWarning
from mmgrad_explain.explanation.fusion import scale_by_peak
from mmgrad_explain.metrics.floors import centre_gaussian, random_map

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from mmgrad_explain.attention.methods.base import Method

FEWEST, MOST = 8, 64
_MOST_FUSED = 4
_NOISE_GRID = 7


def calibrate(
    mmgrad: MultiModalGradAttention,
    calls: Iterable[Any],
    *,
    methods: Sequence[Any] | None = None,
    layers: Sequence[str] | None = None,
    reference: str | Method = "occlusion",
    progress: bool = True,
) -> Calibration:
    """Rank layers and methods by how well their maps agree with a causal reference, without any mask.

    For each call all candidate maps are made from one forward and one gradient at the layers, and the reference runs
    the model again on changed images: 64 times for occlusion. The agreement of a kind of map is the mean correlation
    (Pearson's, on the reference's grid) of its maps with the size of the reference: how much the score changes where a
    place is hidden, up or down. Kinds that cannot be told from the best one (the 95 % bootstrap interval of the paired
    difference holds 0) are tied with it; the geometric mean of the best of them is taken instead where it agrees
    better. Kinds whose maps are equal are listed once.

    Args:
        mmgrad: Says which model, score and layout; its own layers take part as well.
        calls: The model's own arguments, 8 to 64 of them: a tuple is positional, a mapping by name, a tensor alone is
            the only argument. Inputs of the kind that the maps are wanted for.
        methods: Names or methods to compare. None takes all that read the text and need no further runs of the model.
            Those that do not fit the model are named in the result.
        layers: Dotted names of layers to compare. None takes up to eight of several depths.
        reference: The causal reference, a method that runs the model on changed images: ``"occlusion"`` or ``"rise"``.
        progress: Whether to show a progress bar on a terminal.

    Returns:
        The ranking; ``Calibration.mmgrad`` is the best kind of map, ready to use.

    Raises:
        TypeError: ``mmgrad`` is no MMGrad, or a call is neither a tuple, a mapping nor a tensor.
        InputError: there are not 8 to 64 calls, the reference is no causal one or does not fit the model, no method
            fits it, or a name is unknown.
        GradientError: as a call of ``mmgrad``.

    Source: Zeiler and Fergus, arXiv 1311.2901 (occlusion); Petsiuk et al., RISE, arXiv 1806.07421.
    """
    if not isinstance(mmgrad, MultiModalGradAttention):
        raise TypeError(f"mmgrad must be an MMGrad of the model, not {type(mmgrad).__name__}")
    every = [_arguments(call) for call in islice(calls, MOST + 1)]  # there may be no end of them
    if not FEWEST <= len(every) <= MOST:
        found = f"more than {MOST}" if len(every) > MOST else str(len(every))
        raise InputError(
            f"calls: {FEWEST} to {MOST} are needed, not {found}: fewer say too little, and more take long and change "
            "little"
        )
    judge = ensure_method(reference)
    if not judge.needs.reruns:
        raise InputError(
            f"reference: {judge.name!r} does not run the model on changed images, so that it is no causal reference: "
            "take 'occlusion' or 'rise'"
        )
    refused: dict[str, str] = {}
    layers = None if layers is None else list_names(layers)
    parts = _choose_parts(mmgrad, every[0], methods, layers)
    maps, drops, score_name = _collect(mmgrad, every, parts, Part(judge), refused, progress=progress)
    if not maps:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
        raise InputError(f"methods: none of them fits this model. {reasons}")
    agreement = {part: correlate_all(of_part, drops) for part, of_part in maps.items()}
    ranked = sorted(agreement, key=lambda part: -float(agreement[part].mean()))
    best, tied = _fuse_tied(maps, drops, agreement, ranked)
    floors = _floors(drops)
    values = agreement[best[0]] if len(best) == 1 else correlate_all(_fuse(maps, best), drops)
    rows = [
        CalibrationRow(part.method.name, part.layer, summarize(agreement[part]), tied=part in tied) for part in ranked
    ]
    chosen = list(dict.fromkeys(part.layer for part in best if part.layer is not None))
    beats_floors = all(is_above(values, of_floor) for of_floor in floors.values())
    method = join_parts(best, beats_floors=beats_floors)
    settings = mmgrad.settings
    ready = MultiModalGradAttention(mmgrad.model, chosen or None, settings.score, method, settings.layout)
    return Calibration(
        rows=tuple(rows),
        floors={name: summarize(of_floor) for name, of_floor in floors.items()},
        chosen=tuple((part.method.name, part.layer) for part in best),
        agreement=summarize(values),
        beats_floors=beats_floors,
        reference=judge.name,
        score=score_name,
        samples=len(values),
        refused=refused,
        model=identify_model(settings.root),
        versions={"mmgrad_explain": __version__, "torch": torch.__version__, "python": platform.python_version()},
        ready=ready,
    )


def correlate_all(maps: Sequence[Tensor], drops: Sequence[Tensor]) -> Tensor:
    """Correlate the maps of every call with the size of the reference's: (N,), one a sample.

    Args:
        maps: One (B, h, w) a call.
        drops: One (B, g, g) a call.
    """
    return torch.cat([correlate(one, other.abs()) for one, other in zip(maps, drops, strict=True)])


def _arguments(call: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(call, Mapping):
        return (), dict(call)
    if isinstance(call, torch.Tensor):
        return (call,), {}
    if isinstance(call, tuple | list):
        return tuple(call), {}
    raise TypeError(f"calls: a call is a tuple or a mapping of the model's arguments, not {type(call).__name__}")


def _choose_parts(
    mmgrad: MultiModalGradAttention,
    first: tuple[tuple[Any, ...], dict[str, Any]],
    methods: Sequence[Any] | None,
    layers: Sequence[str] | None,
) -> tuple[Part, ...]:
    """Choose what is compared: every method at every layer, those of ``mmgrad`` among them."""
    chosen = list_methods(methods)
    if not chosen:
        raise InputError("methods: the list is empty; name at least one, or leave it out")
    _refuse_twice("methods", [method.name for method in chosen])
    _refuse_twice("layers", layers or ())
    settings = mmgrad.settings
    names = list(layers or ())
    if layers is None and any(method.needs.layers for method in chosen):
        args, kwargs = first
        found = candidate_layers(mmgrad.model, *args, score=settings.score, **kwargs)
        names = spread_layers(found, plain_modules(settings.root))
        names = list(dict.fromkeys([*names, *mmgrad.layer_names]))
    elif layers is not None and not names:
        raise InputError("layers: the list is empty; name at least one, or leave it out")
    return list_parts(names, chosen)


def _refuse_twice(option: str, names: Sequence[str]) -> None:
    """Refuse methods that share a name, since results are listed by name."""
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        raise InputError(f"{option}: {twice!r} is given twice; give each a name of its own")


def _collect(
    mmgrad: MultiModalGradAttention,
    calls: Sequence[tuple[tuple[Any, ...], dict[str, Any]]],
    parts: tuple[Part, ...],
    judge: Part,
    refused: dict[str, str],
    *,
    progress: bool,
) -> tuple[dict[Part, list[Tensor]], list[Tensor], str]:
    """Make the maps of all parts and of the reference for every call; parts that refuse a call are dropped."""
    several = SeveralMethods(parts, refused)
    together = SeveralMethods((*parts, judge), refused)
    settings = mmgrad.settings
    maker = MultiModalGradAttention(mmgrad.model, several.layers or None, settings.score, together, settings.layout)
    maps: dict[Part, list[Tensor]] = {part: [] for part in parts}
    drops: list[Tensor] = []
    score_name = ""
    with Bar() as bar:
        for number, (args, kwargs) in enumerate(calls):
            with quiet(), warnings.catch_warnings():
                warnings.simplefilter("ignore", MMGradWarning)  # about maps that nobody is shown
                made = maker(*args, **kwargs)
            if judge.name not in made.signed:
                raise InputError(f"reference: {refused[judge.method.name]}")
            score_name = made.score_name
            drops.append(made.signed[judge.name][0].cpu())
            for part in parts:
                if part.name in made.signed:
                    maps[part].append(made.signed[part.name][0].cpu())
            if progress:
                bar.show("calls", number + 1, len(calls))
    whole = {part: found for part, found in maps.items() if len(found) == len(calls)}
    return _drop_twins(whole), drops, score_name


def _drop_twins(maps: dict[Part, list[Tensor]]) -> dict[Part, list[Tensor]]:
    """Keep the first of several parts whose maps are equal up to their scale."""
    kept: dict[Part, list[Tensor]] = {}
    for part, found in maps.items():
        if not any(all(map(_are_equal, found, other)) for other in kept.values()):
            kept[part] = found
    return kept


def _are_equal(first: Tensor, second: Tensor) -> bool:
    if first.shape != second.shape:
        return False
    return torch.allclose(scale_by_peak(first.relu()), scale_by_peak(second.relu()), atol=1e-4)


def _fuse(maps: Mapping[Part, Sequence[Tensor]], parts: Sequence[Part]) -> list[Tensor]:
    return [geometric_mean(of_call) for of_call in zip(*(maps[part] for part in parts), strict=True)]


def _fuse_tied(
    maps: Mapping[Part, Sequence[Tensor]],
    drops: Sequence[Tensor],
    agreement: Mapping[Part, Tensor],
    ranked: Sequence[Part],
) -> tuple[list[Part], set[Part]]:
    """Return the parts to take, one or several to be fused, and those that are tied with the best one."""
    best = ranked[0]
    tied = [part for part in ranked if part is best or not is_above(agreement[best], agreement[part])]
    groups = [[best], *(list(tied[:count]) for count in range(2, min(len(tied), _MOST_FUSED) + 1))]
    means = [float(correlate_all(_fuse(maps, group), drops).mean()) if len(group) > 1 else float(agreement[best].mean())
             for group in groups]  # fmt: skip
    return groups[means.index(max(means))], set(tied)


def _floors(drops: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return the agreement of maps that know nothing: noise, and a Gaussian around the centre."""
    generator = torch.Generator().manual_seed(0)
    random, centre = [], []
    for of_call in drops:
        height, width = of_call.shape[1:]
        noise = [random_map(height, width, _NOISE_GRID, generator) for _ in of_call]
        random.append(torch.stack(noise))
        centre.append(centre_gaussian(height, width).expand(len(of_call), -1, -1))
    return {"random map": correlate_all(random, drops), "centre Gaussian": correlate_all(centre, drops)}
