"""A real browser for the page's tests (Debian's Chromium, headless, driven by Playwright), and maps to show."""

import base64
import io
import mimetypes
import os
import shutil
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from mmgrad_explain.explanation import Explanation
from mmgrad_explain.explanation.words import Word
from mmgrad_explain.images.placement import fit

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
    from mmgrad_explain.web.server import running

    with running(Limits(upload_mb=1, pixels=3_000_000, waiting=3)) as at:
        yield at


@pytest.fixture(scope="session")
def context(browser):
    """Where pages are opened that need no visitor of their own: what a page fetched once is there for the next one."""
    made = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    made.grant_permissions(["clipboard-read", "clipboard-write"])
    yield made
    made.close()


@pytest.fixture
def page(context, address):
    """The page as one finds it."""
    opened = open_page(context, address)
    yield opened
    opened.close()


def open_page(context, address):
    """Open the page and wait for its first map."""
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.goto(address)
    drawn(page)
    return page


def drawn(page, box="#maps"):
    """Wait until maps are there, all drawn, and none marked as old."""
    page.wait_for_function(
        "(box) => { const tiles = [...document.querySelectorAll(box + ' .tile')]; return tiles.length &&"
        " tiles.every((one) => !one.dataset.old && [...one.querySelectorAll('button')].every((b) => !b.disabled)); }",
        arg=box,
    )


def answered(page, act, box="#maps"):
    """Do something and wait for the maps that come of it, whatever they are called."""
    page.evaluate(
        "(box) => document.querySelectorAll(box + ' .tile').forEach((one) => { one.dataset.old = 'old'; })", box
    )
    act()
    drawn(page, box)


def upload(page, name, content, place=0):
    """Give a picture in the place of the one that is there, and wait until the page has it."""
    box = page.locator(".image-container:visible").nth(place)
    if box.get_by_role("button", name="Remove Image").count():
        box.get_by_role("button", name="Remove Image").click()
    choose_file(page, name, content, place)
    box.locator(f"img[src$='/{name}']").wait_for(state="attached")


def choose_file(page, name, content, place=0):
    """Choose a file where there is no picture yet."""
    file = {"name": name, "mimeType": mimetypes.guess_type(name)[0], "buffer": content}
    page.locator(".image-container:visible").nth(place).locator("input[type=file]").set_input_files(file)


def ask(page, sentence):
    page.get_by_label("Sentence").locator("visible=true").fill(sentence)
    page.get_by_role("button", name="Show where it looks").click()


def explained(page, *titles):
    """Wait until these maps are shown and drawn."""
    page.wait_for_function(
        "(titles) => JSON.stringify([...document.querySelectorAll('#maps h3')].map((one) => one.textContent)) ==="
        " JSON.stringify(titles)",
        arg=list(titles),
    )
    drawn(page)


def told(page, said):
    """Wait for an alert that says this."""
    page.locator("p[role=alert]:visible").filter(has_text=said).wait_for()


def counted(page, selector, count):
    """Wait until so many elements are there: parts of an answer are drawn one after the other."""
    page.wait_for_function(
        "([selector, count]) => document.querySelectorAll(selector).length === count", arg=[selector, count]
    )


def pick(page, label, option):
    """Choose in a picker."""
    box = page.get_by_label(label, exact=True).locator("visible=true")
    box.click()
    page.get_by_role("option", name=option, exact=True).locator("visible=true").click()
    page.wait_for_function("([box, option]) => box.value === option", arg=[box.element_handle(), option])


def pixels(page, number=0, box="#maps"):
    """What a map looks like, as text."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.locator(f"{box} .stage canvas").nth(number).evaluate("(one) => one.toDataURL()")


def code(page, box="#maps"):
    """The Python that makes what is shown."""
    return page.locator(f"{box} pre code").text_content()


def downloaded(page, button):
    """Press a button and read the file that comes."""
    with page.expect_download() as waiting:
        button.click()
    return waiting.value.path().read_bytes()


def written(picture, kind="png", **options):
    """A picture as the bytes of a file."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def acts():
    """What a visitor does on the page."""
    functions = (
        open_page, drawn, answered, upload, choose_file, ask, explained, told, counted, pick, pixels, code, downloaded,
        written,
    )  # fmt: skip
    return SimpleNamespace(**{one.__name__: one for one in functions})


# ------------------------------------------------------------------------------------------------ maps for the viewer


@pytest.fixture(scope="session")
def explanation_of():
    """Make an explanation of pictures and texts without a model, with maps (B, 4, 6)."""

    def make(pictures, texts, maps=None, **changes):
        maps = torch.rand(len(pictures), 4, 6, generator=torch.manual_seed(0)) if maps is None else maps
        flat = torch.stack([one.max() <= one.min() for one in maps])
        fields = {
            "calls": (maps,),
            "score": torch.linspace(0.25, 0.5, len(pictures)),
            "score_name": "shift",
            "method": "gradcam",
            "layers": {"body": [maps]},
            "signed": {"body": [maps]},
            "layouts": {"body": ("nchw",)},
            "flat": flat,
            "clipped": torch.zeros_like(flat),
            "model": "Model",
            "texts": tuple(texts),
            "images": tuple(pictures),
            "placements": tuple(fit(one, (32, 48), "stretch")[1] for one in pictures),
        }
        return Explanation(**fields | changes)

    return make


@pytest.fixture(scope="session")
def evil():
    """A text that breaks a page which takes texts for HTML."""
    return "<script>window.broken = 1</script><img src=x onerror='window.broken = 2'>"


@pytest.fixture(scope="session")
def words(evil):
    return (Word("make", -0.01, -0.5, (1,)), Word(evil, 0.02, 1.0, (2,)), Word("it", 0.0, 0.0, (3,)))


@pytest.fixture(scope="session")
def opened():
    """Open the image of a data URI."""
    return lambda uri: Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
