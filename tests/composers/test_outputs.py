"""Reading what any model gave."""

from types import SimpleNamespace

import pytest
import torch

from mmgrad_explain.composers.outputs import (
    ComposedOutput,
    TwoTowerOutput,
    check_parts,
    image_alone,
    reference_alone,
    text_alone,
)
from mmgrad_explain.errors import InputError


def test_the_parts_of_two_towers():
    image, text = torch.ones(1, 2), torch.zeros(1, 2)
    output = TwoTowerOutput(image + text, text, None, None, None, image, text)
    assert (image_alone(output), text_alone(output)) == (image, text)
    assert reference_alone(output).equal(image)


def test_parts_of_any_output():
    one = torch.ones(1, 2)
    assert reference_alone(ComposedOutput(3 * one, one)).equal(2 * one)
    assert reference_alone(ComposedOutput(3 * one, one, alone=5 * one)).equal(5 * one)
    assert (text_alone(ComposedOutput(one, one)), image_alone(SimpleNamespace(image=one))) == (None, None)
    check_parts(ComposedOutput(one, one), ("embedding", "shift"), "to be trained")
    with pytest.raises(InputError, match=r"^to be trained a .*\.shift, \.target, .*ComposedOutput\) has no \.target"):
        check_parts(ComposedOutput(one, one), ("shift", "target"), "to be trained")
