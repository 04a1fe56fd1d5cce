"""The whole page in a real browser: explain, look closer, download, search a gallery and go on from a hit."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image


def test_explain(acts, page, picture, tmp_path, same_maps):
    acts.explained(page, "take away the triangle")
    assert "triangle" in page.locator(".word").last.inner_text()
    acts.upload(page, "mine.png", acts.written(picture))
    acts.ask(page, "make the red square blue\nremove the red square")
    acts.explained(page, "make the red square blue", "remove the red square")
    boxes = [one.bounding_box() for one in page.locator("#maps .tile").all()]
    assert boxes[0]["y"] == boxes[1]["y"]  # side by side
    assert boxes[0]["x"] + boxes[0]["width"] < boxes[1]["x"]
    words = page.locator("#maps .tile").first.locator(".word")
    assert [one.split()[0] for one in words.all_inner_texts()] == ["make", "the", "red", "square", "blue"]
    assert len({one.evaluate("(one) => getComputedStyle(one).backgroundColor") for one in words.all()}) > 1

    asked, seen = [], [acts.pixels(page)]
    page.on("request", lambda request: asked.append(request.url))
    for name, value in (("opacity", "0.1"), ("opacity", "1"), ("threshold", "0.5"), ("threshold", "0.9")):
        page.locator(f"#maps [name={name}]").fill(value)
        seen.append(acts.pixels(page))
    assert len(set(seen)) == 5
    page.locator("#maps .stage canvas").first.hover()
    assert page.locator("#maps .readout").first.inner_text().startswith("Value ")
    page.get_by_text("What does this map mean?").first.click()
    assert page.get_by_text("What the map does not say.").first.is_visible()
    assert [one for one in asked if not one.startswith(("blob:", "data:")) and "heartbeat" not in one] == []

    png = acts.downloaded(page, page.get_by_role("button", name="Download PNG").first)
    assert Image.open(io.BytesIO(png)).size == picture.size
    data = json.loads(acts.downloaded(page, page.get_by_role("button", name="Download JSON")))
    assert data["asked"]["texts"] == ["make the red square blue", "remove the red square"]
    page.locator("#maps summary", has_text="Python").click()
    code = acts.downloaded(page, page.get_by_role("button", name="Download .py")).decode()
    picture.save(tmp_path / "mine.png")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    code += "import numpy\nnumpy.save('maps.npy', explanation.maps.numpy())\n"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True)
    grids = [one["grid"] for one in data["maps"]]
    same_maps(np.load(tmp_path / "maps.npy"), grids, 1e-3)  # the script's process has as many threads as it likes
    assert Image.open(tmp_path / "map_1.png").height > 0


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # at layer3 some maps are empty
def test_search_and_go_on(acts, page):
    page.get_by_role("tab", name="Search a gallery").click()
    page.locator(".mmgrad-examples button:visible").nth(1).click()
    page.locator("#hits .tile").nth(6).wait_for()
    acts.drawn(page, "#hits")
    assert page.locator("#hits h3").nth(1).inner_text() == "1. scene-4-a.png"  # the scene with the ring
    assert page.locator("#hits .quiet").nth(1).inner_text().endswith("; map of shift")
    shown = [acts.pixels(page, number, "#hits") for number in range(7)]
    page.locator("#hits [name=opacity]").fill("0")
    assert all(acts.pixels(page, number, "#hits") != one for number, one in enumerate(shown))  # each has a map
    page.locator("#hits [name=opacity]").fill("0.7")

    page.get_by_role("button", name="Method").locator("visible=true").click()
    search = page.get_by_role("button", name="Search", exact=True)
    for label, option in (
        ("Layer", "network.visual.layer3 (6 x 6)"),
        ("Score", "likeness of picture with text and target (similarity)"),
    ):
        acts.pick(page, label, option)
        before = acts.pixels(page, 1, "#hits")
        acts.answered(page, search.click, "#hits")
        assert acts.pixels(page, 1, "#hits") != before
    assert "gallery.explain(found, layer='network.visual.layer3', score='similarity')" in acts.code(page, "#hits")
    assert page.locator("#hits .quiet").nth(1).inner_text().endswith("; map of similarity")

    page.get_by_role("button", name="Use as the next reference").nth(1).click()
    page.locator("#walk li").nth(1).wait_for()
    page.wait_for_function("document.activeElement.matches('#next-sentence input')")
    page.keyboard.type("make the heart blue")
    page.keyboard.press("Enter")
    page.locator("#hits h3", has_text="You asked: make the heart blue").wait_for()
    acts.drawn(page, "#hits")
    acts.counted(page, "#walk li", 2)
    assert page.locator("#hits summary", has_text="What does this map mean?").count() == 7
    page.get_by_role("button", name="Go back").click()
    page.locator("#hits h3", has_text="You asked: the large circle is now a ring").wait_for()
    acts.counted(page, "#walk li", 1)
