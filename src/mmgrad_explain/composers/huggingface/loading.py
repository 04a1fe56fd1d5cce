"""Read and write models of transformers in folders."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from mmgrad_explain.composers.files import SAFETENSORS, read_weights
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_INDEX = f"{SAFETENSORS}.index.json"


def read_model(folder: Path, model_class: str, title: str, *, keep_dtype: bool = False, prefix: str = "") -> Any:
    """Read a model of transformers with its weights; no code in its folder is run.

    Args:
        folder: With config and weights.
        model_class: Its class in transformers.
        title: What people call it, for messages.
        keep_dtype: Whether the weights keep the precision of the file; otherwise they become float32.
        prefix: The prefix of its weights' names, in the file of a larger model.

    Raises:
        InputError: If weights are missing or damaged, or do not fit the config.
    """
    import transformers
    from safetensors import SafetensorError

    kind = getattr(transformers, model_class, None)
    if kind is None:
        raise InputError(f"{model_class} is not in transformers {transformers.__version__}: get a newer one")
    precision = "dtype" if int(transformers.__version__.partition(".")[0]) > 4 else "torch_dtype"
    options: dict[str, Any] = {"output_loading_info": True, **({precision: "auto"} if keep_dtype else {})}
    safe = any((folder / file).is_file() for file in (SAFETENSORS, _INDEX))
    try:
        with silent():
            if safe and not prefix:
                model, report = kind.from_pretrained(folder, use_safetensors=True, local_files_only=True, **options)
            else:
                config = kind.config_class.from_pretrained(folder, local_files_only=True)
                weights = {name.removeprefix(prefix): value for name, value in read_weights(folder).items()}
                model, report = kind.from_pretrained(None, config=config, state_dict=weights, **options)
    except InputError:
        raise
    except SafetensorError as error:
        raise InputError(f"the safetensors file in {folder} is damaged: {error}") from error
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder} cannot be loaded as {title}: {first_line(error)}") from error
    missing = sorted(report["missing_keys"])
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(f"the weights in {folder} do not fit its config.json: {missing[0]}{more} missing")
    return model if keep_dtype else model.float()


def make_readable(folder: Path, config: str) -> None:
    """Give safetensors files, which transformers writes for their owner alone, the mode of the config beside them."""
    for weights in folder.glob("*.safetensors"):
        weights.chmod((folder / config).stat().st_mode)


def first_line(error: BaseException) -> str:
    """Get the first line of an error's message, or the name of its class if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Keep transformers' messages and progress bars off standard error inside the block; errors are still raised."""
    from transformers.utils import logging as transformers_logging

    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
