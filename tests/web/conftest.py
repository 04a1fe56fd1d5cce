"""A real browser for the page's tests: Debian's Chromium, headless, driven by Playwright."""

import os
import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",  # a webcam that shows a test picture, allowed without asking
    "--use-fake-ui-for-media-stream",
)

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"


def missing(what):
    """Skip, or fail where the environment says that there is to be a browser."""
    message = f'{what}: pip install "mmgrad-explain[test]" and install a Chromium (Debian: apt-get install chromium)'
    if os.environ.get("MMGRAD_BROWSER") == "required":
        pytest.fail(f"MMGRAD_BROWSER=required, but {message}")
    pytest.skip(message)


@pytest.fixture(scope="session")
def browser():
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("Playwright cannot be imported")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        missing(f"no browser is on the PATH ({', '.join(NAMES)})")
    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=program, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture
def context(browser):
    """A user of their own, who saw no page before; what a page says on its console is kept in ``said``."""
    made = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    made.set_default_timeout(20_000)
    yield made
    made.close()
