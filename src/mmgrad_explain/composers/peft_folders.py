"""Load folders of PEFT's adapters: ``adapter_config.json`` names the base model that the adapters belong to.

Source of the format: PEFT's ``save_pretrained``; Hu et al., LoRA, arXiv 2106.09685. No code in a folder is run.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain.composers.in_memory import check_adapters
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmgrad_explain.composers.base import Composer

CONFIG_FILE = "adapter_config.json"
WEIGHT_FILES = ("adapter_model.safetensors", "adapter_model.bin")


def load_adapted(folder: Path, name: str, load: Callable[[str], Composer]) -> Composer:
    """Load the base model of an adapter folder, with the adapters in its layers.

    Args:
        folder: Holds ``adapter_config.json`` and the adapters' weights.
        name: What the model is called.
        load: Loads the base model, a folder or a hub id.

    Raises:
        InputError: peft is not installed, the folder names no base model, the base model cannot be loaded, or the
            adapters do not fit it.
    """
    base = _base_of(folder)
    if not any((folder / file).is_file() for file in WEIGHT_FILES):
        raise InputError(f"{folder} has no adapters: expected {WEIGHT_FILES[0]} (or {WEIGHT_FILES[1]})")
    try:
        from peft import PeftConfig, PeftModel, get_peft_model_state_dict, load_peft_weights
    except ImportError as error:
        message = f"{name} holds adapters of PEFT, which cannot be imported ({error})"
        raise InputError(f'{message}: pip install "mmgrad-explain[train]"') from error
    composer: Any = load(base)
    if not hasattr(composer, "model"):
        raise InputError(f"{folder}: adapters go into models of transformers and of open_clip, and {base} is neither")
    try:
        check_adapters([PeftConfig.from_pretrained(str(folder))])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is missing is found below, and raised
            model = PeftModel.from_pretrained(composer.model, str(folder))
        wanted = set(get_peft_model_state_dict(model, save_embedding_layers=False))
        given = set(load_peft_weights(str(folder), device="cpu"))
    except InputError:
        raise
    except Exception as error:  # peft, safetensors, pickle and torch raise all sorts of things
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"the adapters in {folder} cannot be put into {base}: {reason}") from error
    unlike = (wanted - given) | (given - wanted - set(model.state_dict()))  # whole embeddings may come along
    if unlike:
        first = min(unlike)
        raise InputError(f"the adapters in {folder} do not fit {base}: {first} is in only one of the two")
    composer.name = name
    return composer.eval()  # type: ignore[no-any-return]


def _base_of(folder: Path) -> str:
    """Return the base model that the config names: a hub id, or a folder, relative to here or to the adapters'."""
    path = folder / CONFIG_FILE
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    base = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    if not isinstance(base, str) or not base.strip():
        raise InputError(
            f"{path} names no base model (base_model_name_or_path): load it, put the adapters into it "
            "(PeftModel.from_pretrained(model, folder)), and hand in the model with its processor"
        )
    beside = folder / base
    found = base if Path(base).expanduser().is_dir() or not beside.is_dir() else str(beside)
    if Path(found).expanduser().is_dir() and Path(found).expanduser().samefile(folder):
        raise InputError(f"{path} names its own folder as the base model: put the adapters into a folder of their own")
    return found
