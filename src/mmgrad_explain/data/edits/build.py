"""Builds a triplet set of photographs with object masks.

The folder holds ``triplets.jsonl``, ``references/``, ``targets/``, ``masks/``, ``manifest.json`` (options, versions,
counts, what was left out and why) and ``LICENSES.txt``; :mod:`~mmgrad_explain.data.set_builder` builds it.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from mmgrad_explain.data.edits.manifest import EditTally
from mmgrad_explain.data.edits.options import EditOptions, OutputOptions
from mmgrad_explain.data.edits.worker import hash_photo_name, make_photo_keys, make_triplets
from mmgrad_explain.data.set_builder import BuiltSet, SetPlan, Task, build_set, check_numbers
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from mmgrad_explain.data.instances.records import InstanceSet


def build_edits(
    source: InstanceSet,
    out: str | os.PathLike[str],
    options: EditOptions | None = None,
    *,
    output: OutputOptions | None = None,
    count: int | None = None,
    workers: int = 1,
    overwrite: bool = False,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> BuiltSet:
    """Build a triplet set of edited photographs.

    The order of the photographs depends on the seed and their names alone, so that a set of fewer triplets is the
    beginning of one of more.

    Args:
        source: The photographs and their objects.
        out: The set's folder; made if it is missing.
        options: Which edits; the defaults when None.
        output: How triplets become files; the defaults when None.
        count: Number of triplets; all that the photographs give when None.
        workers: Processes. With more than one, a script must guard its main part (``if __name__ == "__main__":``).
        overwrite: Replace a set that is there.
        resume: Continue an unfinished set, or make one of the same options larger or smaller.
        progress: Called after each photograph with the number of triplets and the number of photographs so far.

    Raises:
        OutputExistsError: The folder is not empty, and neither ``overwrite`` nor ``resume`` is on.
        InputError: An option is wrong, the folder is in use, or holds anything that no build of a set wrote or a set of
            other options, a worker was killed, or the photographs give no triplet.
    """
    options = options or EditOptions()
    output = output or OutputOptions()
    output = replace(output, source=output.source or source.description)
    check_numbers(count, workers)
    names = [photo.name for photo in source.photos]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise InputError(f"{source.description} holds the photograph {twice[0]} twice")
    keys = make_photo_keys(names)
    order = sorted(source.photos, key=lambda p: (hash_photo_name(f"{options.seed} {p.name}"), p.name))
    plan = SetPlan(
        options=_describe(options, output),
        defaults=_describe(EditOptions(), OutputOptions()),
        tasks=[Task(photo.name, (photo, keys[photo.name])) for photo in order],
        make=partial(make_triplets, options=options, output=output),
        read_key=lambda entry: entry["photo"],
        tally=EditTally(source, count),
        packages=("numpy", "pillow", "opencv-python", "opencv-python-headless"),
        count=count,
    )
    return build_set(out, plan, workers=workers, overwrite=overwrite, resume=resume, progress=progress)


def _describe(options: EditOptions, output: OutputOptions) -> Mapping[str, Any]:
    """Return the options as they are read from a manifest."""
    described: dict[str, Any] = json.loads(json.dumps({**asdict(options), **asdict(output)}))
    return described
