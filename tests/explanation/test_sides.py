"""Which image a map is of."""

from dataclasses import replace

import pytest

from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.sides import call_of, map_of, sides_with_maps, size_of


@pytest.fixture
def of_second(explanation):
    """An explanation by a layer that depends on the second image alone."""
    return replace(
        explanation,
        calls=explanation.calls[:1],
        image_names=("reference", "target"),
        image_sizes=((16, 24), (32, 48)),
        image_of_calls=(1,),
    )


def test_the_first_two_calls_without_names_of_images(explanation):
    assert sides_with_maps(explanation) == (False, True)
    assert [call_of(explanation, target=target) for target in (False, True)] == [0, 1]
    assert sides_with_maps(replace(explanation, calls=explanation.calls[:1])) == (False,)
    assert size_of(explanation, target=True) == explanation.input_size


def test_the_calls_of_each_image(explanation):
    swapped = replace(explanation, image_names=("a", "b"), image_of_calls=(1, 0))
    assert [call_of(swapped, target=target) for target in (False, True)] == [1, 0]
    assert map_of(swapped, 1, target=True) is not map_of(swapped, 1, target=False)
    assert map_of(swapped, 1, target=True).equal(explanation.calls[0][1])


def test_a_map_of_the_second_image_alone(of_second):
    assert sides_with_maps(of_second) == (True,)
    assert call_of(of_second, target=True) == 0
    assert size_of(of_second, target=True) == (32, 48)
    with pytest.raises(InputError, match="the map is of 'target': the layer does not depend on 'reference'; ask with"):
        call_of(of_second, target=False)


def test_no_target(explanation):
    with pytest.raises(InputError, match="target: the layer ran once, so there is no map of a target"):
        replace(explanation, calls=explanation.calls[:1]).heatmap(0, target=True)
    named = replace(explanation, calls=explanation.calls[:1], image_names=("a", "b"), image_of_calls=(0,))
    with pytest.raises(InputError, match="target: there is no map of 'b': the layer does not depend on it"):
        call_of(named, target=True)
