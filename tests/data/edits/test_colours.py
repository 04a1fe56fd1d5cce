"""Colours in CIE Lab: conversion, distances to words, repainting."""

import numpy as np
import pytest

from mmgrad_explain.data.edits.colours import (
    COLOURS,
    lab_to_rgb,
    measure_lab_distances,
    measure_mean_lab,
    repaint,
    rgb_to_lab,
)

MASK = np.zeros((20, 20), bool)
MASK[4:16, 4:16] = True


def plain(rgb):
    return np.full((20, 20, 3), rgb, np.uint8)


@pytest.mark.parametrize(
    ("rgb", "lab"), [((0, 0, 0), (0, 0, 0)), ((255, 255, 255), (100, 0, 0)), ((255, 0, 0), (53, 80, 67))]
)
def test_known_colours_in_cie_units(rgb, lab):
    assert np.abs(rgb_to_lab(plain(rgb))[0, 0] - lab).max() < 1
    assert np.abs(measure_mean_lab(plain(rgb), MASK) - lab).max() < 1


def test_conversion_there_and_back():
    image = np.random.default_rng(0).integers(30, 220, (20, 20, 3)).astype(np.uint8)
    assert np.abs(lab_to_rgb(rgb_to_lab(image)).astype(int) - image).max() <= 6
    assert lab_to_rgb(np.array([[[120, 0, 0], [50, 300, 0]]], np.float32)).dtype == np.uint8  # clipped


def test_the_mean_is_of_the_mask_alone():
    image = plain((255, 255, 255))
    image[MASK] = 0
    assert measure_mean_lab(image, MASK)[0] < 1
    assert measure_mean_lab(image, ~MASK)[0] > 99


@pytest.mark.parametrize("word", COLOURS)
def test_each_word_is_nearest_to_its_own_colour(word):
    colour = COLOURS[word]
    image = lab_to_rgb(np.full((20, 20, 3), (sum(colour.light) / 2, colour.a, colour.b), np.float32))
    distances = measure_lab_distances(image, MASK)
    assert min(distances, key=distances.__getitem__) == word
    assert distances[word] < 6


@pytest.mark.parametrize("word", COLOURS)
def test_repainting_moves_lightness_into_the_range_and_keeps_its_order(word):
    lab = np.zeros((20, 20, 3), np.float32)
    lab[..., 0] = np.linspace(40, 60, 20)[None]
    light = repaint(lab, MASK.astype(np.float32), COLOURS[word], np.random.default_rng(0))[..., 0]
    low, high = COLOURS[word].light
    assert low - 1 <= np.median(light[MASK]) <= high + 1
    assert (np.diff(light, axis=1) > 0).all()
