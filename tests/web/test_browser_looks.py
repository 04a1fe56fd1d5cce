"""How the page looks and sounds in a real browser: on a phone, in the dark, without a network, with labels."""

import pytest

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
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    contrast = page.evaluate(CONTRAST)
    assert contrast["faint"] == []
    assert contrast["seen"] > 15
    page.add_style_tag(content=".mmgrad-viewer .readout { color: rgb(120 120 120) !important; }")
    assert len(page.evaluate(CONTRAST)["faint"]) == 1
    assert page.evaluate(UNNAMED) == []
    assert said == []
    assert {one for one in asked if not one.startswith((address, "data:", "blob:"))} == set()
    context.close()


def test_by_keyboard_alone(acts, context, address):
    page = acts.open_page(context, address)
    page.get_by_label("Sentence").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("make the red square blue")
    page.keyboard.press("Enter")
    page.locator("#maps h3", has_text="make the red square blue").wait_for()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('#maps .stage canvas')"):
            break
    page.keyboard.press("Home")
    assert page.locator("#maps .readout").inner_text().startswith(("Value 1.00 at x ", "Value 0.99 at x "))
