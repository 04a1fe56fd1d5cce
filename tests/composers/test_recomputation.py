"""Activations that are computed again instead of kept."""

import pytest
import torch
from torch import nn

from mmgrad_explain.composers.base import Composer
from mmgrad_explain.composers.recomputation import recompute_activations
from mmgrad_explain.errors import InputError


class Encoder(nn.Module):
    """As a model of transformers that can do it."""

    supports_gradient_checkpointing = True

    def __init__(self):
        super().__init__()
        self.vision = nn.Sequential(nn.Linear(2, 2))
        self.enabled = None

    def gradient_checkpointing_enable(self, options):
        self.enabled = options


class Wrapped(Composer):
    target_layer = "model.vision.0"

    def __init__(self):
        super().__init__()
        self.model = Encoder()


def test_the_model_that_holds_the_layer_does_it():
    composer = Wrapped()
    assert recompute_activations(composer)
    assert composer.model.enabled == {"use_reentrant": False}


def test_the_composer_does_it_itself():
    composer = Wrapped()
    composer.gradient_checkpointing_enable = lambda: setattr(composer, "asked", True)
    assert recompute_activations(composer)
    assert (composer.asked, composer.model.enabled) == (True, None)


def test_a_composer_in_stages_leaves_it_to_training(tiny):
    assert not recompute_activations(tiny)


def test_where_neither_is_possible():
    composer = Wrapped()
    composer.model.vision.requires_grad_(False)
    with pytest.raises(InputError, match=r"model\.vision is frozen and keeps little: set it to false"):
        recompute_activations(composer)
    composer.model = torch.nn.ModuleDict({"vision": nn.Sequential(nn.Linear(2, 2))})
    with pytest.raises(InputError, match=r"Wrapped has no gradient_checkpointing_enable, .*: set it to false"):
        recompute_activations(composer)
