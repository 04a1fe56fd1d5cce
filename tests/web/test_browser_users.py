"""Several visitors at once: each has their own answer, and where too many wait, one is told so."""

import threading
import uuid
from types import SimpleNamespace

import httpx
import pytest

from mmgrad_explain.web import explain_tab as explain_page


@pytest.fixture
def held(monkeypatch):
    """A question that is begun stays with the model until it is let go."""
    begun, go = threading.Event(), threading.Event()
    plain = explain_page.explain_request

    def waiting(*arguments):
        begun.set()
        assert go.wait(60)
        return plain(*arguments)

    monkeypatch.setattr(explain_page, "explain_request", waiting)
    yield SimpleNamespace(begun=begun, go=go)
    go.set()


def test_two_at_once(acts, browser, address, picture, held):
    contexts = [browser.new_context(), browser.new_context()]
    try:
        pages = [acts.open_page(context, address) for context in contexts]
        sizes, texts = [(60, 40), (40, 50)], ["make the red square blue", "remove the red square"]
        for page, size in zip(pages, sizes, strict=True):
            acts.upload(page, "mine.png", acts.written(picture.resize(size)))
        for page, text in zip(pages, texts, strict=True):
            with page.expect_response("**/queue/join*") as joined:
                acts.ask(page, text)
            assert joined.value.ok
            assert held.begun.wait(30)  # the first one's is with the model while the second one asks
        assert not any(page.locator("#maps h3", has_text=text).count() for page, text in zip(pages, texts, strict=True))
        held.go.set()
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


def test_a_full_queue(acts, page, address, held):
    config = httpx.get(f"{address}config").json()
    number = next(one["id"] for one in config["dependencies"] if one["api_name"] == "update_choices")

    def wait_in_line():
        body = {"data": ["reference"], "fn_index": number, "session_hash": uuid.uuid4().hex}
        return httpx.post(f"{address}gradio_api/queue/join", json=body).status_code

    acts.ask(page, "make the ring blue")
    assert held.begun.wait(30)
    assert [wait_in_line() for _ in range(4)] == [200, 200, 200, 503]
    page.get_by_role("tab", name="Search a gallery").click()
    page.locator(".mmgrad-examples button:visible").first.click()
    page.locator(".toast-body").filter(has_text="This application is currently busy. Please try again.").wait_for()
    held.go.set()
    page.get_by_role("tab", name="Explain").click()
    acts.explained(page, "make the ring blue")
