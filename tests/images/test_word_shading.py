"""A strip of shaded words: colours that can be told apart, room for every word."""

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.word_shading import add_words, ink_on, shade, word_strip


def colours(picture):
    return {tuple(pixel) for pixel in np.asarray(picture).reshape(-1, 3).tolist()}


def test_shades_run_from_blue_over_white_to_orange():
    assert shade(1) == (230, 97, 1)
    assert shade(-1) == (33, 102, 172)
    assert shade(0) == (247, 247, 247)
    red = [shade(value)[0] - shade(value)[2] for value in np.linspace(-1, 1, 21)]
    assert red == sorted(red)
    with pytest.raises(InputError, match=r"words: a value must be in \[-1, 1\], not 2"):
        shade(2)


@pytest.mark.parametrize("value", np.linspace(-1, 1, 21))
def test_letters_stand_out(value):
    """At least 4.5 to 1, as WCAG 2 asks of text."""

    def luminance(colour):
        c = np.asarray(colour) / 255
        return float(np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722))

    ground, ink = luminance(shade(value)), ink_on(shade(value))
    letters = luminance([int(ink[i : i + 2], 16) for i in (1, 3, 5)])
    high, low = max(ground, letters), min(ground, letters)
    assert (high + 0.05) / (low + 0.05) >= 4.5


def test_every_word_is_there_and_long_texts_wrap():
    words = [("make", -1.0), ("it", 0.0), ("red", 1.0)]
    strip = word_strip(words, 400)
    assert strip.size[0] == 400
    assert {shade(value) for _, value in words} <= colours(strip)
    assert word_strip(words * 20, 400).height > 3 * strip.height
    long = word_strip([("x" * 300, 1.0)], 200)
    assert long.width == 200
    assert shade(1.0) in colours(long)
    assert word_strip([], 400).height < strip.height


def test_no_room():
    with pytest.raises(InputError, match="a strip 40 pixels wide has no room for words of 16 pixels"):
        word_strip([("red", 1.0)], 40)


@pytest.mark.parametrize("width", [50, 1000])
def test_below_a_picture(width):
    picture = Image.new("RGB", (width, 80), (10, 200, 30))
    sheet = add_words(picture, [("red", 0.5)])
    assert sheet.width == max(width, 160)
    assert sheet.height > 80
    assert np.asarray(sheet)[40, sheet.width // 2].tolist() == [10, 200, 30]
