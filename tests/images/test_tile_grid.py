"""Grids of drawn images: rows, titles, lines, remarks."""

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.marks import Mark
from mmgrad_explain.images.tile_grid import GridTile, draw_tile_grid


def tile(colour, size=(60, 40), **words):
    return GridTile(Image.new("RGB", size, colour), **words)


def places(sheet, colour):
    """The box of the pixels of a colour."""
    rows, columns = np.nonzero((np.asarray(sheet) == colour).all(2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


RED, BLUE, LIME = (255, 0, 0), (0, 0, 255), (0, 255, 0)


def test_tiles_stand_in_rows_at_one_size():
    sheet = draw_tile_grid([tile(RED, title="a"), tile(BLUE, title="b"), tile(LIME, title="c")], columns=2, side=240)
    red, blue, lime = (places(sheet, colour) for colour in (RED, BLUE, LIME))
    assert [(box[2] - box[0], box[3] - box[1]) for box in (red, blue, lime)] == [(240, 160)] * 3
    assert red[1] == blue[1]
    assert red[0] == lime[0] < blue[0]
    assert lime[1] > red[3] + 20  # room for a title
    assert blue[2] <= sheet.width


def test_words_take_room_below_and_above():
    plain = draw_tile_grid([tile(RED, title="a")])
    lines = draw_tile_grid([tile(RED, title="a", lines=(("occlusion", "0.50"),), remark="fails the check")])
    titled = draw_tile_grid([tile(RED, title="a")], title="a text", below=["a sentence"])
    assert plain.height < lines.height
    assert plain.height < titled.height
    dark_red = (np.asarray(lines).astype(int) - (0x7A, 0, 0x19)).__abs__().sum(2) < 30
    assert dark_red.any()  # the remark stands out
    assert places(titled, RED)[1] > places(plain, RED)[1]


def test_a_mark_has_a_band_below_the_image_and_both_fit_the_column():
    mark = Mark("fails", "does not agree with occlusion")
    sheet = draw_tile_grid([tile(RED, mark=mark, title="a"), tile(BLUE, title="b")], side=240)
    red, blue, band = (places(sheet, colour) for colour in (RED, BLUE, (0x7A, 0, 0x19)))
    assert band[2] - band[0] == 240
    assert band[0] < red[0] < red[2] < band[2] < blue[0]
    assert band[3] > red[3] + 20


def test_narrow_tiles_leave_room_for_words():
    sheet = draw_tile_grid([tile(RED, (10, 100), title="a long name of a method")], side=100)
    assert sheet.width >= 190


@pytest.mark.parametrize("options", [{"columns": 0}, {"side": 0}])
def test_wrong_arguments(options):
    with pytest.raises(InputError, match="a grid needs tiles, columns and a side"):
        draw_tile_grid([tile(RED, title="a")], **options)
    with pytest.raises(InputError, match="0 tiles"):
        draw_tile_grid([])
