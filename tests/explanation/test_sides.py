"""Which image a map is of."""

from dataclasses import replace

import pytest

from mmgrad_explain.errors import InputError


def test_no_target(explanation):
    with pytest.raises(InputError, match="target: the layer ran once, so there is no map of a target"):
        replace(explanation, calls=explanation.calls[:1]).heatmap(0, target=True)
