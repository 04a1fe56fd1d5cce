"""Checks of numbers in options."""

from types import SimpleNamespace

import pytest

from mmgrad_explain.errors import InputError
from mmgrad_explain.training.option_checks import check_at_least_one, check_not_negative, check_positive


@pytest.mark.parametrize(
    ("check", "good", "bad", "message"),
    [
        (check_not_negative, 0.0, -0.5, "loss.weight must be at least 0, got -0.5"),
        (check_at_least_one, 1, 0, "loss.weight must be at least 1, got 0"),
        (check_positive, 0.1, 0.0, "loss.weight must be above 0, got 0.0"),
    ],
)
def test_a_number_out_of_range_is_refused(check, good, bad, message):
    check("loss.", SimpleNamespace(weight=good, other=bad), "weight")
    for number in (bad, float("nan")):
        with pytest.raises(InputError) as caught:
            check("loss.", SimpleNamespace(weight=number), "weight")
        assert str(caught.value).startswith(message.partition(", got")[0])
    with pytest.raises(InputError, match=message):
        check("loss.", SimpleNamespace(weight=bad), "weight")
