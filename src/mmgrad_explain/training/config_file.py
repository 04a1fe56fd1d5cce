"""Read and write a :class:`~mmgrad_explain.training.config.TrainingConfig` as YAML; keys and values are checked."""

from __future__ import annotations

import types
import typing
from contextlib import suppress
from dataclasses import asdict, fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from mmgrad_explain._system.user_files import parse_yaml, quote, read_text
from mmgrad_explain.composers.reference.config import NetworkConfig
from mmgrad_explain.errors import InputError, did_you_mean
from mmgrad_explain.training.config import NEW_NETWORK, TrainingConfig
from mmgrad_explain.training.sources.kinds import SOURCES

EXTENDS = "extends"
_TRUNK, _TRUNK_OPTIONS = "backbone", ("backbone_options", "taps")
_PATH = "path"
_FIRST = (f"model.sizes.{_TRUNK}=", f"model.{_PATH}=")
"""Changes that leave out options of the config, which others may then set."""
_SUFFIX = ".yaml"
_LARGEST = 1e15  # of a number; no option makes sense with a larger one


def config_names() -> tuple[str, ...]:
    """Return the names of the configs in the package."""
    folder = resources.files("mmgrad_explain") / "training" / "configs"
    return tuple(sorted(file.name.removesuffix(_SUFFIX) for file in folder.iterdir() if file.name.endswith(_SUFFIX)))


def load_config(source: str | Path, changes: typing.Sequence[str] = ()) -> TrainingConfig:
    """Read a config.

    Args:
        source: A YAML file, or the name of a config in the package. With ``extends: NAME`` (or a path relative to its
            own folder) a file holds only the keys that differ. A file that names another ``model.sizes.backbone`` does
            not take over ``backbone_options`` and ``taps``, and one that names ``model.path`` nothing that describes a
            new network.
        changes: ``key=value``, with dots for keys inside others (``grounding.weight=0``); values as in YAML.

    Raises:
        InputError: If there is no such config, it is not YAML, or a key or a value is wrong.
    """
    values = _read(source, ())
    for change in sorted(changes, key=lambda one: not one.strip().startswith(_FIRST)):
        _set(values, change)
    return config_from(values)


def config_from(values: typing.Mapping[str, Any]) -> TrainingConfig:
    """Make a config from plain values, such as :func:`config_values` returns.

    Raises:
        InputError: If a key or a value is wrong.
    """
    return typing.cast("TrainingConfig", _build(TrainingConfig, dict(values), ""))


def config_values(config: TrainingConfig) -> dict[str, Any]:
    """Return all options as plain values, ready for YAML."""
    values = _to_plain(asdict(config))
    for name, options in config.sources.items():
        kind = next(kind for kind, cls in SOURCES.items() if type(options) is cls)
        if kind != name:
            values["sources"][name]["kind"] = kind
    return typing.cast("dict[str, Any]", values)


def dump_config(config: TrainingConfig) -> str:
    """Return a config as YAML."""
    import yaml

    return str(yaml.safe_dump(config_values(config), sort_keys=False, allow_unicode=True))


# ---------------------------------------------------------------------------------------------------------- reading


def _read(source: str | Path, seen: tuple[str, ...]) -> dict[str, Any]:
    """Read a file's values, merged over those of the config that it extends."""
    name = str(source)
    path: Any = Path(name).expanduser()
    if not path.is_file():
        if name not in config_names():
            hint = did_you_mean(name, config_names())
            raise InputError(f"no config {name!r}: {hint}give a YAML file or one of {', '.join(config_names())}")
        path = resources.files("mmgrad_explain") / "training" / "configs" / f"{name}{_SUFFIX}"
    if str(path) in seen:
        raise InputError(f"{name}: it extends itself by way of {' and '.join(seen)}")
    values = parse_yaml(read_text(Path(str(path))), f"{name} is no YAML")
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise InputError(f"{name} must hold keys and values, not a {type(values).__name__}")
    parent = values.pop(EXTENDS, None)
    if parent is None:
        return values
    if not isinstance(parent, str):
        raise InputError(f"{name}: extends must be a name or a path, not {quote(parent)}")
    beside = Path(str(path)).parent / parent
    under = _read(beside if beside.is_file() else parent, (*seen, str(path)))
    model = values.get("model")
    if isinstance(model, dict) and model.get(_PATH) is not None:
        _start_from_model(under)
    return _merge(under, values)


def _merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Merge one mapping over another, at all depths; another trunk does not take over the options of the first."""
    result = dict(under)
    if _TRUNK in over:
        _change_trunk(result, over[_TRUNK])
    for key, value in over.items():
        below = result.get(key)
        result[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def _change_trunk(sizes: dict[str, Any], name: Any) -> None:
    """Name the trunk; another one does not take over the options and the taps of the one before."""
    if sizes.get(_TRUNK, NetworkConfig.backbone) != name:
        for key in _TRUNK_OPTIONS:
            sizes.pop(key, None)
    sizes[_TRUNK] = name


def _start_from_model(values: dict[str, Any]) -> None:
    """Leave out what describes a new network: a run that starts from a model does not take it over from its parent."""
    if isinstance(model := values.get("model"), dict):
        values["model"] = {key: value for key, value in model.items() if key not in NEW_NETWORK}


def _set(values: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--set takes KEY=VALUE, for example grounding.weight=0, not {change!r}")
    value = parse_yaml(text, f"--set {change}: the value is no YAML")
    *parents, last = key.strip().split(".")
    if ([*parents], last) == (["model"], _PATH) and value is not None:
        _start_from_model(values)
    for parent in parents:
        below = values.get(parent)
        if below is not None and not isinstance(below, dict):
            raise InputError(f"--set {change}: {parent!r} has a value and no keys")
        values[parent] = values = {} if below is None else below
    if last == _TRUNK:
        _change_trunk(values, value)
    values[last] = value


# ---------------------------------------------------------------------------------------------------------- checking


def _build(cls: type, values: Any, where: str) -> Any:
    """Make a dataclass from a mapping."""
    if not isinstance(values, dict):
        raise InputError(f"{where} must hold keys and values, not {quote(values)}")
    hints = typing.get_type_hints(cls)
    known = [each.name for each in fields(cls)]
    unknown = [key for key in values if key not in known]
    if unknown:
        key = _join(where, str(unknown[0]))
        raise InputError(f"unknown key {quote(key)}: {did_you_mean(str(unknown[0]), known)}known: {', '.join(known)}")
    made = {}
    for key, value in values.items():
        if cls is TrainingConfig and key == "sources":
            made[key] = _sources(value)
        else:
            made[key] = _value(hints[key], value, _join(where, key))
    return cls(**made)


def _sources(values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise InputError(f"sources must be names with their options, such as scenes: {{}}, not {quote(values)}")
    made = {}
    for name, given in values.items():
        if given is None:
            continue
        options = dict(given) if isinstance(given, dict) else given
        kind = options.pop("kind", name) if isinstance(options, dict) else name
        if not isinstance(kind, str) or kind not in SOURCES:
            hint = did_you_mean(str(kind), SOURCES)
            raise InputError(
                f"sources.{name}: there is no kind {quote(kind)}: {hint}say kind: one of {', '.join(SOURCES)}"
            )
        made[str(name)] = _build(SOURCES[kind], options, f"sources.{name}")
    return made


def _value(hint: Any, value: Any, where: str) -> Any:
    """Convert a value to the type of its annotation, or raise InputError."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if is_dataclass(hint):
        return _build(typing.cast("type", hint), {} if value is None else value, where)
    if origin in {types.UnionType, typing.Union}:
        return None if value is None else _value(next(one for one in arguments if one is not type(None)), value, where)
    if origin is tuple:
        return _tuple(arguments, value, where)
    if origin is dict:
        if not isinstance(value, dict):
            raise InputError(f"{where} must hold keys and values, not {quote(value)}")
        return {str(key): _value(arguments[1], one, _join(where, str(key))) for key, one in value.items()}
    return value if hint is Any else _scalar(hint, value, where)


def _tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if arguments == (str, Ellipsis) and isinstance(value, str):
        value = [value]  # one name needs no list
    if not isinstance(value, list | tuple):
        raise InputError(f"{where} must be a list, not {quote(value)}")
    endless = arguments[-1] is Ellipsis
    if not endless and len(value) != len(arguments):
        raise InputError(f"{where} must be a list of {len(arguments)}, not {quote(value)}")
    hints = [arguments[0]] * len(value) if endless else arguments
    return tuple(_value(hint, one, f"{where}[{i}]") for i, (hint, one) in enumerate(zip(hints, value, strict=True)))


def _scalar(hint: Any, value: Any, where: str) -> Any:
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    if hint is float and isinstance(value, str):  # YAML reads 1e-3 as a text
        with suppress(ValueError):
            value = float(value)
    fits = isinstance(value, (int, float) if hint is float else hint) and (hint is bool or not isinstance(value, bool))
    if not fits:
        raise InputError(f"{where} must be {names[hint]}, not {quote(value)}")
    if hint in {int, float} and not abs(value) < _LARGEST:
        raise InputError(f"{where} must be a number below {_LARGEST:.0e}, not {quote(value)}")
    return float(value) if hint is float else value


def _to_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _to_plain(one) for key, one in value.items()}
    return [_to_plain(one) for one in value] if isinstance(value, tuple) else value


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
