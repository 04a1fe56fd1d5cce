"""What is no picture, in a real browser: one line says why, and the page goes on."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image


def bomb():
    """A PNG of a few bytes that says it has 2.5 thousand million pixels."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


def written(picture, kind):
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


def test_bad_files(acts, context, address, picture):
    page = acts.open_page(context, address)
    alert = page.locator("p[role=alert]")
    cut = written(picture, "jpeg")
    for name, content, said in (
        ("text.png", b"no picture at all", "is not a picture of a known format"),
        ("cut.jpg", cut[: len(cut) // 2], "is truncated or damaged"),
        ("bomb.png", bomb(), "is too large to decode"),
    ):
        acts.upload(page, name, content)
        acts.ask(page, "make it red")
        alert.filter(has_text=f"{name.capitalize()} {said}").wait_for()
    acts.ask(page, " ")
    alert.filter(has_text="The sentence is empty").wait_for()
    acts.upload(page, "good.png", written(picture, "png"))
    acts.ask(page, "make it red")
    acts.explained(page, "make it red")
    assert alert.count() == 0


@pytest.mark.parametrize(("mode", "kind"), [("CMYK", "jpeg"), ("I;16", "png"), ("P", "gif")])
def test_unusual_pictures(acts, context, address, picture, mode, kind):
    page = acts.open_page(context, address)
    wide = np.asarray(picture.convert("L"), np.uint16) * 257
    drawn = Image.fromarray(wide) if mode == "I;16" else picture.convert(mode)
    acts.upload(page, f"unusual.{kind}", written(drawn, kind))
    acts.ask(page, "make it red")
    acts.explained(page, "make it red")
    assert page.locator("#maps .stage canvas").evaluate("(one) => [one.width, one.height]") == list(picture.size)
