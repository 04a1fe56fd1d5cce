"""Draw docs/images/page.png, the page after its first example, in a real browser.

Usage: ``python docs/page_picture.py``; it takes the extra ``test``, which has Playwright, and a Chromium on the PATH.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PICTURE = Path(__file__).parent / "images" / "page.png"
WIDTH, HEIGHT = 1280, 900


def draw(browser: Browser, address: str) -> bytes:
    """The page as a PNG.

    Args:
        browser: A Chromium.
        address: Where the page is served.
    """
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    page.goto(address)
    page.locator("#maps .tile .buttons button:enabled").wait_for()  # the map is drawn
    page.locator(".image-container img").evaluate("(one) => one.decode()")
    drawn = page.screenshot()
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
