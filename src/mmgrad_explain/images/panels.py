"""Images side by side with captions, and a legend of the colours."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.colormaps import color_table
from mmgrad_explain.images.lettering import line_height, load_font, text_width, wrap_text
from mmgrad_explain.images.marks import COLOURS, Mark, frame_width, mark_band
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.images.tiles import WIDEST, fit_size, tile_height


def colorbar(colormap: str = "turbo", width: int = 240, labels: tuple[str, str] = ("low", "high")) -> Image.Image:
    """Draw a legend: a strip of the colormap's colours between the two ``labels``.

    Args:
        colormap: As in :func:`colorize`.
        width: Width of the whole legend, in pixels; its height is a tenth of that.
        labels: Labels of the cold end and of the hot end.

    Returns:
        The legend on white, RGB.

    Raises:
        InputError: ``colormap`` is unknown, or ``width`` leaves no room for the colours.
    """
    height = max(12, width // 10)
    font, gap = load_font(max(9, round(height * 0.6))), height // 3
    start, end = (text_width(label, font, len(label)) + gap for label in labels)
    if width - start - end < 16:
        raise InputError(f"a colorbar {width} pixels wide has no room between {labels[0]!r} and {labels[1]!r}")
    strip = Image.fromarray(color_table(colormap)[None]).resize((width - start - end, height // 2))
    sheet = Image.new("RGB", (width, height), "white")
    sheet.paste(strip, (start, (height - strip.height) // 2))
    draw = ImageDraw.Draw(sheet)
    draw.text((0, height / 2), labels[0], "#5f5f5f", font, anchor="lm")
    draw.text((width, height / 2), labels[1], "#5f5f5f", font, anchor="rm")
    return sheet


def panel(
    tiles: Sequence[object],
    captions: Sequence[str] | None = None,
    *,
    height: int | None = None,
    letters: int | None = None,
    title: str | None = None,
    background: tuple[int, int, int] = (255, 255, 255),
    marks: Sequence[Mark | None] | None = None,
) -> Image.Image:
    """Place images side by side at one height, each with its caption below.

    Args:
        tiles: The images. One that is wider than three times the height is shown smaller.
        captions: A text for each image; long ones are wrapped, and cut after three lines.
        height: Height of the tiles in pixels; when None that of the tallest, within 320 to 1024.
        letters: Font size of the captions in pixels; by the height of the tiles when None.
        title: A text above the images.
        background: RGB in [0, 255]; text is dark on light backgrounds and light on dark ones.
        marks: A mark for each image, which is drawn along its lower edge; None for none.

    Returns:
        The panel, RGB.

    Raises:
        InputError: There are no tiles, captions or marks and tiles differ in number, or ``height`` is not positive.
    """
    images = [tile if isinstance(tile, Image.Image) and tile.mode == "RGB" else open_image(tile) for tile in tiles]
    texts = [""] * len(images) if captions is None else list(captions)
    if not images or len(texts) != len(images):
        raise InputError(f"a panel needs tiles and a caption for each: {len(images)} tiles, {len(texts)} captions")
    signs = [None] * len(images) if marks is None else list(marks)
    if len(signs) != len(images):
        raise InputError(f"a panel needs a mark for each tile: {len(images)} tiles, {len(signs)} marks")
    if height is None:
        height = tile_height(images)
    if height < 1:
        raise InputError(f"height must be positive, not {height}")
    shown = [_scale(image, height) for image in images]
    letters = max(12, min(28, round(height / 16))) if letters is None else letters
    gap, small, large = max(4, height // 26), load_font(letters), load_font(round(letters * 1.3))
    cells = [max(image.width, round(height * 0.4)) for image in shown]
    width = sum(cells) + gap * (len(cells) + 1)
    dark = sum(background) < 384
    below = [wrap_text(text, small, cell, 3) for text, cell in zip(texts, cells, strict=True)]
    above = wrap_text(title or "", large, width - 2 * gap, 2)
    top = gap + (line_height(large) * len(above) + gap // 2 if above else 0)
    bottom = max(len(lines) for lines in below) * line_height(small)
    bands = [None if mark is None else mark_band(mark, tile.width) for mark, tile in zip(signs, shown, strict=True)]
    deepest = max(0 if band is None else band.height + gap // 2 for band in bands)
    full = top + height + deepest + gap + (bottom + gap // 2 if bottom else 0)
    sheet = Image.new("RGB", (width, full), background)
    draw = ImageDraw.Draw(sheet)
    draw.multiline_text((gap, gap), "\n".join(above), "#f2f2f2" if dark else "#1a1a1a", large)
    left = gap
    for image, cell, lines, mark, band in zip(shown, cells, below, signs, bands, strict=True):
        x, y = left + (cell - image.width) // 2, top + (height - image.height) // 2
        if mark is None or band is None:
            draw.rectangle((x - 1, y - 1, x + image.width, y + image.height), outline="#5a5a5a" if dark else "#d0d0d0")
        else:
            frame = min(gap - 1, frame_width(image.width))
            outer = (x - frame, y - frame, x + image.width + frame - 1, y + image.height + band.height + frame - 1)
            draw.rectangle(outer, COLOURS[mark.level][0])
            sheet.paste(band, (x, y + image.height))
        sheet.paste(image, (x, y))
        for number, line in enumerate(lines):
            at = (left + cell / 2, top + height + deepest + gap // 2 + number * line_height(small))
            draw.text(at, line, "#c0c0c0" if dark else "#5f5f5f", small, anchor="ma")
        left += cell + gap
    return sheet


def _scale(image: Image.Image, height: int) -> Image.Image:
    size = fit_size(image, WIDEST * height, height)
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)
