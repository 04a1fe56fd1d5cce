"""Low-rank adapters: added, trained, merged."""

import sys

import pytest
import torch

from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.errors import InputError
from mmgrad_explain.training import package_checks
from mmgrad_explain.training.config import LoraOptions, ModelOptions
from mmgrad_explain.training.lora import merge_adapters
from mmgrad_explain.training.models import save_composer, starting_composer
from mmgrad_explain.training.objective.grounded_objective import GroundedObjective
from mmgrad_explain.training.objective.options import ObjectiveOptions

LORA = LoraOptions(rank=2)


def parameters_trained(composer):
    return {name for name, parameter in composer.named_parameters() if parameter.requires_grad}


def test_adapters_are_trained_and_merged(clip_folder, tmp_path):
    composer = starting_composer(ModelOptions(path=str(clip_folder), combiner_width=16, lora=LORA), ())
    trained = parameters_trained(composer)
    assert any("vision_model" in name and "lora_" in name for name in trained)
    assert any("text_model" in name and "lora_" in name for name in trained)
    assert all("lora_" in name or name.startswith("combiner.") for name in trained)
    GroundedObjective(composer, ObjectiveOptions())
    composer.get_submodule(composer.target_layer)
    for name, parameter in composer.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    inputs = {
        "pixel_values": torch.randn(2, 3, 32, 32),
        "input_ids": torch.tensor([[1, 3, 2], [1, 4, 2]]),
        "attention_mask": torch.ones(2, 3, dtype=torch.long),
    }
    expected = composer.eval()(**inputs).embedding
    save_composer(composer, tmp_path / "model")
    read = load_composer(tmp_path / "model")
    torch.testing.assert_close(read(**inputs).embedding, expected, rtol=1e-4, atol=1e-5)
    assert parameters_trained(composer) == trained


def test_adapters_that_do_not_fit(clip_folder, small_sizes, monkeypatch):
    with pytest.raises(InputError, match="no part that was trained before; set it to 0"):
        starting_composer(ModelOptions(sizes=small_sizes, lora=LORA), ("red",))
    with pytest.raises(InputError, match=r"lora.targets: clip has no layer qkv"):
        starting_composer(ModelOptions(path=str(clip_folder), lora=LoraOptions(rank=2, targets=("qkv",))), ())
    monkeypatch.setattr(package_checks, "find_spec", lambda name: None)
    with pytest.raises(
        InputError, match=r"lora.rank needs peft, which is not installed: pip install 'mmgrad-explain\[train\]'"
    ):
        starting_composer(ModelOptions(path=str(clip_folder), lora=LORA), ())


def test_without_peft_there_is_nothing_to_merge(small_sizes, monkeypatch):
    composer = starting_composer(ModelOptions(sizes=small_sizes), ("red",))
    monkeypatch.delitem(sys.modules, "peft", raising=False)
    assert merge_adapters(composer) is composer
