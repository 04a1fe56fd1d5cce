"""Settings of masks: names, order, hash."""

import pytest

from mmgrad_explain.data.masks.settings import MaskSettings
from mmgrad_explain.errors import InputError


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ((), "name at least one"),
        (("segment",), "there is no 'segment': .*segments"),
        (("detections",), "detections:FILE"),
        (("difference:x",), "only clipseg:FOLDER and detections:FILE"),
        (("none", "segments"), "'none' stands alone"),
        (("self", "segments"), "comes last"),
    ],
)
def test_lists_that_make_no_sense_are_refused(masks, message):
    with pytest.raises(InputError, match=message):
        MaskSettings(masks)


def test_the_hash_follows_what_decides_the_masks(tmp_path):
    boxes = tmp_path / "boxes.json"
    boxes.write_text("{}")
    settings = MaskSettings((f"detections:{boxes}", "self"))
    assert settings.makers == (f"detections:{boxes}",)
    assert settings.compares_maps
    first = settings.hash()
    assert MaskSettings((f"detections:{boxes}",)).hash() == first
    assert MaskSettings((f"detections:{boxes}",), size=32).hash() != first
    boxes.write_text('{"a.jpg": []}')
    assert settings.hash() != first
