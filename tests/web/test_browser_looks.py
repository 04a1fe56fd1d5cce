"""How the page looks and sounds in a real browser: on a phone, in the dark, without a network, with labels."""

import io
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const [x, y, z] = [r, g, b].map((c) => linear(c / 255));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const solid = (one) => {
    for (; one; one = one.parentElement) {
      const style = getComputedStyle(one);
      if (style.backgroundImage !== "none") return null;
      const [r, g, b, a = 1] = parse(style.backgroundColor);
      if (a === 1) return [r, g, b];
      if (a > 0) return null;
    }
    return [255, 255, 255];
  };
  const faint = [];
  let seen = 0;
  for (const one of document.querySelectorAll(".mmgrad-viewer *, .mmgrad-head *, .mmgrad-foot")) {
    const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    const colour = getComputedStyle(one).color;
    const ground = solid(one);
    if (!own || !one.offsetParent || !ground || !colour.startsWith("rgb")) continue;
    const [high, low] = [light(parse(colour)), light(ground)].sort((a, b) => b - a);
    seen += 1;
    if ((high + 0.05) / (low + 0.05) < 4.5) faint.push(one.textContent.trim());
  }
  return { faint, seen };
}"""
UNNAMED = """() => [...document.querySelectorAll("input, select, textarea, button, canvas")]
  .filter((one) => one.offsetParent && !one.textContent.trim() && !one.ariaLabel && !one.title && !one.labels?.length)
  .map((one) => one.outerHTML.slice(0, 200))"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_in_light_and_dark(acts, browser, address, theme):
    context = browser.new_context(viewport={"width": 390, "height": 800})
    said, asked = [], []
    context.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    context.on("request", lambda request: asked.append(request.url))
    page = acts.open_page(context, f"{address}?__theme={theme}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    contrast = page.evaluate(CONTRAST)
    assert contrast["faint"] == []
    assert contrast["seen"] > 15
    dark = (
        page.locator("#maps .tile").evaluate("(one) => getComputedStyle(one).backgroundColor") != "rgb(255, 255, 255)"
    )
    assert dark is (theme == "dark")
    page.add_style_tag(content=".mmgrad-viewer .readout { color: rgb(120 120 120) !important; }")
    assert len(page.evaluate(CONTRAST)["faint"]) == 1
    assert page.evaluate(UNNAMED) == []
    page.get_by_role("tab", name="Search a gallery").click()
    page.locator(".mmgrad-examples button:visible").first.click()
    page.locator("#hits .tile").nth(6).wait_for()
    acts.drawn(page, "#hits")
    page.get_by_role("button", name="Method").locator("visible=true").click()
    page.get_by_label("Layer", exact=True).locator("visible=true").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(UNNAMED) == []
    assert said == []
    assert {one for one in asked if not one.startswith((address, "data:", "blob:"))} == set()
    context.close()


def test_by_keyboard_alone(acts, page):
    def tab_to(place):
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("(place) => document.activeElement.matches(place)", place):
                return
        raise AssertionError(f"no Tab leads to {place}")

    tab_to("textarea")
    page.keyboard.press("Control+A")
    page.keyboard.type("make the ring blue")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("remove the square")
    page.keyboard.press("Enter")
    acts.explained(page, "make the ring blue", "remove the square")
    for name, key, value in (("opacity", "ArrowLeft", "0.65"), ("threshold", "ArrowRight", "0.05")):
        before = acts.pixels(page)
        tab_to(f"#maps [name={name}]")
        page.keyboard.press(key)
        assert page.locator(f"#maps label:has([name={name}]) output").inner_text() == value
        assert acts.pixels(page) != before
    tab_to("#maps .stage canvas")
    page.keyboard.press("Home")
    readout = page.locator("#maps .readout").first
    assert readout.inner_text().startswith(("Value 1.00 at x ", "Value 0.9"))
    brightest = readout.inner_text()
    page.keyboard.press("ArrowRight")
    assert readout.inner_text() != brightest
    tab_to("#maps summary")
    page.keyboard.press("Enter")
    assert page.get_by_text("What the map does not say.").first.is_visible()
    tab_to("#maps .buttons button")
    with page.expect_download() as waiting:
        page.keyboard.press("Enter")
    assert waiting.value.suggested_filename == "map-1.png"
    page.get_by_role("tab", name="Explain").focus()
    tab_to(".mmgrad-examples button")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    acts.explained(page, "the large circle is now a ring")


def test_the_picture_of_the_docs_is_what_its_script_draws(browser, address):
    script = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "page_picture.py"))
    kept, drawn = (
        np.asarray(Image.open(one).convert("RGB"), float)
        for one in (script["PICTURE"], io.BytesIO(script["draw"](browser, address)))
    )
    assert drawn.shape == kept.shape
    assert np.abs(drawn - kept).mean() < 3  # letters look a little different where other fonts are
