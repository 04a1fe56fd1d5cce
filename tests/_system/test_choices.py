"""Choices by name or callable: what is found, and what each message says."""

import pytest
import torch

from mmgrad_explain._system.choices import check_choice, check_returned, choose, name_of
from mmgrad_explain.errors import InputError

KNOWN = {"upper": str.upper, "lower": str.lower}


def test_a_name_gives_its_value_and_a_callable_itself():
    assert choose("case", "upper", KNOWN) is str.upper
    assert choose("case", str.title, KNOWN) is str.title


@pytest.mark.parametrize(
    ("name", "noun", "also", "message"),
    [
        ("uper", "", "", "case: there is no 'uper'; did you mean 'upper'? Known: upper, lower"),
        (None, "", "", "case: there is no None; Known: upper, lower"),
        ("zzz", "letter case", "a number", "case: there is no letter case 'zzz'; Known: upper, lower, or a number"),
    ],
)
def test_an_unknown_name_is_refused_with_the_list(name, noun, also, message):
    with pytest.raises(InputError) as caught:
        check_choice("case", name, KNOWN, noun=noun, also=also)
    assert str(caught.value) == message


def test_a_choice_is_a_name_or_a_callable():
    with pytest.raises(InputError, match="there is no 'titel'; Known: upper, lower, or any callable"):
        choose("case", "titel", KNOWN)
    with pytest.raises(TypeError, match="case must be a name or a callable of a text, not int"):
        choose("case", 3, KNOWN, takes="a text")


def test_what_a_callable_returns_has_a_shape():
    check_returned("form", torch.zeros(2), (2,), "two numbers")
    with pytest.raises(TypeError, match="form must return a tensor, not list"):
        check_returned("form", [0, 0], (2,), "two numbers")
    with pytest.raises(InputError, match=r"form must return two numbers, not \(3,\)"):
        check_returned("form", torch.zeros(3), (2,), "two numbers")


def test_callables_have_names():
    class Mean:
        def __call__(self, values):
            return values

    assert (name_of(len), name_of(Mean())) == ("len", "Mean")
