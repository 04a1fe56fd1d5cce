"""Every way in which a picture comes to the page, in a real browser."""

import base64
import io

from PIL import Image

COPY = """async (data) => {
  const blob = await (await fetch(data)).blob();
  await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
}"""
SIZES = "(every) => every.map((one) => [one.width, one.height])"


def colour(page, acts):
    """Of the picture's middle, where no map covers it."""
    page.locator("#maps [name=opacity]").fill("0")
    shown = Image.open(io.BytesIO(base64.b64decode(acts.pixels(page).partition(",")[2]))).convert("RGB")
    return shown.getpixel((shown.width // 2, shown.height // 2))


def test_from_the_clipboard(page, acts, picture):
    page.evaluate(COPY, "data:image/png;base64," + base64.b64encode(acts.written(picture)).decode())
    page.get_by_role("button", name="Remove Image").click()
    page.get_by_role("button", name="Paste from clipboard").first.click()
    page.locator("img[src$='/clipboard.png']").wait_for()
    acts.ask(page, "make the red square blue")
    acts.explained(page, "make the red square blue")
    assert page.locator("#maps .stage canvas").evaluate_all(SIZES) == [list(picture.size)]


def test_by_camera(page, acts):
    page.get_by_role("button", name="Remove Image").click()
    page.get_by_role("button", name="Capture from camera").first.click()
    page.get_by_text("Click to Access Webcam").click()
    page.wait_for_function("document.querySelector('video').videoWidth > 0")
    page.get_by_role("button", name="capture photo").click()
    page.locator(".image-container img[src$='.png']").wait_for()
    assert page.locator("video").count() == 0
    acts.ask(page, "make it red")
    acts.explained(page, "make it red")
    red, green, blue = colour(page, acts)
    assert green > red + 50  # the test picture of Chromium's camera is green
    assert green > blue + 50


def test_a_target_picture(page, acts, picture):
    page.get_by_role("button", name="Target picture (optional)").click()
    page.locator(".image-container").nth(1).wait_for()
    acts.upload(page, "goal.png", acts.written(picture), place=1)
    acts.ask(page, "take away the triangle")
    acts.explained(page, "take away the triangle", "take away the triangle (on the target)")
    assert page.locator("#maps .stage canvas").evaluate_all(SIZES) == [[320, 320], list(picture.size)]
    assert "target=target" in acts.code(page)
    page.locator(".image-container:visible").nth(1).get_by_role("button", name="Remove Image").click()
    acts.ask(page, "take away the triangle")
    acts.explained(page, "take away the triangle")


def test_of_what_moves_the_first_picture(page, acts):
    red, green, blue = (Image.new("RGB", (60, 40), name) for name in ("red", "lime", "blue"))
    for kind, first, second, expected in (("gif", red, green, "red"), ("webp", green, blue, "green")):
        moving = acts.written(first, kind, save_all=True, append_images=[second], duration=100)
        acts.upload(page, f"moving.{kind}", moving)
        acts.answered(page, page.get_by_role("button", name="Show where it looks").click)
        shown = dict(zip(("red", "green", "blue"), colour(page, acts), strict=True))
        assert max(shown, key=shown.get) == expected
