"""Two visitors at once: neither sees what is the other's."""

import io


def test_two_at_once(acts, browser, address, picture):
    def written(size):
        buffer = io.BytesIO()
        picture.resize(size).save(buffer, "png")
        return buffer.getvalue()

    contexts = [browser.new_context(), browser.new_context()]
    try:
        pages = [acts.open_page(context, address) for context in contexts]
        sizes, texts = [(60, 40), (40, 50)], ["make the red square blue", "remove the red square"]
        for page, size in zip(pages, sizes, strict=True):
            acts.upload(page, "mine.png", written(size))
        for page, text in zip(pages, texts, strict=True):
            acts.ask(page, text)
        for page, text, size in zip(pages, texts, sizes, strict=True):
            acts.explained(page, text)
            assert page.locator("#maps .stage canvas").evaluate("(one) => [one.width, one.height]") == list(size)
        first, second = pages
        for page in pages:
            page.get_by_role("tab", name="Search a gallery").click()
        first.locator(".mmgrad-examples button:visible").first.click()
        first.locator("#walk li").wait_for()
        assert second.locator("#walk li").count() == 0
    finally:
        for context in contexts:
            context.close()
