"""The viewer: what is sent to the browser, and in a real one, what becomes of it."""

import base64
import io
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation import Explanation
from mmgrad_explain.explanation.words import Word
from mmgrad_explain.images.overlay import blend, colorize
from mmgrad_explain.images.placement import fit
from mmgrad_explain.notes import Note
from mmgrad_explain.web.viewer import COLORMAP_CHOICES, make_viewer, pack_map, pack_payload

EVIL = "<script>window.broken = 1</script><img src=x onerror='window.broken = 2'>"
SNIPPET = 'print("a < b & c")\n'


def explanation_of(pictures, texts, maps=None, **changes):
    maps = torch.rand(len(pictures), 4, 6, generator=torch.manual_seed(0)) if maps is None else maps
    flat = torch.stack([one.max() <= one.min() for one in maps])
    fields = {
        "calls": (maps,),
        "score": torch.linspace(0.25, 0.5, len(pictures)),
        "score_name": "shift",
        "weighting": "gradcam",
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


def words():
    return (Word("make", -0.01, -0.5, (1,)), Word(EVIL, 0.02, 1.0, (2,)), Word("it", 0.0, 0.0, (3,)))


@pytest.fixture
def one(picture):
    return explanation_of([picture], ["make it red"], words=(words(),), notes=(Note("caution", "mind the gap"),))


def opened(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def heat_of(packed):
    width, height = packed["heat"]["size"]
    return np.frombuffer(base64.b64decode(packed["heat"]["levels"]), np.uint8).reshape(height, width)


class TestTile:
    def test_a_small_picture_and_its_heat_come_through_unchanged(self, one, picture):
        packed = json.loads(json.dumps(pack_map(one, title="make it red", action=("Use", {"hit": 3}))))
        assert packed["title"] == "make it red"
        assert np.array_equal(np.asarray(opened(packed["picture"])), np.asarray(picture))
        assert np.array_equal(heat_of(packed), np.rint(one.heatmap() * 255))
        assert (packed["size"], packed["peak"]) == ([60, 40], list(reversed(one.peak())))
        assert packed["score"] == {"name": "shift", "value": 0.25}
        assert (packed["flat"], packed["notes"]) == (False, ["mind the gap"])
        assert packed["meaning"] == one.in_words()
        assert packed["action"] == {"label": "Use", "value": {"hit": 3}}
        assert packed["words"][0] == {
            "text": "make", "value": -0.01, "scaled": -0.5, "ground": "#8caed2", "ink": "#000000"
        }  # fmt: skip

    def test_large_ones_are_scaled(self, picture):
        large = picture.resize((3000, 2000))
        packed = pack_map(explanation_of([large], ["x"]), title="x")
        shown = opened(packed["picture"])
        assert (shown.format, shown.size, packed["size"]) == ("JPEG", (1024, 683), [3000, 2000])
        assert heat_of(packed).shape == (171, 256)
        assert np.abs(np.asarray(shown, int) - np.asarray(large.resize((1024, 683), 1), int)).mean() < 3

    def test_a_thin_picture_keeps_a_pixel(self, picture):
        thin = picture.resize((4000, 1))
        assert opened(pack_map(explanation_of([thin], ["x"]), title="x")["picture"]).size == (1024, 1)

    def test_a_flat_map_says_so_and_leaves_out_the_other_tiles(self, picture):
        maps = torch.stack([torch.zeros(4, 6), torch.rand(4, 6)])
        both = explanation_of([picture] * 2, ["x", "y"], maps, notes=(Note("flat-map", "it is flat", (0,)),))
        flat, other = pack_map(both, 0, title="x"), pack_map(both, 1, title="y")
        assert (flat["flat"], flat["peak"], flat["notes"], flat["action"]) == (True, None, [], None)
        assert (other["flat"], other["words"], other["notes"]) == (False, None, [])
        assert not heat_of(flat).any()

    def test_a_target_has_its_own_picture_and_no_words(self, one, picture):
        target = picture.resize((30, 30))
        second = torch.zeros(1, 4, 6)
        second[0, 3, 5] = 1
        placement = fit(target, (32, 48), "stretch")[1]
        both = replace(one, calls=(one.maps, second), targets=(target,), target_placements=(placement,))
        packed = pack_map(both, target=True, title="target")
        assert (packed["size"], packed["words"]) == ([30, 30], None)
        assert packed["peak"] == list(reversed(both.peak(target=True)))
        assert packed["meaning"] == both.in_words(target=True)
        with pytest.raises(InputError, match="explanation: it has no target pictures to show its maps on"):
            pack_map(replace(both, targets=None), target=True, title="target")

    def test_the_peak_of_a_map_on_another_grid_is_on_the_picture(self, one):
        maps = torch.zeros(1, 4, 6)
        maps[0, 0, 5] = 1
        assert pack_map(replace(one, calls=(maps,), placements=None, input_size=None), title="x")["peak"] == [55, 5]

    def test_pictures_are_needed(self, one):
        with pytest.raises(InputError, match="explanation: it has no pictures to show its maps on"):
            pack_map(replace(one, images=None), title="x")
        with pytest.raises(InputError, match="index must be below 1"):
            pack_map(one, 1, title="x")


class TestPayload:
    def test_tables_are_those_of_colorize(self):
        packed = json.loads(json.dumps(pack_payload([], data={"a": 1}, snippet="pass", colormap="magma")))
        assert list(packed["tables"]) == ["magma", *COLORMAP_CHOICES]
        for name, table in packed["tables"].items():
            colours = np.frombuffer(base64.b64decode(table), np.uint8).reshape(256, 3)
            assert np.array_equal(colours, colorize(np.arange(256, dtype=np.uint8)[None], name)[0])
        assert (packed["tiles"], packed["data"], packed["snippet"], packed["colormap"]) == (
            [],
            {"a": 1},
            "pass",
            "magma",
        )

    def test_an_unknown_colormap(self):
        with pytest.raises(InputError, match="unknown colormap 'turbp': try turbo"):
            pack_payload([], data={}, snippet="", colormap="turbp")


def test_gradio_is_asked_for_by_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(
        InputError, match=r'needs Gradio, which cannot be imported .*: pip install "mmgrad-explain\[demo\]"'
    ):
        make_viewer()


@pytest.fixture(scope="module")
def served():
    """A page with nothing but the viewer: buttons bring payloads, a field shows what was picked."""
    import gradio as gr

    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    maps = torch.rand(3, 4, 6, generator=torch.manual_seed(1))
    maps[0, 1, 2], maps[2] = 1.5, 0
    several = explanation_of([picture, picture, picture], ["a", "b", "c"], maps, words=(words(), (), words()))
    texts = (f"make it red {EVIL}", "b", "c")
    packed = [
        pack_map(several, index, title=text, action=("Use as the next reference", f"hit {index}"))
        for index, text in enumerate(texts)
    ]
    packed[0] |= {"notes": [EVIL], "meaning": f"First {EVIL}.\n\nSecond."}
    three = pack_payload(packed, data={"text": EVIL, "score": [0.25]}, snippet=SNIPPET + f"# {EVIL}\n")
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


def pixels(page, number=0):
    """What the canvas shows, (H, W, 3)."""
    uri = page.locator(".stage canvas").nth(number).evaluate("(one) => one.toDataURL('image/png')")
    return np.asarray(opened(uri).convert("RGB"))


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


def test_pixels_are_those_of_blend(page, served):
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
            far = np.abs(pixels(page, number).astype(int) - expected)
            assert far.max() <= 3, (alpha, threshold, colormap)
    assert [one for one in asked if not one.startswith("blob:")] == []


def test_a_large_picture_too(page, served):
    bring(page, "single", 1)
    page.get_by_label("Colours").select_option("magma")
    settle(page)
    big = served[2]
    small = big.images[0].resize((1024, 640), Image.Resampling.LANCZOS)
    far = np.abs(pixels(page).astype(int) - blend(small, big.heatmap(), alpha=0.7, colormap="magma"))
    assert far.mean() < 3


def test_new_maps_keep_the_settings(page):
    bring(page, "three", 3)
    slide(page, "Opacity", 0.2)
    slide(page, "Threshold", 0.5)
    page.get_by_label("Colours").select_option("gray")
    settle(page)
    before = pixels(page)
    for _ in range(3):
        bring(page, "single", 1)
        bring(page, "three", 3)
    assert page.get_by_label("Opacity").input_value() == "0.2"
    assert page.get_by_label("Colours").input_value() == "gray"
    assert page.get_by_text("0.50", exact=True).is_visible()
    assert np.array_equal(pixels(page), before)
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


def test_texts_are_texts(page):
    bring(page, "three", 3)
    for summary in page.locator("summary").all():
        summary.click()
    tile = page.locator(".tile").first
    assert tile.locator("h3").inner_text() == f"make it red {EVIL}"
    assert tile.locator("li").inner_text() == EVIL
    assert tile.locator("details p").all_inner_texts() == [f"First {EVIL}.", "Second."]
    assert EVIL in page.locator("code").inner_text()
    assert page.evaluate("window.broken") is None
    assert page.locator(".mmgrad-viewer :is(script, img)").count() == 0


def test_downloads(page):
    bring(page, "three", 3)
    slide(page, "Opacity", 1)
    png = downloaded(page, page.get_by_role("button", name="Download PNG").nth(1))
    assert png.suggested_filename == "map-2.png"
    assert np.array_equal(np.asarray(Image.open(png.path()).convert("RGB")), pixels(page, 1))
    data = downloaded(page, page.get_by_role("button", name="Download JSON"))
    assert data.suggested_filename == "explanation.json"
    assert json.loads(data.path().read_text()) == {"text": EVIL, "score": [0.25]}
    page.locator("summary", has_text="Python").click()
    code = downloaded(page, page.get_by_role("button", name="Download .py"))
    assert code.suggested_filename == "explanation.py"
    assert code.path().read_text() == SNIPPET + f"# {EVIL}\n"


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
