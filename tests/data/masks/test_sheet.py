"""Masks drawn."""

import pytest
from cir_miniatures import draw_images, write_shoes

from mmgrad_explain.data.cir.formats import read_cir
from mmgrad_explain.data.masks.cache import make_masks
from mmgrad_explain.data.masks.settings import MaskSettings
from mmgrad_explain.data.masks.sheet import draw_mask_sheet
from mmgrad_explain.errors import InputError


def test_a_sheet_shows_captions_evenly_spaced(tmp_path):
    data = read_cir("shoes", draw_images("shoes", write_shoes(tmp_path)))
    made = make_masks(data, data.queries, MaskSettings(("segments",), size=16))
    one, three = (draw_mask_sheet(data, made, count=count, columns=1) for count in (1, 5))
    assert three.height == 3 * one.height
    with pytest.raises(InputError, match="no caption with both images"):
        draw_mask_sheet(data, made, count=0)
