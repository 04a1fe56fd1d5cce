"""The files of a run folder, and resuming from it."""

from __future__ import annotations

import json
import os
import platform
import shutil
from contextlib import contextmanager, nullcontext, suppress
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.files import atomic_file, remove_left_overs
from mmgrad_explain._system.locking import locked
from mmgrad_explain._system.user_files import parse_yaml, read_text, reading, reason_of
from mmgrad_explain._version import __version__
from mmgrad_explain.errors import InputError, OutputExistsError
from mmgrad_explain.training.config_file import config_from, config_values, dump_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from mmgrad_explain.training.config import TrainingConfig

CONFIG, VERSIONS, METRICS = "config.yaml", "versions.json", "metrics.jsonl"
MAPS_PICTURE, MAPS_ARRAYS = "maps.png", "maps.npz"
CHECKPOINTS, MODEL, TENSORBOARD, WANDB_ID = "checkpoints", "model", "tensorboard", "wandb_id.txt"
BEST, EMA_FILE, SUBMISSIONS = "best.safetensors", "ema.safetensors", "submissions"

_NAMES = (VERSIONS, METRICS, MAPS_PICTURE, MAPS_ARRAYS, CHECKPOINTS, MODEL, TENSORBOARD, WANDB_ID, SUBMISSIONS)
_STATE = {".bin", ".json", ".pt", ".pth", ".safetensors", ".tmp"}  # of a checkpoint's files

_FIXED = ("seed", "model", "sources", "mix", "ema")
"""Options that must not change when a run is resumed."""

_ROOM = 2**20
"""Free bytes below which a disk counts as full."""

_PACKAGES = ("torch", "transformers", "accelerate", "peft", "timm", "numpy", "pillow", "safetensors")


def check_folder(config: TrainingConfig, out: Path, *, resume: bool) -> None:
    """Check, before anything is written, that a run can use a folder.

    Raises:
        OutputExistsError: If it holds a run and ``resume`` is False, or no run but a file with a name that a run uses.
        InputError: If it is a file, or its run was started with another seed, model or sources.
    """
    _check_no_file(out)
    saved = out / CONFIG
    if not saved.exists():
        there = next((name for name in _NAMES if (out / name).exists()), None)
        if there is not None:
            raise OutputExistsError(
                f"{out} holds {there}, but no run: a run would write over it; choose another folder, or move it away"
            )
        return
    if not resume:
        raise OutputExistsError(f"{out} holds a run already: pass --resume to go on with it, or choose another folder")
    with reading(f"{saved} cannot be read"):
        before = config_values(config_from(parse_yaml(read_text(saved), f"{saved} is no YAML")))
    now = config_values(config)
    changed = [name for name in _FIXED if before[name] != now[name]]
    if changed:
        raise InputError(f"{out} holds a run with another {', '.join(changed)}: use the same, or another --out")


def run_lock(out: Path) -> AbstractContextManager[None]:
    """Lock a folder against other runs; of several processes of one run, the first takes the lock.

    Raises:
        InputError: If another run uses the folder, or it is a file.
    """
    _check_no_file(out)
    return _locked_run(out) if os.environ.get("RANK", "0") == "0" else nullcontext()


@contextmanager
def _locked_run(out: Path) -> Iterator[None]:
    with locked(out):
        for folder in (out, out / CHECKPOINTS):
            remove_left_overs(folder)
        yield


def _check_no_file(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: name a folder for the run")


def write_description(config: TrainingConfig, out: Path) -> None:
    """Write the options and the versions into a folder, which is made if needed."""
    with atomic_file(out / CONFIG, overwrite=True) as stream:
        stream.write(dump_config(config).encode())
    with atomic_file(out / VERSIONS, overwrite=True) as stream:
        stream.write((json.dumps({"seed": config.seed, **versions()}, indent=2) + "\n").encode())


def versions() -> dict[str, str]:
    """Return the versions of the packages, Python and the machine."""
    import torch

    found = {"mmgrad_explain": __version__, "python": platform.python_version(), "machine": platform.platform()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    if torch.cuda.is_available():
        found["device"] = torch.cuda.get_device_name()
    return found


def recover_last_checkpoint(folder: Path, *, average: bool) -> Path | None:
    """Return the last complete checkpoint, and remove the run's files from newer, incomplete ones.

    Args:
        folder: Folder with the checkpoints.
        average: Whether a complete checkpoint has a moving average.
    """
    last = find_complete_checkpoint(folder, average=average)
    for path in _checkpoints(folder):
        if path == last:
            break
        for file in path.iterdir():
            if file.suffix in _STATE and file.is_file():
                file.unlink()
        with suppress(OSError):  # it holds other files
            path.rmdir()
    return last


def find_complete_checkpoint(folder: Path, *, average: bool) -> Path | None:
    """Return the last complete checkpoint, without changing anything.

    Args:
        folder: Folder with the checkpoints.
        average: Whether a complete checkpoint has a moving average.
    """
    complete = (
        path for path in _checkpoints(folder) if _is_complete(path) and (not average or (path / EMA_FILE).is_file())
    )
    return next(complete, None)


def step_of(checkpoint: Path) -> int:
    """Return the step of a checkpoint."""
    return int(checkpoint.name.rpartition("-")[2])


def _checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints, the newest first."""
    found = [path for path in folder.glob("checkpoint-*") if path.name.rpartition("-")[2].isdecimal()]
    return sorted(found, key=step_of, reverse=True)


@contextmanager
def translate_write_errors(folder: Path) -> Iterator[None]:
    """Turn errors of torch and safetensors while a checkpoint is written into one message.

    Raises:
        InputError: If the system refuses to write, or the disk is full.
    """
    try:
        yield
    except Exception as error:
        full = shutil.disk_usage(folder).free < _ROOM or "No space left" in str(error)
        if not (full or isinstance(error, OSError)):
            raise
        why = "the disk is full" if full else reason_of(error)
        raise InputError(
            f"no checkpoint can be written into {folder}: {why}: make room, and go on from the one before with --resume"
        ) from error


def _is_complete(checkpoint: Path) -> bool:
    """Return whether a checkpoint is complete: the trainer's state is written last."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return True


def load_best(path: Path, composer: Any) -> int | None:
    """Load the best weights into a composer and return their step; None if none were kept.

    Raises:
        InputError: If the file is damaged.
    """
    if not path.exists():
        return None
    from safetensors import safe_open

    with reading(f"{path} cannot be read"):
        with safe_open(path, "pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
            step = int(file.metadata()["step"])
        composer.load_state_dict(weights)
    return step
