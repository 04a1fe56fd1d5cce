"""Nested inputs and outputs: walked in order, copied only where something changed."""

from collections import OrderedDict, UserDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch

from mmgrad_explain.attention.running.structures import (
    find_packed_patches,
    holds_strings,
    image_size,
    map_tensors,
    tensors_in,
)

A, B = torch.zeros(2), torch.ones(3)


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclass(frozen=True)
class Frozen:
    tensor: Any
    name: str = "name"


@dataclass
class Open:
    tensor: Any
    rest: Any = None


NESTS = [
    (A, B),
    [A, None, B],
    {"a": A, "b": {"c": B}},
    OrderedDict(a=A, b=(B,)),
    UserDict(a=A, b=B),
    Pair(A, [B]),
    Frozen(Open(A, Pair(3, B))),
]


@pytest.mark.parametrize("nest", NESTS, ids=lambda nest: type(nest).__name__)
def test_every_tensor_is_met_and_changed_in_a_copy(nest):
    assert [tensor is other for tensor, other in zip(tensors_in(nest), (A, B), strict=True)] == [True, True]
    made = map_tensors(nest, lambda tensor: tensor + 1)
    assert type(made) is type(nest)
    assert [tensor.tolist() for tensor in tensors_in(made)] == [[1, 1], [2, 2, 2]]
    assert [tensor.tolist() for tensor in tensors_in(nest)] == [[0, 0], [1, 1, 1]]
    assert map_tensors(nest, lambda tensor: tensor) is nest


def test_model_output_keeps_its_fields_and_keys():
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    output = BaseModelOutputWithPooling(last_hidden_state=A, pooler_output=B)
    made = map_tensors(output, lambda tensor: tensor + 1 if tensor is A else tensor)
    assert type(made) is BaseModelOutputWithPooling
    assert made.last_hidden_state is made["last_hidden_state"]
    assert made[0].tolist() == [1, 1]
    assert made.pooler_output is B
    assert output.last_hidden_state is A


@pytest.mark.parametrize("value", [None, 3, "words", {1, 2}, Frozen, object()])
def test_what_holds_no_tensor(value):
    assert list(tensors_in(value)) == []
    assert map_tensors(value, lambda tensor: tensor + 1) is value


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ((torch.zeros(1, 3, 4, 5), torch.zeros(1, 1, 8, 9)), (8, 9)),
        ({"a": torch.zeros(2, 3, 8, 9), "b": torch.zeros(2, 3, 4, 5)}, (8, 9)),
        (torch.zeros(2, 4, 8, 9), None),
        (torch.zeros(2, 3, 8, 9, dtype=torch.int64), None),
        (torch.zeros(2, 3, 8, 9, dtype=torch.uint8), (8, 9)),
        ({"pixel_values": torch.zeros(2, 9, 192), "spatial_shapes": torch.tensor([[2, 4]] * 2)}, (16, 32)),
        (torch.zeros(3, 8, 9), None),
        (torch.zeros(2, 3, 1, 1), None),
        ("words", None),
    ],
)
def test_image_size(value, size):
    assert image_size(value) == size


GIVEN = {"pixel_values": torch.zeros(2, 9, 48), "spatial_shapes": torch.tensor([[2, 4], [2, 4]])}


class TestPackedPatches:
    @pytest.mark.parametrize("value", [GIVEN, (GIVEN,), {"batch": [None, GIVEN]}, ((), GIVEN)])
    def test_found(self, value):
        packed = find_packed_patches(value)
        assert packed is not None
        assert packed.patches is GIVEN["pixel_values"]
        assert (packed.grid, packed.side) == ((2, 4), 4)

    @pytest.mark.parametrize(
        "change",
        [
            {"spatial_shapes": torch.tensor([[2, 4], [4, 2]])},
            {"spatial_shapes": None},
            {"pixel_values": torch.zeros(2, 3, 8, 8)},
        ],
    )
    def test_none(self, change):
        assert find_packed_patches({**GIVEN, **change}) is None
        assert find_packed_patches(torch.zeros(2)) is None


@pytest.mark.parametrize(
    ("value", "holds"),
    [("a", True), (["a"], True), ({"texts": ((3, "a"),)}, True), ({"name": 3}, False), ((A, None), False)],
)
def test_holds_strings(value, holds):
    assert holds_strings(value) is holds
