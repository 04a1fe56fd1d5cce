"""Draw docs/images/page.jpg, the page with a photograph and a sentence, in a real browser.

The photograph is in the public domain (examples/photographs/LICENSES.md).

Usage: ``python docs/page_picture.py``; it takes the extra ``test``, which has Playwright, and a Chromium on the PATH.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

DOCS = Path(__file__).parent
PICTURE = DOCS / "images" / "page.jpg"
PHOTOGRAPH = DOCS.parent / "examples" / "photographs" / "astronaut.jpg"
SENTENCE = "make the suit blue"
WIDTH, HEIGHT = 1280, 900


def draw(browser: Browser, address: str) -> bytes:
    """The page as a JPEG.

    Args:
        browser: A Chromium.
        address: Where the page is served.
    """
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    page.goto(address)
    page.locator("#maps .tile .buttons button:enabled").wait_for()  # the map of the first example is drawn
    box = page.locator(".image-container:visible").first
    box.get_by_role("button", name="Remove Image").click()
    box.locator("input[type=file]").set_input_files(PHOTOGRAPH)
    box.locator(f"img[src$='/{PHOTOGRAPH.name}']").wait_for(state="attached")
    page.get_by_label("Sentence").locator("visible=true").fill(SENTENCE)
    page.get_by_role("button", name="Show where it looks").click()
    page.locator("#maps h3", has_text=SENTENCE).wait_for()
    page.locator("#maps .tile .buttons button:enabled").wait_for()
    page.locator(".image-container img").evaluate("(one) => one.decode()")
    drawn = page.screenshot(type="jpeg", quality=85)
    page.close()
    return drawn


def main() -> None:
    """Serve the page, and draw it."""
    from playwright.sync_api import sync_playwright

    from mmgrad_explain.web import Limits, running

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with running(Limits()) as address, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, args=["--headless", "--no-sandbox", "--disable-gpu"])
        PICTURE.write_bytes(draw(browser, address))
        browser.close()


if __name__ == "__main__":
    main()
