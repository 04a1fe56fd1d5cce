"""Notes on how an image was read: the first of several in a file."""

import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.images.reading import open_image
from mmgrad_explain.images.reading_notes import info_with_notes, notes_of_image, notes_of_stack
from mmgrad_explain.notes import Note

_SPEC = importlib.util.spec_from_file_location("image_files", Path(__file__).with_name("image_files.py"))
image_files = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(image_files)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_of_an_animation_and_it_is_said(kind):
    first, second = Image.new("RGB", (20, 10), (200, 0, 0)), Image.new("RGB", (20, 10), (0, 0, 200))
    data = image_files.as_bytes(
        first, kind, save_all=True, append_images=[second, second.rotate(180)], duration=[100, 200, 300]
    )
    opened = open_image(data)
    image_files.assert_close(opened, np.asarray(first), 3)
    count = Image.open(io.BytesIO(data)).n_frames
    assert notes_of_image(opened) == (Note("first-image", f"the first of {count} images in the file is used"),)
    assert notes_of_image(open_image(opened)) == notes_of_image(opened)
    with Image.open(io.BytesIO(data)) as stack:
        stack.seek(1)
        (note,) = notes_of_image(open_image(stack))
        assert note.text == f"image 2 of {count} images in the file is used"


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "JPEG", "MPO"])
def test_one_picture_and_a_cameras_preview_need_no_note(kind):
    picture = Image.new("RGB", (20, 10), (200, 0, 0))
    more = {"save_all": True, "append_images": [picture.copy()]} if kind == "MPO" else {}
    assert notes_of_image(open_image(image_files.as_bytes(picture, kind, **more))) == ()


def test_a_damaged_stack_has_no_note():
    """Pillow counts the frames of a file late, and fails there when the file is damaged."""

    class Damaged:
        format = "GIF"

        @property
        def n_frames(self):
            raise EOFError

    assert notes_of_stack(Damaged()) == ()


def test_kept_notes_are_found_and_other_info_is_not():
    image = Image.new("RGB", (2, 2))
    image.info = info_with_notes((Note("first-image", "one"),))
    assert notes_of_image(image) == (Note("first-image", "one"),)
    image.info = dict.fromkeys(image.info, ("something else",))
    assert notes_of_image(image) == ()
    assert info_with_notes(()) == {}
