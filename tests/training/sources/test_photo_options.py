"""Options of photographs that are refused."""

import pytest

from mmgrad_explain.errors import InputError
from mmgrad_explain.training.sources.photo_options import PhotoOptions


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"free": 1.5}, r"photos\.free is a share, 0 to 1, got 1\.5"),
        ({"portrait": -0.1}, r"photos\.portrait is a share"),
        ({"pairs": -1}, "pairs at least 0"),
        ({"edits": 0}, "pictures and edits must be at least 1"),
        ({"kinds": {"recolor": 1.0}}, "kinds: photographs have no edit 'recolor': did you mean 'recolour'"),
        (
            {"pair_kinds": {"exchange": 1.0}},
            "pair_kinds: photographs have no edit 'exchange': .*use recolour, remove, add",
        ),
        ({"kinds": {"recolour": 0.0}}, "one of them above 0"),
        ({"pair_kinds": {"add": -1.0, "remove": 2.0}}, "from 0 on"),
        ({"kinds": {}}, "give each kind how often it is drawn"),
    ],
)
def test_options_without_sense_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        PhotoOptions(**options)
