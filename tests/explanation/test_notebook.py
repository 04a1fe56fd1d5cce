"""How explanations show themselves in notebooks: what the HTML says, that it is safe, and its pictures."""

import base64
import io
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain.explanation import Explanation
from mmgrad_explain.explanation.notebook import figure_html, shrink_for_screen
from mmgrad_explain.explanation.phrases import PhraseMaps
from mmgrad_explain.explanation.words import Word
from mmgrad_explain.images.overlay import blend, colorize
from mmgrad_explain.images.placement import Placement
from mmgrad_explain.notes import Note

EVIL = "<script>alert(\"1\")</script> & 'more'"


def made(count, **known):
    """An explanation of as many samples, each bright in the upper left, of 600x400 pictures."""
    maps = torch.zeros(count, 4, 6)
    maps[:, 0, 0] = 1.0
    rng = np.random.default_rng(0)
    patches = [Image.fromarray(rng.integers(0, 255, (4, 6, 3), dtype=np.uint8)) for _ in range(count)]
    pictures = tuple(patch.resize((600, 400), Image.Resampling.BICUBIC) for patch in patches)
    flat = torch.zeros(count, dtype=torch.bool)
    facts = {
        "calls": (maps,),
        "score": torch.arange(count) / 4 + 0.25,
        "score_name": "shift",
        "method": "gradcam",
        "layers": {"tower.body": [maps]},
        "signed": {"tower.body": [maps]},
        "layouts": {"tower.body": ("nchw",)},
        "flat": flat,
        "clipped": flat,
        "model": "tiny",
        "texts": tuple(f"text {index}" for index in range(count)),
        "images": pictures,
        "placements": (Placement((400, 600), (40, 60), (0.1, 0.1), (0.0, 0.0)),) * count,
    }
    return Explanation(**(facts | known))


class Read(HTMLParser):
    """The text that a browser would show, the pictures, and whether every tag is closed."""

    def __init__(self, html):
        super().__init__()
        self.text, self.pictures, self.open, self.tags = [], [], [], set()
        self.feed(html)
        assert self.open == []
        self.said = " ".join(self.text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "img":
            self.pictures.append(dict(attrs))
        else:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def opened(picture):
    kind, data = re.fullmatch(r"data:image/(png|jpeg);base64,(.+)", picture["src"]).groups()
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert image.format.lower() == kind
    return np.asarray(image).astype(int)


def test_one_sample():
    explanation = made(1, notes=(Note("cut-text", "'text 0' was cut"),))
    page = Read(explanation._repr_html_())
    assert page.text[:5] == ["reference", "map", "text 0", "shift = 0.25", page.text[4]]
    assert re.fullmatch(r"7\d% of the map lies in its brightest region, in the upper left of the picture", page.text[4])
    assert page.text[5] == "What does this map mean?"
    assert page.text[6 : 6 + 5] == explanation.in_words().split("\n\n")
    assert page.text[11:] == ["model tiny, gradcam at tower.body (6x4 cells)", "note: 'text 0' was cut"]
    assert [one["alt"] for one in page.pictures] == ["the reference picture", f"map of shift: {page.text[4]}"]


class TestShow:
    def test_in_a_notebook_it_is_displayed_below_the_cell(self, monkeypatch):
        shown = []
        ipython = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel="a kernel"))
        monkeypatch.setitem(sys.modules, "IPython", ipython)
        monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=shown.append))
        monkeypatch.setattr(Image.Image, "show", lambda _: pytest.fail("a viewer was opened"))
        explanation = made(1)
        explanation.show(alpha=0.3)
        assert np.array_equal(np.asarray(shown[0]), np.asarray(explanation.overlay(alpha=0.3)))

    @pytest.mark.parametrize("shell", [None, SimpleNamespace()])
    def test_elsewhere_in_a_viewer(self, monkeypatch, shell):
        shown = []
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
        monkeypatch.setattr(Image.Image, "show", lambda _: shown.append("in a viewer"))
        made(1).show()
        assert len(shown) == 1


def test_the_first_argument_is_a_number_of_a_sample():
    explanation = made(2)
    for ask in (explanation.overlay, explanation.heatmap, explanation.in_words, explanation.show, explanation.notes_of):
        with pytest.raises(
            TypeError, match=r"index: the first argument is the number of a sample, not Image; pass an image"
        ):
            ask(explanation.images[0])
    assert np.array_equal(explanation.heatmap(np.int64(1)), explanation.heatmap(1))


def test_the_pictures_are_the_pictures():
    explanation = made(1)
    reference, drawn = Read(explanation._repr_html_()).pictures
    assert (reference["width"], reference["height"]) == ("360", "240")
    picture = explanation.images[0]
    assert opened(reference).shape == (400, 600, 3)
    assert np.abs(opened(reference) - np.asarray(picture).astype(int)).mean() < 3, "but for what JPEG loses"
    expected = blend(picture, explanation.heatmap(), alpha=0.7).astype(int)
    assert np.abs(opened(drawn) - expected).mean() < 3


def test_large_pictures_are_made_smaller():
    large = Image.new("RGB", (4000, 1000), "red")
    assert shrink_for_screen(large).size == (720, 180)
    assert large.size == (4000, 1000), "the picture itself stays"
    (shown,) = Read(figure_html(large, "", "", width=100, height=100)).pictures
    assert opened(shown).shape == (50, 200, 3)
    assert (shown["width"], shown["height"]) == ("100", "25")


def large(**known):
    """A photograph of twelve megapixels with its map."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8))
    placement = Placement((3000, 4000), (30, 40), (0.01, 0.01), (0.0, 0.0))
    return made(1, images=(picture.resize((4000, 3000)),), placements=(placement,), **known)


def test_a_large_photograph_is_measured_once_and_drawn_as_small_as_it_is_shown(monkeypatch):
    explanation, sizes = large(), []
    plain = Explanation.heatmap

    def heatmap(self, *arguments, **options):
        heat = plain(self, *arguments, **options)
        sizes.append(heat.shape)
        return heat

    monkeypatch.setattr(Explanation, "heatmap", heatmap)
    page = Read(explanation._repr_html_())
    assert sizes == [(3000, 4000), (480, 640)]
    assert page.text[6:10] == explanation.in_words().split("\n\n")
    sizes.clear()
    assert Image.open(io.BytesIO(explanation._repr_png_())).height < 600
    assert Image.open(io.BytesIO(PhraseMaps(explanation, "text", ())._repr_png_())).height < 600
    assert explanation.overlay(contour=True).height < 1200
    assert max(sizes) == (1024, 1365)


def test_a_smaller_drawing_shows_the_same():
    explanation = large()
    heat = explanation.heatmap()
    small = explanation.heatmap(size=(300, 400))
    assert small.shape == (300, 400)
    assert np.abs(small - heat.reshape(300, 10, 400, 10).mean((1, 3))).max() < 0.01
    alone = replace(explanation, placements=None)
    assert np.abs(alone.heatmap(size=(300, 400)) - small).max() < 1e-5
    drawn = np.asarray(explanation.overlay())[:, 1400:]
    picture = blend(explanation.images[0], heat, alpha=0.7)
    expected = np.asarray(Image.fromarray(picture).resize((1365, 1024), Image.Resampling.LANCZOS)).astype(int)
    top, left = 39, 2 * 1365 + 3 * 39 - 39 - 1365 - 1400
    assert np.abs(drawn[top : top + 1024, left : left + 1365] - expected).mean() < 2


def test_everything_written_is_escaped():
    words = ((Word(EVIL, 0.5, 1.0, (0,)),),)
    evil = made(
        1, texts=(EVIL,), model=EVIL, score_name=EVIL, notes=(Note("caution", EVIL),), answers=(EVIL,), words=words
    )
    renamed = replace(evil, layers={EVIL: evil.layers["tower.body"]})
    page = Read(renamed._repr_html_())
    assert page.tags <= {"div", "figure", "img", "figcaption", "b", "span", "small", "details", "summary", "p"}
    assert page.said.count(EVIL) >= 8
    phrases = Read(PhraseMaps(made(2, texts=None), f"{EVIL} cat", ((0, len(EVIL)),))._repr_html_())
    assert "script" not in phrases.tags
    assert EVIL in phrases.text


def test_several_samples_and_how_many_more():
    page = Read(made(8)._repr_html_())
    assert len(page.pictures) == 2 * 6
    assert [text for text in page.text if re.fullmatch(r"text \d", text)] == [f"text {index}" for index in range(6)]
    assert "and 2 more: overlay(index) draws each" in page.text
    assert not any("more: overlay" in text for text in Read(made(6)._repr_html_()).text)


def test_a_target():
    explanation = made(1)
    other = torch.zeros(1, 2, 3)
    pair = replace(
        explanation,
        calls=(explanation.calls[0], other),
        targets=explanation.images,
        target_placements=explanation.placements,
    )
    page = Read(pair._repr_html_())
    assert page.text[:4] == ["reference", "map", "target", "map of the target"]
    assert "on the target: the map is flat: no place of the picture counts more than another" in page.text
    unknown = Read(replace(pair, targets=None, target_placements=None)._repr_html_())
    assert unknown.text[:2] == ["reference", "map"]
    assert len(unknown.pictures) == 2, "no map without its picture beside maps that have theirs"


def test_maps_alone():
    explanation = made(1, images=None, placements=None, texts=None, model="", answers=("a dog",))
    pair = replace(explanation, calls=(explanation.calls[0], torch.ones(1, 2, 2)))
    page = Read(pair._repr_html_())
    assert page.text[:4] == ["map", "map of the target", "shift = 0.25", "answer: a dog"]
    assert "gradcam at tower.body (6x4 cells)" in page.text
    first, second = page.pictures
    assert "pixelated" in first["style"]
    assert (first["width"], first["height"]) == ("360", "240")
    assert np.array_equal(opened(first), colorize(pair.heatmap()).astype(int))
    assert opened(second).shape == (2, 2, 3)
    assert pair._repr_png_() is None


def test_words_have_colours_and_numbers():
    words = (Word("red", 4.0, 1.0, (0,)), Word("not", -2.0, -0.5, (1,)))
    html = made(1, words=(words,))._repr_html_()
    assert 'background:rgba(230,97,1,0.60);border-radius:3px;padding:0 .3em" title="+4">red <small>+1.00<' in html
    assert 'background:rgba(33,102,172,0.30);border-radius:3px;padding:0 .3em" title="-2">not <small>-0.50<' in html


@pytest.mark.parametrize("known", [True, False])
def test_phrases(known):
    explanation = made(3) if known else made(3, images=None)
    found = PhraseMaps(explanation, "a red cat and a dog", ((0, 9), (14, 19)))
    page = Read(found._repr_html_())
    captions = [text for text in page.text if "brightest region" not in text]
    assert captions == [
        *(["reference"] if known else []),
        "a red cat and a dog",
        "a red cat",
        "a dog",
        "model tiny, gradcam at tower.body (6x4 cells)",
    ]
    assert len(page.pictures) == 3 + known
    png = found._repr_png_()
    if known:
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), np.asarray(found.overlay()))
    else:
        assert png is None
