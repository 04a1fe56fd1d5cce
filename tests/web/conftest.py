"""A real browser for the page's tests: Debian's Chromium, headless, driven by Playwright."""

import os
import shutil
from types import SimpleNamespace

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


@pytest.fixture(scope="session")
def address():
    """The whole page, served by this process with small limits."""
    from mmgrad_explain.web.limits import Limits
    from mmgrad_explain.web.serving import running

    with running(Limits(upload_mb=1, pixels=1_000_000)) as at:
        yield at


@pytest.fixture
def context(browser):
    """A visitor of their own, who saw no page before."""
    made = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    made.set_default_timeout(20_000)
    yield made
    made.close()


def open_page(context, address):
    """Open the page and wait for its first map."""
    page = context.new_page()
    page.goto(address)
    page.locator("#maps .tile canvas").wait_for()
    return page


def upload(page, name, content):
    """Give a picture in the place of the one that is there."""
    page.get_by_role("button", name="Remove Image").first.click()
    with page.expect_response(lambda answer: answer.url.partition("?")[0].endswith("/upload")):
        page.locator("input[type=file]").first.set_input_files(
            {"name": name, "mimeType": "image/png", "buffer": content}
        )
    page.wait_for_timeout(300)


def ask(page, sentence):
    page.get_by_label("Sentence").locator("visible=true").fill(sentence)
    page.get_by_role("button", name="Show where it looks").click()


def explained(page, *titles):
    """Wait until these maps are shown and drawn."""
    page.wait_for_function(
        "(titles) => JSON.stringify([...document.querySelectorAll('#maps h3')].map((one) => one.textContent)) ==="
        " JSON.stringify(titles)"
        " && [...document.querySelectorAll('#maps .buttons button')].every((one) => !one.disabled)",
        arg=list(titles),
    )


@pytest.fixture(scope="session")
def acts():
    """What a visitor does on the page."""
    return SimpleNamespace(open_page=open_page, upload=upload, ask=ask, explained=explained)
