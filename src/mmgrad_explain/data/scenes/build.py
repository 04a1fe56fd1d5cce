"""Builds a triplet set of generated scenes.

The folder holds ``triplets.jsonl``, ``references/``, ``targets/``, ``masks/`` and ``manifest.json`` (options, versions,
counts); :mod:`~mmgrad_explain.data.set_builder` builds it. A task is some scenes; the worker writes their images.

With the format ``npy`` the scenes of a task share a file in each folder, named after the first of them. The last file
ends with the set's last scene.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain.data.scenes.set_options import SceneSetOptions
from mmgrad_explain.data.scenes.worker import write_scenes
from mmgrad_explain.data.set_builder import BuiltSet, SetPlan, Task, build_set, check_numbers

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

_SCENES_A_TASK = 25


def build_scenes(
    out: str | os.PathLike[str],
    count: int,
    options: SceneSetOptions | None = None,
    *,
    workers: int = 1,
    overwrite: bool = False,
    resume: bool = False,
    progress: Callable[[int], None] | None = None,
) -> BuiltSet:
    """Build a triplet set of generated scenes.

    Args:
        out: The set's folder; made if it is missing.
        count: Number of triplets.
        options: Which scenes; the defaults when None.
        workers: Processes. With more than one, a script must guard its main part (``if __name__ == "__main__":``).
        overwrite: Replace a set that is there.
        resume: Continue an unfinished set, or make one of the same options larger or smaller.
        progress: Called after each task with the number of triplets so far.

    Raises:
        OutputExistsError: The folder is not empty, and neither ``overwrite`` nor ``resume`` is on.
        InputError: An option is wrong, the folder is in use, or holds anything that no build of a set wrote or a set of
            other options, or a worker was killed.
    """
    options = options or SceneSetOptions()
    check_numbers(count, workers)
    options.check()
    scenes = -(-count // options.edits)
    parts = [(start, min(start + _SCENES_A_TASK, scenes)) for start in range(0, scenes, _SCENES_A_TASK)]

    def shrinks(part: tuple[int, int]) -> bool:
        return options.format == "npy" and part[0] == parts[-1][0] and part[1] > parts[-1][1]

    plan = SetPlan(
        options=_describe(options),
        defaults=_describe(SceneSetOptions()),
        tasks=[Task((start, stop), (start, stop), (stop - start) * options.edits) for start, stop in parts],
        make=partial(write_scenes, Path(out), options),
        read_key=lambda entry: tuple(entry["scenes"]),
        tally=_SceneTally(options.edits),
        packages=("numpy", "pillow"),
        count=count,
        scenes=scenes,
        shrinks=shrinks,
    )
    report = None if progress is None else lambda triplets, _: progress(triplets)
    return build_set(out, plan, workers=workers, overwrite=overwrite, resume=resume, progress=report)


class _SceneTally:
    """Counts a set of scenes; see :class:`~mmgrad_explain.data.set_builder.Tally`."""

    def __init__(self, edits_per_scene: int) -> None:
        self.edits_per_scene = edits_per_scene
        self.edits: Counter[str] = Counter()
        self.named_by: Counter[str] = Counter()
        self.partnered = 0

    def add(self, _entry: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> None:
        """Count the triplets of some scenes."""
        for record in records:
            self.edits[record["edit"]] += 1
            self.named_by[record["qualifier"]] += 1
            self.partnered += bool(record["contrast_ids"])

    def summarize(self) -> dict[str, Any]:
        """Return the entries of the manifest."""
        return {
            "scenes": -(-self.edits.total() // self.edits_per_scene),
            "edits": dict(sorted(self.edits.items())),
            "named by": dict(sorted(self.named_by.items())),
            "with contrast partners": self.partnered,
        }

    def texts(self) -> dict[str, str]:
        """Return no text file: drawn scenes need no licence."""
        return {}


def _describe(options: SceneSetOptions) -> Mapping[str, Any]:
    """Return the options as they are read from a manifest."""
    described: dict[str, Any] = json.loads(json.dumps(asdict(options)))
    return described
