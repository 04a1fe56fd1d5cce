"""Fonts, and lines of bounded width."""

from PIL import Image, ImageFont

from mmgrad_explain.images import lettering
from mmgrad_explain.images.lettering import load_font, wrap_text
from mmgrad_explain.images.panels import panel


def test_wrapping():
    font = load_font(14)
    text = "move the red ball to the left of the wooden bench and remove the dog"
    lines = wrap_text(text, font, 150, 3)
    assert len(lines) == 3
    assert all(font.getlength(line) <= 150 for line in lines)
    assert lines[0] + " " + lines[1] == text[: len(lines[0]) + 1 + len(lines[1])]
    assert lines[2].endswith("…")
    assert wrap_text(text, font, 1000, 3) == [text]
    assert "".join(wrap_text("x" * 30, font, 100, 9)) == "x" * 30
    assert wrap_text("  ", font, 100, 3) == []
    assert wrap_text("abc", font, 1, 3) == ["a", "b", "c"]


def test_letters_without_matplotlib(monkeypatch):
    load_font.cache_clear()
    monkeypatch.setattr(lettering.importlib.util, "find_spec", lambda name: None)
    assert isinstance(load_font(14), ImageFont.FreeTypeFont)
    assert panel([Image.new("RGB", (9, 9))], ["caption"]).height > 320
    load_font.cache_clear()
