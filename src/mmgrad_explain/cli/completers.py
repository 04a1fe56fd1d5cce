"""Completion of arguments in a shell. Imported only while a shell asks; nothing here imports torch."""

from __future__ import annotations

import argparse
from importlib import resources
from typing import TYPE_CHECKING, Any

from mmgrad_explain.cli.known_names import COLORMAPS, DEVICES, METHODS, SCORES, bundled_layers
from mmgrad_explain.images.suffixes import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_IMAGE_SUFFIXES = tuple(suffix.removeprefix(".") for suffix in IMAGE_SUFFIXES)


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell that set ``_ARGCOMPLETE``, and exit."""
    import argcomplete

    for action in _actions(parser):
        if action.choices is None and action.nargs != 0:
            action.completer = completer_of(action)  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser, always_complete_options="long")


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """List the arguments of all commands."""
    for action in parser._actions:  # noqa: SLF001  (argparse names them nowhere else; argcomplete reads them too)
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command in action.choices.values():
                yield from _actions(command)
        else:
            yield action


def completer_of(action: argparse.Action) -> Callable[..., Iterable[str]]:
    """Return the completer of an argument: by its name, else by its metavar (``--out DIR``), else none."""
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    return _BY_NAME.get(action.dest) or _BY_METAVAR.get(metavar) or _nothing


def _nothing(**_: Any) -> tuple[str, ...]:
    return ()


def _one_of(*names: str) -> Callable[..., tuple[str, ...]]:
    return lambda **_: names


def _folders(prefix: str, **_: Any) -> list[str]:
    from argcomplete.completers import DirectoriesCompleter

    return list(DirectoriesCompleter()(prefix))


def _files(*kinds: str) -> Callable[..., list[str]]:
    def found(prefix: str, **_: Any) -> list[str]:
        from argcomplete.completers import FilesCompleter

        return FilesCompleter(kinds)(prefix)  # type: ignore[no-any-return]

    return found


def _models(prefix: str, **_: Any) -> list[str]:
    from mmgrad_explain.composers.load import BUNDLED

    return [*BUNDLED, *_folders(prefix)]


def _layers(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """List the layers of a bundled model; any other would have to be loaded."""
    from mmgrad_explain.composers.load import BUNDLED

    model = parsed_args.model
    return sorted({layer for name in (BUNDLED if model is None else [model]) for layer in bundled_layers(name)})


def _configs(prefix: str, **_: Any) -> list[str]:
    return [*_shipped(), *_files("yaml", "yml")(prefix)]


def _shipped() -> dict[str, Any]:
    """List the package's configs by name; ``training.config_file`` does so too, but imports torch."""
    folder = resources.files("mmgrad_explain") / "training" / "configs"
    return {file.name.removesuffix(".yaml"): file for file in sorted(folder.iterdir(), key=lambda file: file.name)}


def _keys(**_: Any) -> list[str]:
    """List ``KEY=`` for every key that a config of the package sets."""
    import yaml

    found: dict[str, None] = {}

    def walk(values: dict[str, Any], before: str) -> None:
        for key, value in values.items():
            if isinstance(value, dict):
                walk(value, f"{before}{key}.")
            else:
                found[f"{before}{key}="] = None

    for file in _shipped().values():
        walk(yaml.safe_load(file.read_text(encoding="utf-8")), "")
    return sorted(key for key in found if key != "extends=")


def _formats(**_: Any) -> list[str]:
    from mmgrad_explain.data.cir.formats import FORMATS

    return list(FORMATS)


def _benchmarks(prefix: str, **_: Any) -> list[str]:
    """Complete ``NAME:ROOT``."""
    name, colon, root = prefix.partition(":")
    return [f"{name}:{folder}" for folder in _folders(root)] if colon else [f"{format_}:" for format_ in _formats()]


def _mask_ways(prefix: str, **_: Any) -> list[str]:
    """Complete a way to make masks, and the file or folder after its colon."""
    from mmgrad_explain.data.masks.settings import MAKERS

    name, colon, rest = prefix.partition(":")
    return [f"{name}:{path}" for path in _files()(rest)] if colon else list(MAKERS)


def _methods(prefix: str, **_: Any) -> list[str]:
    """Complete the last name of a list with commas."""
    before, comma, _last = prefix.rpartition(",")
    return [f"{before}{comma}{name}" for name in METHODS if name not in before.split(",")]


def _phrase_sets(prefix: str, **_: Any) -> list[str]:
    """Complete a folder, a JSON file, or ``NAME:ROOT``."""
    from mmgrad_explain.data.phrases.formats import PHRASE_FORMATS

    name, colon, root = prefix.partition(":")
    if colon:
        return [f"{name}:{path}" for path in _files("json")(root)]
    return [*(f"{known}:" for known in PHRASE_FORMATS), *_files("json")(prefix)]


_BY_NAME: dict[str, Callable[..., Iterable[str]]] = {
    "model": _models,
    "tower": _models,
    "layer": _layers,
    "score": _one_of(*SCORES),
    "method": _one_of(*METHODS),
    "methods": _methods,
    "maps": _phrase_sets,
    "colormap": _one_of(*COLORMAPS),
    "device": _one_of(*DEVICES),
    "config": _configs,
    "set": _keys,
    "name": _formats,
    "data": _benchmarks,
    "gallery": _folders,
    "source": _folders,
    "query": _files(*_IMAGE_SUFFIXES),
}
_BY_METAVAR: dict[str, Callable[..., Iterable[str]]] = {
    "IMAGE": _files(*_IMAGE_SUFFIXES),
    "FILE": _files(),
    "PATH": _files(),
    "DIR": _folders,
    "FOLDER": _folders,
    "ROOT": _folders,
    "HOW": _mask_ways,
    "WEIGHTS": _files("pt", "pth", "bin", "safetensors"),
}
