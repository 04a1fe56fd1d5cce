"""The drawing of a calibration."""

import io
from dataclasses import replace

from PIL import Image


def test_every_kind_of_map_has_a_line_and_every_colour_its_words(calibration):
    figure = calibration.plot()
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert set(labels) >= {row.name for row in calibration.rows}
    (legend,) = figure.legends
    said = [text.get_text() for text in legend.get_texts()]
    assert said[: len(calibration.floors)] == list(calibration.floors)
    assert ("taken" in said) == (len(calibration.chosen) > 1)
    fused = replace(calibration, chosen=(("layercam", "mix"), ("hirescam", "cut")))
    assert "taken" in [text.get_text() for text in fused.plot(2).legends[0].get_texts()]


def test_a_notebook_shows_it(calibration):
    picture = Image.open(io.BytesIO(calibration.plot(3)._repr_png_()))
    assert picture.width >= 700
