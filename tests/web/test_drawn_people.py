"""Drawn people, and what a change of a garment changes."""

import numpy as np
import pytest

from mmgrad_explain.errors import InputError
from mmgrad_explain.web.drawn_people import HEIGHT, WIDTH, DrawnPerson


def test_figures_change_where_the_garment_is():
    figure = DrawnPerson((("shoes", "black"), ("dress", "blue")), 1)
    before, after = (np.asarray(one.draw()).astype(int) for one in (figure, figure.wearing("dress", "red")))
    changed = np.abs(before - after).max(2) > 30
    assert changed[150:240, 100:140].all()  # the dress
    assert not changed[:60].any()
    assert not changed[310:].any()
    with pytest.raises(InputError, match="garment 'hat': the figure wears shoes, dress"):
        figure.wearing("hat", "red")
