"""How hits are shown: the contact sheet, and a notebook's HTML."""

import io
from dataclasses import replace
from html import unescape

import numpy as np
from PIL import Image

from mmgrad_explain.gallery import results
from mmgrad_explain.images.provenance import provenance_of


def test_the_contact_sheet(gallery, pictures):
    found = gallery.retrieve(pictures / "0.png", "make it red", k=4)
    maps = gallery.explain(found, layer="network.features")
    sheet = maps.sheet(height=60, columns=3)
    assert sheet.mode == "RGB"
    one = maps.sheet(height=60, columns=4)
    assert one.height < sheet.height  # a row less
    assert maps.sheet(height=60, colormap="jet").tobytes() != sheet.tobytes()
    assert maps.sheet(height=60, threshold=0.9).tobytes() != sheet.tobytes()


def test_checked_maps_are_marked_and_the_sheet_says_what_it_shows(gallery, pictures):
    found = gallery.retrieve(pictures / "0.png", "make it red", k=2)
    maps = gallery.explain(found)
    maps.check()
    explanation, index = maps.hits[1]
    assert explanation.check_of(index, target=True).verdict in {"good", "doubtful", "fails"}
    record = provenance_of(maps.sheet())
    assert [part.get("hit") for part in record["maps"]] == [None, 1, 2]
    assert [part["of"] for part in record["maps"]] == ["reference", "target", "target"]
    assert all("/" not in part["file"] for part in record["maps"][1:])
    assert record["maps"][1]["check"]["target"]


def test_an_empty_map_is_marked(gallery, pictures, monkeypatch):
    found = gallery.retrieve(pictures / "0.png", "make it red", k=1)
    maps = gallery.explain(found)
    captions = []

    def panel(tiles, texts, **options):
        captions.extend(texts)
        return plain(tiles, texts, **options)

    plain = results.panel
    monkeypatch.setattr(results, "panel", panel)
    maps.hits[1][0].calls[1].zero_()
    maps.sheet(height=60)
    assert captions[:2] == ["query", "where: shift"]
    assert captions[3] == "where: shift: the map is empty"


class TestNotebooks:
    def test_the_map_of_the_query_is_marked_like_those_of_the_hits(self, gallery, pictures, monkeypatch):
        maps = gallery.explain(gallery.retrieve(pictures / "0.png", "make it red", k=1))
        marked = []
        monkeypatch.setattr(results, "mark_of", lambda found, *_, **__: marked.append(found))
        maps._repr_html_()
        assert [found is maps.query for found in marked] == [True, False]

    def test_what_was_found(self, gallery, pictures):
        found = gallery.retrieve(pictures / "0.png", "make it <b>red</b>", k=3)
        html = found._repr_html_()
        assert html.count("<img ") == 4
        assert "<b>make it &lt;b&gt;red&lt;/b&gt;</b>" in html
        for hit in found.hits:
            assert f"{hit.rank}. {hit.path.rpartition('/')[2]} {hit.score:.3f}</figcaption>" in html
        assert all(f"note: {note}" in unescape(html) for note in found.notes)
        assert "more" not in html.rpartition("</figure>")[2]

    def test_why(self, gallery, pictures):
        maps = gallery.explain(gallery.retrieve(pictures / "0.png", "make it red", k=2), score="similarity")
        html = maps._repr_html_()
        assert html.count("<img ") == 2 + 2 * 2
        assert ">where: shift</figcaption>" in html
        assert html.count(">why</figcaption>") + html.count(">why: the map is empty</figcaption>") == 2
        drawn = Image.open(io.BytesIO(maps._repr_png_()))
        assert np.array_equal(np.asarray(drawn), np.asarray(maps.sheet()))

    def test_hits_without_an_image(self, gallery, pictures, tmp_path):
        found = gallery.retrieve(pictures / "0.png", "make it red", k=3)
        (tmp_path / "no picture.png").write_bytes(b"text")
        gone, broken, there = found.hits
        hits = (replace(gone, state="gone"), replace(broken, path=str(tmp_path / "no picture.png")), *[there] * 12)
        html = replace(found, hits=hits)._repr_html_()
        assert html.count("<img ") == 1 + 10
        assert ">gone</div>" in html
        assert f"2. no picture.png {broken.score:.3f}" in html
        assert ">cannot be read</div>" in html
        assert ">and 2 more</div>" in html
