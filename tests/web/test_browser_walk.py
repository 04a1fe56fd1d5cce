"""The whole page in a real browser: explain, look closer, download, search a gallery and go on from a hit."""

import io
import json
import os
import subprocess
import sys

from PIL import Image


def png(picture):
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    return buffer.getvalue()


def downloaded(page, button):
    with page.expect_download() as waiting:
        button.click()
    return waiting.value


def test_explain(acts, context, address, picture, tmp_path):
    page = acts.open_page(context, address)
    acts.explained(page, "take away the triangle")
    assert "triangle" in page.locator(".word").last.inner_text()

    acts.upload(page, "mine.png", png(picture))
    acts.ask(page, "make the red square blue\nremove the red square")
    acts.explained(page, "make the red square blue", "remove the red square")
    canvas = page.locator("#maps .stage canvas").first
    before = canvas.evaluate("(one) => one.toDataURL()")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.get_by_label("Opacity").fill("0.1")
    page.wait_for_function("(was) => document.querySelector('#maps .stage canvas').toDataURL() !== was", arg=before)
    assert [one for one in asked if not one.startswith(("blob:", "data:")) and "heartbeat" not in one] == []
    canvas.hover()
    assert page.locator("#maps .readout").first.inner_text().startswith("Value ")
    page.get_by_text("What does this map mean?").first.click()
    assert page.get_by_text("What the map does not say.").first.is_visible()

    shown = Image.open(downloaded(page, page.get_by_role("button", name="Download PNG").first).path())
    assert shown.size == picture.size
    data = json.loads(downloaded(page, page.get_by_role("button", name="Download JSON")).path().read_text())
    assert data["asked"]["texts"] == ["make the red square blue", "remove the red square"]
    page.locator("#maps summary", has_text="Python").click()
    code = downloaded(page, page.get_by_role("button", name="Download .py")).path().read_text()
    picture.save(tmp_path / "mine.png")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert Image.open(tmp_path / "map_1.png").height > 0


def test_search_and_go_on(acts, context, address):
    page = acts.open_page(context, address)
    page.get_by_role("tab", name="Search a gallery").click()
    page.locator(".mmgrad-examples button:visible").first.click()
    page.locator("#hits .tile").nth(6).wait_for()
    assert page.locator("#hits .stage canvas").count() == 7
    page.get_by_role("button", name="Use as the next reference").first.click()
    page.locator("#walk li").nth(1).wait_for()
    sentence = page.get_by_label("Sentence").locator("visible=true")
    page.wait_for_function(
        "[...document.querySelectorAll('input, textarea')].some((one) => one.placeholder === 'and now?')"
    )
    sentence.fill("make the red square blue")
    page.get_by_role("button", name="Search", exact=True).click()
    page.locator("#hits h3", has_text="You asked: make the red square blue").wait_for()
    assert page.locator("#walk li").count() == 2
    page.get_by_role("button", name="Go back").click()
    page.locator("#hits h3", has_text="You asked: take away the triangle").wait_for()
    assert page.locator("#walk li").count() == 1
