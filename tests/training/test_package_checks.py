"""Packages that only some options need."""

import pytest

from mmgrad_explain.errors import InputError
from mmgrad_explain.training.package_checks import require_package, require_wandb


def test_an_installed_package():
    require_package("torch", "training")


def test_a_missing_package(monkeypatch):
    with pytest.raises(InputError, match=r"lora needs surely_missing, .*: pip install 'mmgrad-explain\[train\]'"):
        require_package("surely_missing", "lora")
    monkeypatch.setattr("mmgrad_explain.training.package_checks.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"wandb: true needs wandb, .*: pip install wandb"):
        require_wandb()
