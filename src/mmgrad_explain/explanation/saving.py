"""Write an explanation into a folder, all or nothing."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmgrad_explain._system.files import atomic_file, behind_links, put_folder
from mmgrad_explain.errors import InputError, OutputExistsError
from mmgrad_explain.explanation.drawing import draw_overlay
from mmgrad_explain.explanation.sides import map_of, sides_with_maps

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from mmgrad_explain.explanation.heatmaps import Heatmaps
    from mmgrad_explain.explanation.words import Word
    from mmgrad_explain.images.placement import Placement

MANIFEST = "manifest.json"
FORMAT = "mmgrad_explain.explanation/1"
_FILES = re.compile(r"manifest\.json|maps\.npz|overlay_\d{4,}\.png")


def save_folder(folder: str | os.PathLike[str], write: Callable[[Path], None], *, overwrite: bool = False) -> Path:
    """Create the folder of an explanation.

    Args:
        folder: The new folder; the folders above it must exist.
        write: Writes the files into a folder.
        overwrite: Replace an explanation that was saved there; until the new one is complete the old one stays.

    Returns:
        The folder.

    Raises:
        OutputExistsError: the folder exists and ``overwrite`` is off, or it is not a saved explanation, or holds
            other files too.
        InputError: the folder cannot be written.
    """
    _refuse_existing(Path(folder), overwrite=overwrite)
    goal = behind_links(Path(folder))
    try:
        work = Path(tempfile.mkdtemp(prefix=f".{goal.name}-", dir=goal.parent))
    except OSError as error:
        raise InputError(f"folder: {goal} cannot be written ({error.strerror})") from error
    try:
        write(work)
        work.chmod(0o755)
        put_folder(work, goal)
    except OSError as error:
        raise InputError(f"folder: {goal} cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Path(folder)


def write_explanation(explanation: Heatmaps, folder: Path) -> None:
    """Write ``maps.npz``, the manifest, and an overlay of each sample where the images are known."""
    from mmgrad_explain.images.saving import safe_save

    arrays: dict[str, Any] = {"score": explanation.score, "flat": explanation.flat, "clipped": explanation.clipped}
    arrays |= {("maps" if index == 0 else f"maps_call{index}"): maps for index, maps in enumerate(explanation.calls)}
    arrays |= {f"signed/{name}/{i}": maps for name, calls in explanation.signed.items() for i, maps in enumerate(calls)}
    np.savez_compressed(folder / "maps.npz", **{name: array.cpu().numpy() for name, array in arrays.items()})
    if explanation.images is not None:
        for index in range(len(explanation)):
            safe_save(draw_overlay(explanation, index), folder / f"overlay_{index:04d}.png")
    text = json.dumps(explanation_to_dict(explanation), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def write_arrays(
    explanation: Heatmaps, path: str | os.PathLike[str], index: int = 0, *, overwrite: bool = False
) -> None:
    """Write one sample's arrays; see :meth:`~mmgrad_explain.explanation.Explanation.save_arrays`."""
    arrays: dict[str, Any] = {"score": explanation.score[index].cpu().numpy()}
    for target in sides_with_maps(explanation):
        prefix = "target_" if target else ""
        arrays[prefix + "heatmap"] = explanation.heatmap(index, target=target)
        arrays[prefix + "map"] = map_of(explanation, index, target=target).cpu().numpy()
    with atomic_file(Path(path), overwrite=overwrite) as stream:
        np.savez_compressed(stream, **arrays)


def explanation_to_dict(explanation: Heatmaps) -> dict[str, Any]:
    """Return everything but tensors and images, ready for JSON."""
    return {
        "format": FORMAT,
        "model": explanation.model,
        "model_choice": explanation.model_choice or None,
        "score_name": explanation.score_name,
        "score": explanation.score.tolist(),
        "method": explanation.method,
        "fuse": explanation.fuse,
        "layers": {name: [list(maps.shape) for maps in calls] for name, calls in explanation.layers.items()},
        "layouts": {name: list(of_calls) for name, of_calls in explanation.layouts.items()},
        "maps": [list(maps.shape) for maps in explanation.calls],
        "flat": explanation.flat.tolist(),
        "clipped": explanation.clipped.tolist(),
        "notes": [note.to_dict() for note in explanation.notes],
        "input_size": None if explanation.input_size is None else list(explanation.input_size),
        "image_names": list(explanation.image_names),
        "image_sizes": [list(size) for size in explanation.image_sizes],
        "image_of_calls": list(explanation.image_of_calls),
        "texts": None if explanation.texts is None else list(explanation.texts),
        "answers": None if explanation.answers is None else list(explanation.answers),
        "placements": _to_dicts(explanation.placements),
        "target_placements": _to_dicts(explanation.target_placements),
        "words_by": list(explanation.words_by),
        "words": None if explanation.words is None else [_to_dicts(words) for words in explanation.words],
        "checks": [check.to_dict() for check in explanation.checks],
        "versions": dict(explanation.versions),
    }


def _to_dicts(items: Sequence[Placement] | Sequence[Word] | None) -> list[dict[str, Any]] | None:
    return None if items is None else [item.to_dict() for item in items]


def _refuse_existing(goal: Path, *, overwrite: bool) -> None:
    if not goal.exists() and not goal.is_symlink():
        return
    if not overwrite:
        raise OutputExistsError(f"folder: {goal} exists; choose another one or pass overwrite=True")
    other = _describe_other_content(goal)
    if other is not None:
        raise OutputExistsError(
            f"folder: {goal} holds something else than a saved explanation and is not replaced{other}"
        )


def _describe_other_content(goal: Path) -> str | None:
    """Name a file that does not belong to a saved explanation; None for a saved explanation or an empty folder."""
    if not goal.is_dir():
        return ""
    names = sorted(path.name for path in goal.iterdir())
    if not names:
        return None
    try:
        manifest = json.loads((goal / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return ""
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        return ""
    return next((f": {name}" for name in names if not (_FILES.fullmatch(name) and (goal / name).is_file())), None)
