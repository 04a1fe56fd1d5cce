"""The viewer in a real browser: what becomes of a payload."""

import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageColor

from mmgrad_explain.images.marks import COLOURS
from mmgrad_explain.images.overlay import blend
from mmgrad_explain.images.provenance import read_provenance
from mmgrad_explain.notes import Note
from mmgrad_explain.web.viewer import make_viewer, pack_map, pack_payload

SNIPPET = 'print("a < b & c")\n'


@pytest.fixture(scope="module")
def served(explanation_of, words, evil):
    """A page with nothing but the viewer: buttons bring payloads, a field shows what was picked."""
    import gradio as gr

    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    maps = torch.rand(3, 4, 6, generator=torch.manual_seed(1))
    maps[0, 1, 2], maps[2] = 1.5, 0
    several = explanation_of([picture, picture, picture], ["a", "b", "c"], maps, words=(words, (), words))
    texts = (f"make it red {evil}", "b", "c")
    packed = [
        pack_map(several, index, title=text, action=("Use as the next reference", f"hit {index}"))
        for index, text in enumerate(texts)
    ]
    packed[0] |= {"notes": [evil], "meaning": f"First {evil}.\n\nSecond."}
    three = pack_payload(packed, data={"text": evil, "score": [0.25]}, snippet=SNIPPET + f"# {evil}\n")
    photo = picture.resize((1600, 1000))
    big = explanation_of([photo], ["photo"], notes=(Note("caution", "mind the gap"),))
    single = pack_payload([pack_map(big, title="photo")], data={"text": "photo"}, snippet=SNIPPET, colormap="magma")
    broken = pack_payload([packed[1] | {"picture": "data:image/png;base64,AAAA"}], data={}, snippet=SNIPPET)

    def name(event: gr.SelectData):
        return f"{event.index}: {event.value}"

    with gr.Blocks(analytics_enabled=False) as page:
        shown = make_viewer()
        for label, value in (("three", three), ("single", single), ("broken", broken), ("none", None)):
            gr.Button(label).click(lambda value=value: value, outputs=shown)
        picked = gr.Textbox(label="picked")
        shown.select(name, outputs=picked)
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    yield address, several, big
    page.close()


@pytest.fixture(scope="module")
def shared(served, browser):
    """One page for all tests, since opening it takes longest."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(served[0])
    page.get_by_role("button", name="three").wait_for()
    yield page
    context.close()


@pytest.fixture
def page(shared):
    """The page with the sliders as they are at first, and nothing on it."""
    shared.mouse.move(0, 0)
    bring(shared, "none", 0)
    for name, value, event in (("opacity", 0.7, "input"), ("threshold", 0, "input"), ("colormap", "turbo", "change")):
        control = shared.locator(f".controls [name={name}]")
        control.evaluate(
            "(one, [value, event]) => { one.value = value; one.dispatchEvent(new Event(event)); }", [value, event]
        )
    yield shared
    assert shared.errors == []


def bring(page, label, tiles):
    page.get_by_role("button", name=label, exact=True).click()
    page.wait_for_function(f"document.querySelectorAll('.tile').length === {tiles}")
    if tiles and label != "broken":
        page.wait_for_function("[...document.querySelectorAll('.stage canvas')].every((one) => one.width !== 300)")
        settle(page)


def settle(page):
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.fixture
def pixels(page, opened):
    """What a canvas shows, (H, W, 3), by its number."""

    def read(number=0):
        uri = page.locator(".stage canvas").nth(number).evaluate("(one) => one.toDataURL('image/png')")
        return np.asarray(opened(uri).convert("RGB"))

    return read


def slide(page, name, value):
    page.get_by_label(name).fill(str(value))
    settle(page)


def downloaded(page, button):
    with page.expect_download() as waiting:
        button.click()
    return waiting.value


def test_at_first_there_is_nothing_and_then_the_payload_says_the_colours(shared):
    assert not shared.locator(".mmgrad-viewer").is_visible()
    bring(shared, "single", 1)
    assert [shared.get_by_label(name).input_value() for name in ("Opacity", "Threshold", "Colours")] == [
        "0.7",
        "0",
        "magma",
    ]


def test_pixels_are_those_of_blend(page, served, pixels):
    """Also with other settings, which ask nothing of the server."""
    several = served[1]
    bring(page, "three", 3)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    settings = [(0.7, 0, "turbo"), (1, 0.3, "turbo"), (0.4, 0.95, "viridis"), (0, 0, "gray"), (1, 0, "inferno")]
    for alpha, threshold, colormap in settings:
        slide(page, "Opacity", alpha)
        slide(page, "Threshold", threshold)
        page.get_by_label("Colours").select_option(colormap)
        settle(page)
        for number in range(3):
            heat = several.heatmap(number)
            expected = blend(several.images[number], heat, alpha=alpha, threshold=threshold, colormap=colormap)
            far = np.abs(pixels(number).astype(int) - expected)
            assert far.max() <= 3, (alpha, threshold, colormap)
    assert [one for one in asked if not one.startswith("blob:")] == []


def test_a_large_picture_too(page, served, pixels):
    bring(page, "single", 1)
    page.get_by_label("Colours").select_option("magma")
    settle(page)
    big = served[2]
    small = big.images[0].resize((1024, 640), Image.Resampling.LANCZOS)
    far = np.abs(pixels().astype(int) - blend(small, big.heatmap(), alpha=0.7, colormap="magma"))
    assert far.mean() < 3


def test_new_maps_keep_the_settings(page, pixels):
    bring(page, "three", 3)
    slide(page, "Opacity", 0.2)
    slide(page, "Threshold", 0.5)
    page.get_by_label("Colours").select_option("gray")
    settle(page)
    before = pixels()
    for _ in range(3):
        bring(page, "single", 1)
        bring(page, "three", 3)
    assert page.get_by_label("Opacity").input_value() == "0.2"
    assert page.get_by_label("Colours").input_value() == "gray"
    assert page.get_by_text("0.50", exact=True).is_visible()
    assert np.array_equal(pixels(), before)
    assert page.locator(".controls, .downloads > details").count() == 2
    bring(page, "none", 0)
    assert not page.locator(".mmgrad-viewer").is_visible()


def test_the_pointer_reads_values(page, served):
    several = served[1]
    bring(page, "three", 3)
    shown = page.locator(".tile").nth(1)
    box = shown.locator("canvas").bounding_box()
    readout = shown.locator(".readout")
    assert readout.inner_text().startswith("Brightest at x ")
    page.mouse.move(box["x"] + box["width"] * 20.5 / 60, box["y"] + box["height"] * 30.5 / 40)
    assert readout.inner_text() == f"Value {several.heatmap(1)[30, 20]:.2f} at x 20, y 30"
    assert shown.locator(".cross").is_visible()
    page.mouse.move(0, 0)
    assert readout.inner_text().startswith("Brightest at x ")
    assert not shown.locator(".cross").is_visible()


def test_so_do_the_keys(page, served):
    several = served[1]
    bring(page, "three", 3)
    shown = page.locator(".tile").first
    readout, canvas = shown.locator(".readout"), shown.locator("canvas")
    assert readout.get_attribute("aria-live") == "polite"
    assert canvas.get_attribute("role") == "img"
    y, x = several.peak()
    assert f"brightest at x {x}, y {y}" in canvas.get_attribute("aria-label")
    canvas.focus()
    page.keyboard.press("Home")
    assert readout.inner_text() == f"Value 1.00 at x {x}, y {y}"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("a")
    assert readout.inner_text() == f"Value {several.heatmap()[y + 1, x - 1]:.2f} at x {x - 1}, y {y + 1}"
    for _ in range(70):
        page.keyboard.press("ArrowUp")
    assert readout.inner_text().endswith("y 0")
    canvas.blur()
    assert readout.inner_text().startswith("Brightest")
    flat = page.locator(".tile").nth(2)
    assert flat.locator(".readout").inner_text() == "This map is flat: it points nowhere."
    flat.locator("canvas").focus()
    page.keyboard.press("ArrowRight")
    assert flat.locator(".readout").inner_text() == "Value 0.00 at x 30, y 20"


def test_words_have_a_sign_and_a_value(page):
    bring(page, "three", 3)
    shown = page.locator(".tile").first.locator(".word")
    assert shown.all_inner_texts()[0].split() == ["make", "−0.50"]
    assert shown.nth(2).inner_text().split() == ["it", "+0.00"]
    assert shown.first.get_attribute("title") == (
        "“make” lowers the score: −0.50 of the strongest word (-0.0100 in units of the score)"
    )
    assert shown.first.evaluate("(one) => getComputedStyle(one).backgroundColor") == "rgb(140, 174, 210)"
    assert page.locator(".tile").nth(1).locator("p.quiet").all_inner_texts() == [
        "shift = 0.375",
        "The model read none of the words.",
    ]


def test_texts_are_texts(page, evil):
    bring(page, "three", 3)
    for summary in page.locator("summary").all():
        summary.click()
    tile = page.locator(".tile").first
    assert tile.locator("h3").inner_text() == f"make it red {evil}"
    assert tile.locator("li").inner_text() == evil
    assert tile.locator("details p").all_inner_texts() == [f"First {evil}.", "Second."]
    assert evil in page.locator("code").inner_text()
    assert page.evaluate("window.broken") is None
    assert page.locator(".mmgrad-viewer :is(script, img)").count() == 0


def test_downloads(page, pixels, evil):
    bring(page, "three", 3)
    slide(page, "Opacity", 1)
    png = downloaded(page, page.get_by_role("button", name="Download PNG").nth(1))
    assert png.suggested_filename == "map-2.png"
    assert np.array_equal(np.asarray(Image.open(png.path()).convert("RGB")), pixels(1))
    data = downloaded(page, page.get_by_role("button", name="Download JSON"))
    assert data.suggested_filename == "explanation.json"
    assert json.loads(data.path().read_text()) == {"text": evil, "score": [0.25]}
    page.locator("summary", has_text="Python").click()
    code = downloaded(page, page.get_by_role("button", name="Download .py"))
    assert code.suggested_filename == "explanation.py"
    assert code.path().read_text() == SNIPPET + f"# {evil}\n"


def test_the_snippet_is_copied_or_else_selected(page):
    bring(page, "single", 1)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("summary", has_text="Python").click()
    copy = page.get_by_role("button", name="Copy")
    copy.click()
    page.get_by_text("Copied.").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == SNIPPET
    page.evaluate("void (navigator.clipboard.writeText = () => Promise.reject(new Error('no HTTPS')))")
    copy.click()
    page.get_by_text("Selected: press Ctrl+C or Cmd+C.").wait_for()
    assert page.evaluate("getSelection().toString()") == SNIPPET.rstrip("\n")


def test_an_action_hands_its_value_on(page):
    bring(page, "three", 3)
    page.get_by_role("button", name="Use as the next reference").nth(1).click()
    page.wait_for_function("document.querySelector('textarea, input[type=text]').value === '1: hit 1'")
    bring(page, "single", 1)
    assert page.get_by_role("button", name="Use as the next reference").count() == 0


def test_a_picture_that_cannot_be_decoded(page):
    bring(page, "broken", 1)
    page.get_by_text("The picture cannot be drawn in this browser.").wait_for()
    assert page.get_by_role("button", name="Download PNG").is_disabled()
    page.locator(".stage canvas").focus()
    page.keyboard.press("Home")
    assert page.locator(".readout").inner_text() == "The picture cannot be drawn in this browser."


def test_a_phone(page):
    page.set_viewport_size({"width": 390, "height": 800})
    bring(page, "three", 3)
    boxes = [one.bounding_box() for one in page.locator(".tile").all()]
    assert len({box["x"] for box in boxes}) == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.set_viewport_size({"width": 1280, "height": 800})
    assert len({one.bounding_box()["x"] for one in page.locator(".tile").all()}) == 3


def test_a_marked_map_shows_its_mark_and_takes_it_along(page, tmp_path):
    """The download has the map whole, the band below it, and says where it came from."""
    bring(page, "single", 1)
    mark = page.locator(".mark.doubtful")
    assert "caution" in mark.inner_text()
    canvas, band = page.locator(".stage canvas").bounding_box(), mark.bounding_box()
    assert abs(canvas["width"] - band["width"]) < 2
    assert 0 <= band["y"] - canvas["y"] - canvas["height"] < 4
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download PNG").click()
    waiting.value.save_as(tmp_path / "map.png")
    width, height = page.locator(".stage canvas").evaluate("(one) => [one.width, one.height]")
    with Image.open(tmp_path / "map.png") as drawn:
        assert drawn.width > width
        assert drawn.height > height + 12
        assert drawn.convert("RGB").getpixel((0, 0)) == ImageColor.getrgb(COLOURS["doubtful"][0])
    (part,) = read_provenance(tmp_path / "map.png")["maps"]
    assert (part["text"], part["notes"]) == ("photo", ["mind the gap"])
    bring(page, "three", 3)
    assert page.locator(".mark").count() == 0
