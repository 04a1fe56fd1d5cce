"""The page of a data set's figures: its files, no request, no markup from the data, and what a reader can do in it."""

import csv
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from mmgrad_explain.data.phrases import Box, PhraseSample, PhraseSet, Region
from mmgrad_explain.errors import OutputExistsError
from mmgrad_explain.evaluation import MapSetFigures, write_map_report
from mmgrad_explain.evaluation.case_pictures import draw_case
from mmgrad_explain.evaluation.map_report import FILES, report_page
from mmgrad_explain.metrics import figure_names

EVIL = "</script><img src=x onerror=alert(1)><b>&amp;\"' =1+1 {{x}} \u2028"
CHROMIUM = shutil.which("chromium")


@pytest.fixture
def figures(picture):
    texts = [EVIL, "the red square", "=SUM(A1)", *(f"text {i}" for i in range(60))]
    samples = tuple(
        PhraseSample(str(i), text, EVIL if i % 2 else "plain", Path("a.png"), f"{i % 7}", Region((Box(0, 0, 1, 1),)))
        for i, text in enumerate(texts)
    )
    count = len(samples)
    values = {name: torch.linspace(0, 1, count) for name in figure_names(full_size=True)}
    mask = torch.zeros(40, 60, dtype=torch.bool).numpy()
    mask[8:20, 30:44] = True
    drawn = draw_case(picture, mask, {"one": mask.astype("float32"), "two <i>": 1 - mask.astype("float32")})
    return MapSetFigures(
        data=PhraseSet("coco", Path("x"), EVIL, samples, {EVIL: [EVIL]}),
        maps={"one": values, "two <i>": {name: 1 - of for name, of in values.items()}},
        contrast={"one": torch.tensor([1.0]), "two <i>": torch.tensor([0.0])},
        contrast_of=torch.tensor([0]),
        floors={"random pixel": {"pointing": torch.full((count,), 0.1)}},
        left_out={samples[-1].id: EVIL},
        refused={"legrad": "no attention <here>"},
        pictures={0: drawn, 1: drawn},
    )


class Elements(HTMLParser):
    """Lists the elements of a page with their attributes."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_the_files(figures, tmp_path):
    files = write_map_report(figures, tmp_path / "new", title="a model")
    assert [file.name for file in files] == list(FILES)
    record = json.loads((tmp_path / "new" / "figures.json").read_text())
    assert record["title"] == "a model"
    assert len(record["samples"]) == 2 * 63
    assert "| one | 0.500 [" in (tmp_path / "new" / "table.md").read_text()
    with pytest.raises(OutputExistsError):
        write_map_report(figures, tmp_path / "new")
    write_map_report(figures, tmp_path / "new", overwrite=True)


def test_a_spreadsheet_takes_no_text_for_a_formula(figures, tmp_path):
    write_map_report(figures, tmp_path)
    with (tmp_path / "samples.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * 63
    assert rows[4]["text"] == "'=SUM(A1)"
    assert rows[0]["text"] == EVIL
    assert rows[0]["method"] == "one"
    assert rows[0]["contrast"] == "1.0"


def test_nothing_of_the_data_is_markup_and_nothing_is_requested(figures):
    page = report_page(figures, title=EVIL)
    elements = Elements()
    elements.feed(page)
    tags = [tag for tag, _ in elements.found]
    assert tags.count("script") == 2
    assert not {"img", "b", "i", "iframe", "link", "base", "form"} & set(tags)
    assert not [
        name for _, attrs in elements.found for name in attrs if name.startswith("on") or name in ("src", "style")
    ]
    policy = next(attrs["content"] for tag, attrs in elements.found if attrs.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert "unsafe" not in policy
    assert not re.search(r"https?://", page)


def test_the_cases_are_data(figures):
    page = report_page(figures)
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1]
    data = json.loads(text)
    assert data["samples"][0]["text"] == EVIL
    assert data["figures"] == ["pointing", "energy", "IoU", "AUC", "contrast"]
    assert data["samples"][0]["values"]["one"] == [0.0, 0.0, 0.0, 0.0, 1.0]
    assert [("picture" in sample) for sample in data["samples"][:3]] == [True, True, False]
    assert len(data["samples"]) == 62  # one was left out


def test_what_is_left_out_is_said(figures):
    page = report_page(figures)
    assert "legrad is not in the table: no attention &lt;here&gt;" in page
    assert "1 samples were left out; the first, 62:" in page


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_in_a_browser(figures, tmp_path):
    """Worst first, sorted and filtered with the keyboard; no other script, no request, nothing wider than a phone."""
    sync = pytest.importorskip("playwright.sync_api")
    write_map_report(figures, tmp_path, title=EVIL)
    with sync.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport={"width": 390, "height": 800})
            trouble, requests = [], []
            page.on("console", lambda message: trouble.append(message.text))
            page.on("pageerror", lambda error: trouble.append(str(error)))
            page.on("dialog", lambda dialog: trouble.append(dialog.message))
            page.on("request", lambda request: requests.append(request.url))
            page.goto((tmp_path / "report.html").as_uri())
            texts = "#case-list tbody .what b"
            assert page.locator(texts).first.inner_text().startswith("</script>")
            assert page.locator(texts).count() == 24
            assert page.locator("#case-list tbody img").count() == 2 * 3
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            page.set_viewport_size({"width": 1440, "height": 900})
            page.locator("thead button", has_text="pointing").last.focus()
            page.keyboard.press("Enter")
            page.keyboard.press("Enter")
            assert page.locator(texts).first.inner_text() == "text 58"
            assert page.locator('#case-list th[aria-sort="descending"]').inner_text() == "pointing ↓"
            page.locator("#words").fill("text 4")
            assert page.locator(texts).all_inner_texts()[:2] == ["text 49", "text 48"]
            assert page.locator(".count").inner_text().startswith("11 of 11 cases")
            page.locator("#words").fill("")
            page.locator("#method").select_option("two <i>")
            page.locator("#kind").select_option("plain")
            assert page.locator(".count").inner_text().startswith("24 of 31 cases")
            page.locator(".more").press("Enter")
            assert page.locator(texts).count() == 31
            assert trouble == []
            assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
        finally:
            browser.close()
