"""Options of edited photographs."""

import pytest

from mmgrad_explain.data.edits.options import EditOptions, OutputOptions
from mmgrad_explain.errors import InputError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": ("recolor",)}, "kinds: there is no edit 'recolor': did you mean 'recolour'"),
        ({"kinds": ()}, "kinds is empty"),
        ({"seed": -1}, "seed must not be negative"),
        ({"size": 16}, "size must be between 32 and 4096 pixels, got 16"),
        ({"edits_per_image": 0}, "edits_per_image must be between 1 and 32"),
        ({"min_area": 0.5, "max_area": 0.4}, "areas must be 0 <= min_area < max_area <= 1, got 0.5 and 0.4"),
        ({"min_change": 100}, "min_change must be between 0 and 60"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        EditOptions(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 0}, "folds must be at least 1, got 0"),
        ({"format": "gif"}, "format must be 'jpg' or 'png', not 'gif'"),
    ],
)
def test_bad_ways_of_writing_are_named(options, message):
    with pytest.raises(InputError, match=message):
        OutputOptions(**options)
