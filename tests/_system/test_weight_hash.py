"""Hashing the weights of a model."""

import hashlib

import torch
from torch import nn

from mmgrad_explain._system.weight_hash import update_by_weights


def digest(model):
    found = hashlib.blake2b(digest_size=8)
    update_by_weights(found, model)
    return found.hexdigest()


def test_the_same_weights_have_the_same_hash():
    torch.manual_seed(0)
    model = nn.Linear(2, 3)
    other = nn.Linear(2, 3)
    other.load_state_dict(model.state_dict())
    assert digest(model) == digest(other)


def test_one_changed_number_changes_it():
    model = nn.Linear(2, 3)
    before = digest(model)
    with torch.no_grad():
        model.bias[1] += 1e-3
    assert digest(model) != before


def test_types_shapes_and_names_count():
    model = nn.Linear(2, 2, bias=False)
    assert digest(model) != digest(nn.Sequential(model))
    assert digest(nn.Linear(2, 2, bias=False).half()) != digest(nn.Linear(2, 2, bias=False).bfloat16())


def test_weights_without_values_are_hashed_by_their_shape():
    assert digest(nn.Linear(2, 3, device="meta")) == digest(nn.Linear(2, 3, device="meta"))
    assert digest(nn.Linear(2, 3, device="meta")) != digest(nn.Linear(2, 4, device="meta"))
