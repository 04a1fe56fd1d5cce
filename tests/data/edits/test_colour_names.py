"""Names of the colours of objects, whatever their shade."""

import numpy as np
import pytest

from mmgrad_explain.data.edits.colour_names import COLOUR_WORDS, judge_colours, measure_colour_shares, name_cells
from mmgrad_explain.data.edits.operations import apply_edit


def shares_of(image, mask):
    return dict(zip(COLOUR_WORDS, measure_colour_shares(image, mask), strict=True))


@pytest.fixture
def cloth():
    """A gray object with folds on noise, and its mask."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (60, 60, 3), dtype=np.uint8)
    mask = np.zeros((60, 60), bool)
    mask[10:50, 12:48] = True
    folds = 120 + 35 * np.sin(np.arange(60) / 3)[None, :, None]
    image[mask] = np.broadcast_to(folds, image.shape)[mask].astype(np.uint8)
    return image, mask


@pytest.mark.parametrize("word", COLOUR_WORDS)
def test_a_repainted_object_has_its_colour_in_light_and_shade(cloth, word):
    painted = apply_edit("recolour", *cloth, word, np.random.default_rng(1))
    for light in (0.7, 1.0, 1.15) if word not in ("black", "gray", "white", "pink", "brown") else (1.0,):
        shown = np.clip(painted * light, 0, 255).astype(np.uint8)
        judged = judge_colours(measure_colour_shares(shown, cloth[1]))
        assert judged[COLOUR_WORDS.index(word)] == 1, shares_of(shown, cloth[1])
        assert (judged == 1).sum() == 1


def test_only_the_object_counts(cloth):
    image, mask = cloth
    image[~mask] = (255, 0, 0)
    assert shares_of(image, mask)["red"] == 0
    assert shares_of(image, mask)["gray"] > 0.9


def test_two_colours_cannot_be_told_and_absent_ones_can(cloth):
    image, mask = cloth
    image[:, :30] = (200, 20, 30)
    judged = dict(zip(COLOUR_WORDS, judge_colours(measure_colour_shares(image, mask)), strict=True))
    assert judged["red"] == judged["gray"] == -1
    assert judged["green"] == 0


def test_beige_has_no_name_and_nothing_has_no_colour(cloth):
    image, mask = cloth
    image[mask] = (220, 200, 170)
    assert sum(shares_of(image, mask).values()) < 0.1
    assert not measure_colour_shares(image, np.zeros_like(mask)).any()


def test_cells_are_named_by_their_mean_colour():
    images = np.zeros((2, 8, 12, 3), np.uint8)
    images[0, :4, :4] = (200, 20, 20)
    images[1] = 255
    labels = name_cells(images)
    assert labels.shape == (2, 8, 12)
    assert (labels[0, :4, :4] == 1 + COLOUR_WORDS.index("red")).all()
    assert (labels[0, 4:] == 1 + COLOUR_WORDS.index("black")).all()
    assert (labels[1] == 1 + COLOUR_WORDS.index("white")).all()
