"""How much one visitor may ask for."""

import pytest

from mmgrad_explain.errors import InputError
from mmgrad_explain.web.limits import Limits


@pytest.mark.parametrize("name", ["upload_mb", "pixels", "texts", "characters", "waiting"])
def test_limits_are_positive(name):
    for value in (0, -1, float("nan")):
        with pytest.raises(InputError, match=f"max-{name.replace('_', '-')} must be above 0, got {value}"):
            Limits(**{name: value})
    assert Limits(upload_mb=1.5).upload_bytes == 1_500_000
