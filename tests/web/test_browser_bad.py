"""What cannot be answered, in a real browser: one line says why, and the page goes on."""

import struct
import zlib

import numpy as np
from PIL import Image


def bomb():
    """A PNG of a few bytes that says it has 2.5 thousand million pixels."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


def test_bad_files(page, acts, picture):
    cut = acts.written(picture, "jpeg")
    for name, content, said in (
        ("text.png", b"no picture at all", "is not an image of a known format"),
        ("cut.jpg", cut[: len(cut) // 2], "is truncated or damaged"),
        ("bomb.png", bomb(), "is too large to decode"),
        ("wide.png", acts.written(Image.new("RGB", (2000, 1501))), "is too large to decode: 2000 x 1501 pixels"),
    ):
        acts.upload(page, name, content)
        acts.ask(page, "make it red")
        acts.told(page, f"{name} {said}")
    acts.ask(page, " ")
    acts.told(page, "the sentence is empty: say what should change")
    acts.ask(page, "\n".join("abcdefg"))
    acts.told(page, "7 sentences are too many at once: give up to 6")
    acts.upload(page, "good.png", acts.written(picture))
    acts.ask(page, "make it red")
    acts.explained(page, "make it red")
    acts.counted(page, "p[role=alert]", 0)


def test_files_that_are_not_even_sent(page, acts):
    sent = []
    page.on("request", lambda request: sent.append(request.url) if request.url.split("?")[0].endswith("/upload") else 0)
    for example, (name, content, said) in enumerate(
        (
            ("large.png", b"x" * 1_000_001, "exceed the maximum allowed size"),
            ("notes.txt", b"hello", "Invalid file type: notes.txt"),
        ),
        start=1,
    ):
        page.get_by_role("button", name="Remove Image").click()
        acts.choose_file(page, name, content)
        page.locator(".toast-body").filter(has_text=said).wait_for()
        acts.ask(page, "make it red")
        acts.told(page, "there is no picture yet: upload, paste or photograph one, or choose an example")
        acts.answered(page, page.locator(".mmgrad-examples button").nth(example).click)
        acts.counted(page, "p[role=alert]", 0)
    assert sent == []


def test_unusual_pictures(page, acts, picture):
    wide = np.asarray(picture.convert("L"), np.uint16) * 257
    for drawn, kind in (
        (picture.convert("CMYK"), "jpeg"),
        (Image.fromarray(wide), "png"),
        (picture.convert("P").rotate(90, expand=True), "gif"),
    ):
        acts.upload(page, f"unusual.{kind}", acts.written(drawn, kind))
        acts.answered(page, page.get_by_role("button", name="Show where it looks").click)
        assert page.locator("#maps .stage canvas").evaluate("(one) => [one.width, one.height]") == list(drawn.size)
