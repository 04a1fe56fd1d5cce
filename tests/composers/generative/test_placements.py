"""The placement of an image that is stretched to a frame."""

from mmgrad_explain.composers.generative.placements import stretch


def test_stretching_fills_the_frame():
    placement = stretch((30, 50), (60, 25))
    assert (placement.original, placement.input) == ((30, 50), (60, 25))
    assert (placement.scale, placement.offset) == ((2.0, 0.5), (0.0, 0.0))
    assert placement.seen().all()
