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


def test_a_person_is_the_same_each_time():
    person = DrawnPerson((("shoes", "black"), ("trousers", "striped blue")), 2)
    drawn = person.draw()
    assert (drawn.size, drawn.mode) == ((WIDTH, HEIGHT), "RGB")
    assert drawn.tobytes() == person.draw().tobytes()
    assert drawn.tobytes() != DrawnPerson(person.garments, 3).draw().tobytes()  # another street


def test_stripes_lie_on_the_garment_alone():
    plain, striped = (
        np.asarray(DrawnPerson((("skirt", colour),)).draw()).astype(int) for colour in ("green", "striped green")
    )
    changed = np.abs(plain - striped).max(2) > 30
    rows = np.nonzero(changed.any(1))[0]
    assert 0.47 * HEIGHT < rows.min() < rows.max() < 0.71 * HEIGHT
    assert 0.2 < changed[200:240, 110:130].mean() < 0.8
