"""What the placements of all generative families share."""

from types import SimpleNamespace

from mmgrad_explain.composers.generative.placements import image_processor_of, stretch


def test_the_image_part_of_a_processor_may_be_the_processor_itself():
    own = SimpleNamespace(size=3)
    assert image_processor_of(own) is own
    assert image_processor_of(SimpleNamespace(image_processor=own)) is own


def test_stretching_fills_the_frame():
    placement = stretch((30, 50), (60, 25))
    assert (placement.original, placement.input) == ((30, 50), (60, 25))
    assert (placement.scale, placement.offset) == ((2.0, 0.5), (0.0, 0.0))
    assert placement.seen().all()
