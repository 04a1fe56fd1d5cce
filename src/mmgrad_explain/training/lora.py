"""Add low-rank adapters (LoRA) of peft to a composer. The layers of the composer keep their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgrad_explain.errors import InputError
from mmgrad_explain.training.package_checks import require_package

if TYPE_CHECKING:
    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.training.config import LoraOptions


def add_adapters(composer: Composer, options: LoraOptions) -> None:
    """Add adapters to a composer's backbone and freeze the backbone's own weights.

    Raises:
        InputError: If peft is not installed, the composer has no backbone, or it has no such layers.
    """
    require_package("peft", "lora.rank")
    from peft import LoraConfig, inject_adapter_in_model

    backbones = composer.backbone
    if not backbones:
        raise InputError("lora.rank: this model has no part that was trained before; set it to 0")
    trained = {name for name, parameter in composer.named_parameters() if parameter.requires_grad}
    for name in backbones:
        part = composer.get_submodule(name)
        found = [n for n, _ in part.named_modules() if n.rpartition(".")[2] in options.targets]
        if not found:
            raise InputError(f"lora.targets: {name} has no layer {', '.join(options.targets)}")
        config = LoraConfig(
            r=options.rank, lora_alpha=options.alpha, lora_dropout=options.dropout, target_modules=found, bias="none"
        )
        inject_adapter_in_model(config, part)
        for own, parameter in part.named_parameters():
            parameter.requires_grad_("lora_" in own)
    for name, parameter in composer.named_parameters():  # peft freezes the rest of the backbone only
        if not any(name.startswith(f"{part}.") for part in backbones):
            parameter.requires_grad_(name in trained)


def merge_adapters(composer: Composer) -> Composer:
    """Add the adapters to the weights that they adapt and remove them; without adapters nothing changes."""
    import sys

    if "peft" not in sys.modules:
        return composer
    from peft.tuners.tuners_utils import BaseTunerLayer

    adapted = [(name, module) for name, module in composer.named_modules() if isinstance(module, BaseTunerLayer)]
    for name, module in adapted:
        module.merge(safe_merge=True)
        parent, _, last = name.rpartition(".")
        setattr(composer.get_submodule(parent), last, module.get_base_layer())
    return composer
